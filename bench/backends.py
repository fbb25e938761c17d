"""What runs the model: archives of one file by the exact engine and by the backends in floats, side by side.

    python -m bench.backends FILE [--head N] [--level 9] [--sets 0 1] [--threads 1]
        [--model smollm2-135m] [--backends exact llama.cpp]

For each backend and predictor set (0: the model alone): the bytes of the archive, bits per byte, seconds to
compress (with the verification that backends in floats need) and to decompress. The content is compared.
`bench.quality` has the float reference.
"""

from __future__ import annotations

import argparse
import io
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from bench.common import RESULTS
from nacrith.archive import ArchiveReader, ArchiveWriter
from nacrith.codec.levels import DEFAULT_LEVEL, LEVELS, block_bytes
from nacrith.codec.model_codec import ModelCodec, binding_of
from nacrith.codec.params import CodingParams
from nacrith.models import load_model, store
from nacrith.models.protocol import LanguageModel


def measure(model: LanguageModel, data: bytes, level: int, predictors: int) -> dict[str, float]:
    """Bytes and seconds of one round trip."""
    chosen = LEVELS[level]
    window = min(chosen.window, model.max_context)
    capacity = chosen.capacity if predictors else 0
    codec = ModelCodec(model, CodingParams(window, predictors, capacity, binding_of(model)))
    out = io.BytesIO()
    begin = time.perf_counter()
    with ArchiveWriter(out, codec, block_bytes=block_bytes(level)) as writer:
        writer.write(data)
    made = time.perf_counter()
    size = out.tell()
    out.seek(0)
    if b"".join(ArchiveReader(out, lambda _: codec)) != data:
        sys.exit("the archive does not give the file back")
    return {"bytes": size, "compress_s": made - begin, "decompress_s": time.perf_counter() - made}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="backends side by side")
    parser.add_argument("file", type=Path)
    parser.add_argument("--head", type=int)
    parser.add_argument("--level", type=int, default=DEFAULT_LEVEL)
    parser.add_argument("--sets", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--threads", type=int)
    parser.add_argument("--model", default=store.DEFAULT_MODEL)
    parser.add_argument("--backends", nargs="+", default=["exact", "llama.cpp"])
    parser.add_argument("--out", type=Path, default=RESULTS / "backends.json")
    args = parser.parse_args(arguments)
    data = args.file.read_bytes()[: args.head]
    rows: list[dict[str, object]] = []
    print(f"{'backend':14} {'set':>4} {'bytes':>8} {'bpb':>7} {'compress s':>11} {'decompress s':>13}")
    for backend in args.backends:
        model = load_model(args.model, threads=args.threads, backend=backend)
        for predictors in args.sets:
            found = measure(model, data, args.level, predictors)
            bpb = 8 * found["bytes"] / len(data)
            rows.append({"backend": backend, "set": predictors, "bpb": bpb, **found})
            print(
                f"{backend:14} {predictors:4} {found['bytes']:8.0f} {bpb:7.4f} {found['compress_s']:11.1f}"
                f" {found['decompress_s']:13.1f}",
                flush=True,
            )
    about = {"file": args.file.name, "size": len(data), "level": args.level, "threads": args.threads}
    args.out.write_text(json.dumps({**about, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
