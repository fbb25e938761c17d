"""Round trip of many files through the archive, decoding the blocks of all of them side by side.

    python -m bench.roundtrip --data DIR [--head N] [--files GLOB...] [--whole GLOB...] [-L LEVEL] [-m MODEL]

Each file's first N bytes (--whole: all of it) become an archive of their own; then every archive is read
back and compared. Decoding takes the blocks of all archives in one call, because one file of 30 KB has
too few lanes to keep the model busy; the archives are those that the command line makes. Checks as well
that no archive exceeds its input by more than 64 bytes, and that a file without model blocks costs at
most 1.02 times the best of gzip, bzip2, xz, zstd, brotli and PPMd, or 16 bytes more, which is the frame
that those lack (of 32 bytes, 3 are 9 per cent). Exit code 1 if any check fails.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import sys
import time
from collections.abc import Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from bench.common import DATA_VARIABLE, RESULTS, data_files
from bench.peers import PEERS
from nacrith import codec
from nacrith.archive import ArchiveReader, ArchiveWriter, scan
from nacrith.archive.blockcodec import CodecId, Progress
from nacrith.codec import levels, model_codec

Job = tuple[bytes, int]


class _CollectedError(Exception):
    """Ends a first reading, whose only purpose is to learn the payloads."""


class _Lanes:
    """A BlockCodec for reading: first collects payloads, then hands out what they were decoded to."""

    lanes = 1 << 16

    def __init__(self) -> None:
        self.jobs: list[Job] = []
        self.contents: dict[Job, bytes] = {}

    def find(self, codec_id: CodecId) -> _Lanes:
        self.id = codec_id
        return self

    def encode(self, blocks: Sequence[bytes], progress: Progress | None = None) -> list[bytes]:
        raise NotImplementedError("only for reading")

    def decode(self, blocks: Sequence[Job], progress: Progress | None = None) -> list[bytes]:
        if all(job in self.contents for job in blocks):
            return [self.contents[job] for job in blocks]
        self.jobs += blocks
        raise _CollectedError


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
    model_codec.LANES = 48  # of this process only: speed, never bytes
    rows: list[dict[str, Any]] = []
    archives, shared = [], _Lanes()
    begin = time.perf_counter()
    for path in data_files(Path(args.data), args.files):
        name = path.relative_to(args.data).as_posix()
        whole = any(fnmatch(name, pattern) for pattern in args.whole)
        data = path.read_bytes()[: None if whole else args.head]
        out = io.BytesIO()
        with ArchiveWriter(out, coder, block_bytes=levels.block_bytes(args.level)) as writer:
            writer.write(data)
        kinds = sorted({block.kind for stream in scan(io.BytesIO(out.getvalue())) for block in stream.blocks})
        peer = min(len(encode(data)) for encode in peers)
        rows.append({"file": name, "bytes": len(data), "archive": len(out.getvalue()), "peer": peer})
        rows[-1]["kinds"] = " ".join(kinds)
        archives.append((data, out))
        print(*rows[-1].values(), f"{time.perf_counter() - begin:.0f} s", sep="\t", flush=True)
        with contextlib.suppress(_CollectedError):
            b"".join(ArchiveReader(io.BytesIO(out.getvalue()), shared.find))
    encoded = time.perf_counter()
    contents = coder.decode(shared.jobs)
    shared.contents = dict(zip(shared.jobs, contents, strict=True))
    failed = 0
    for row, (data, out) in zip(rows, archives, strict=True):
        same = b"".join(ArchiveReader(io.BytesIO(out.getvalue()), shared.find)) == data
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
