"""Bits per byte against block size, lanes and window: what a cold start costs, what a longer memory gains.

    python -m bench.coding.blocks FILE... [--head N] [--sizes 4096 ...] [--lanes 1 16] [--window 512 ...]

For each file, window, block size and most lanes of a block: the bytes of all payloads, the loss against the
first line of that file, the number of blocks, seconds to encode. Blocks are cut as an archive's are. Use
files that no figure is reported on when you choose a default by it.
"""

from __future__ import annotations

import argparse
import time
from itertools import product
from pathlib import Path

from nacrith.archive.segment import cut
from nacrith.codec import predictor_set
from nacrith.codec.model_codec import ModelCodec
from nacrith.codec.params import CodingParams
from nacrith.models import load_model


def main() -> None:
    parser = argparse.ArgumentParser(description="bits per byte against block size")
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--head", type=int)
    parser.add_argument("--window", type=int, nargs="+", help="default: the model's longest")
    parser.add_argument("--set", type=int, help="predictor set (0: the model alone; default: the model's)")
    parser.add_argument("--capacity", type=int, default=16, help="log2, of the n-grams")
    parser.add_argument("--bits", type=int, default=22, help="log2, of the learner's bytes")
    parser.add_argument("--lanes", type=int, nargs="+", default=[16])
    parser.add_argument("--model")
    parser.add_argument("--sizes", type=int, nargs="+", default=[4096, 8192, 16384, 32768, 65536, 131072])
    args = parser.parse_args()
    model = load_model(args.model)
    number = predictor_set(model) if args.set is None else args.set
    sizes = sorted(args.sizes, reverse=True)
    print("file                     window lanes    block blocks    bytes     bpb    loss      s")
    for path in args.files:
        data = path.read_bytes()[: args.head]
        best = None
        runs = product(args.window or [model.max_context], args.lanes, sizes)
        for window, lanes, size in runs:
            params = CodingParams(window, number, args.capacity if number else 0, args.bits)
            codec = ModelCodec(model, params, lanes=lanes)
            begin = time.perf_counter()
            blocks = cut(data, size)
            total = sum(map(len, codec.encode(blocks)))
            best = best or total
            loss = total / best - 1
            print(
                f"{path.name[:24]:24} {window:6} {lanes:5} {size:8} {len(blocks):6} {total:8}"
                f" {8 * total / len(data):7.4f} {loss:7.2%} {time.perf_counter() - begin:6.1f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
