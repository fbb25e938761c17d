"""Bits per byte against block size: what independent blocks cost.

    python -m bench.blocks FILE... [--head N] [--window 2048] [--model M] [--sizes 4096 8192 ...]

For each file and each block size, the bytes of all payloads, the loss against the largest size, and the
number of blocks. Blocks are cut as an archive's are. Use files that no figure is reported on when you
choose a default by it.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from nacrith.archive.segment import cut
from nacrith.codec.model_codec import ModelCodec
from nacrith.codec.params import CodingParams
from nacrith.models import load_model


def main() -> None:
    parser = argparse.ArgumentParser(description="bits per byte against block size")
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--head", type=int)
    parser.add_argument("--window", type=int, default=2048)
    parser.add_argument("--model")
    parser.add_argument("--sizes", type=int, nargs="+", default=[4096, 8192, 16384, 32768, 65536, 131072])
    args = parser.parse_args()
    codec = ModelCodec(load_model(args.model), CodingParams(args.window))
    sizes = sorted(args.sizes, reverse=True)
    print(f"{'file':24} {'block':>8} {'blocks':>6} {'bytes':>8} {'bpb':>7} {'loss':>7}")
    for path in args.files:
        data = path.read_bytes()[: args.head]
        best = None
        for size in sizes:
            blocks = cut(data, size)
            total = sum(map(len, codec.encode(blocks)))
            best = best or total
            loss = total / best - 1
            print(
                f"{path.name[:24]:24} {size:8} {len(blocks):6} {total:8} {8 * total / len(data):7.4f}"
                f" {loss:7.2%}",
                flush=True,
            )


if __name__ == "__main__":
    main()
