"""Round trip of many files through the archive, decoding the blocks of all of them side by side.

    python -m bench.files.roundtrip --data DIR [--head N] [--files GLOB...] [--whole GLOB...] [-L LEVEL]
                                    [-m MODEL]

Each file's first N bytes (--whole: all of it) become an archive of their own; then every archive is read
back and compared, all at a time: their blocks share the lanes, because one file of 30 KB has too few to
keep the model busy; the archives are those that the command line makes. Checks as well
that no archive exceeds its input by more than 64 bytes, and that a file without model blocks costs at
most 1.02 times the best of gzip, bzip2, xz, zstd, brotli and PPMd, or 16 bytes more, which is the frame
that those lack (of 32 bytes, 3 are 9 per cent). Exit code 1 if any check fails.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from bench.common import DATA_VARIABLE, RESULTS, data_files
from bench.files.peers import PEERS
from nacrith import codec
from nacrith.archive import ArchiveReader, ArchiveWriter, scan
from nacrith.codec import levels
from nacrith.fallback import CODECS


def sums(rows: Sequence[dict[str, Any]]) -> str:
    """Of the files that the model coded, and of the others: number, bytes, archives, best peer of each."""
    lines = []
    for name, chosen in (
        ("model", [r for r in rows if "model" in r["kinds"]]),
        ("fallback", [r for r in rows if "model" not in r["kinds"]]),
    ):
        total = [sum(r[key] for r in chosen) for key in ("bytes", "archive", "peer")]
        lines.append(f"{name}: {len(chosen)} files, {total[0]} bytes -> {total[1]}; best peers {total[2]}")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description="round trip of many files, lanes shared")
    parser.add_argument("--data", type=Path, default=os.environ.get(DATA_VARIABLE))
    parser.add_argument("--head", type=int)
    parser.add_argument("--files", nargs="*", default=[])
    parser.add_argument("--whole", nargs="*", default=[], help="files taken whole, whatever --head says")
    parser.add_argument("-L", "--level", type=int, default=levels.DEFAULT_LEVEL)
    parser.add_argument("-m", "--model")
    args = parser.parse_args()
    if args.data is None:
        parser.error(f"give --data or set {DATA_VARIABLE}")
    peers = [peer.load()[1] for peer in PEERS.values()]
    coder = codec.for_encoding(args.level, args.model, None)
    rows: list[dict[str, Any]] = []
    archives = []
    begin = time.perf_counter()
    for path in data_files(Path(args.data), args.files):
        name = path.relative_to(args.data).as_posix()
        whole = any(fnmatch(name, pattern) for pattern in args.whole)
        data = path.read_bytes()[: None if whole else args.head]
        out = io.BytesIO()
        with ArchiveWriter(out, coder, CODECS, block_bytes=levels.LEVELS[args.level].group) as writer:
            writer.write(data)
        kinds = sorted(
            {
                block.kind
                for stream in scan(io.BytesIO(out.getvalue()), CODECS.names)
                for block in stream.blocks
            }
        )
        peer = min(len(encode(data)) for encode in peers)
        rows.append({"file": name, "bytes": len(data), "archive": len(out.getvalue()), "peer": peer})
        rows[-1]["kinds"] = " ".join(kinds)
        archives.append((data, out.getvalue()))
        print(*rows[-1].values(), f"{time.perf_counter() - begin:.0f} s", sep="\t", flush=True)
    encoded = time.perf_counter()
    coder.shared = True

    def content(archive: tuple[bytes, bytes]) -> bytes:
        return b"".join(ArchiveReader(io.BytesIO(archive[1]), lambda _: coder, CODECS))

    with ThreadPoolExecutor(len(archives)) as pool:
        contents = list(pool.map(content, archives))
    failed = 0
    for row, (data, _), back in zip(rows, archives, contents, strict=True):
        same = back == data
        small = row["archive"] <= row["bytes"] + 64
        near = "model" in row["kinds"] or row["archive"] <= max(1.02 * row["peer"], row["peer"] + 16)
        row["ok"] = same and small and near
        failed += not row["ok"]
    seconds = {"encode": encoded - begin, "decode": time.perf_counter() - encoded}
    total = sum(row["bytes"] for row in rows)
    print(f"{len(rows)} files, {total} bytes, {failed} failed; {seconds}")
    print(sums(rows))
    RESULTS.mkdir(exist_ok=True)
    record = {"level": args.level, "model": coder.model.name, "head": args.head, "rows": rows, **seconds}
    (RESULTS / "roundtrip.json").write_text(json.dumps(record, indent=1) + "\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
