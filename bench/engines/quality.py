"""What exact inference costs: bits per byte of the exact engine against the float model it came from.

    python -m bench.engines.quality GGUF --data DIR [--head N] [--window N] [--stride N] [--files ...]

Both models score the same tokens in the same windows: each window is a start token and the next tokens,
and of each window only what the window before did not score counts (stride < window gives every token
a longer past). Prints a table and saves it as JSON (--out). The exact model's figure is the
ideal code length of its integer logits, without coder and container.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path

import numpy as np

from bench.common import DATA_VARIABLE, RESULTS
from bench.engines.float_llama import FloatLlama
from nacrith.models.exact.model import ExactModel
from nacrith.models.protocol import LOGIT_BITS
from nacrith.models.sources.gguf import read_gguf
from nacrith.models.store import convert

FILES = ("canterbury/alice29.txt:crlf", "enwik8.head:200000")
"""NAME[:crlf][:N]: without carriage returns; only the first N bytes."""


def windows(count: int, window: int, stride: int) -> list[tuple[int, int, int]]:
    """(first token, first token that is scored, end) of each window over `count` tokens."""
    out = []
    scored = 0
    begin = 0
    while scored < count:
        end = min(begin + window, count)
        out.append((begin, scored, end))
        scored = end
        begin += stride
    return out


def exact_bits(model: ExactModel, inputs: list[int], targets: list[int]) -> np.ndarray:
    """Code length in bits of each target under the exact model's distribution."""
    session = model.session(1, max(len(inputs), 16))
    bits = []
    for begin in range(0, len(inputs), 256):
        rows = session.extend([inputs[begin : begin + 256]])[0]
        t = rows.astype(np.float64) / (1 << LOGIT_BITS)
        top = t.max(axis=1)
        total = np.log2(np.exp2(t - top[:, None]).sum(axis=1)) + top
        bits.append(total - t[np.arange(len(t)), targets[begin : begin + 256]])
    return np.concatenate(bits)


def main() -> None:
    parser = argparse.ArgumentParser(description="exact against float: bits per byte")
    parser.add_argument("gguf", type=Path)
    parser.add_argument("--data", type=Path, default=os.environ.get(DATA_VARIABLE))
    parser.add_argument("--files", nargs="+", default=FILES)
    parser.add_argument("--head", type=int)
    parser.add_argument("--window", type=int, help="default: the model's longest, up to 2048")
    parser.add_argument("--stride", type=int, help="default: the window")
    parser.add_argument("--threads", type=int, help="of the exact engine")
    parser.add_argument("--out", type=Path, default=RESULTS / "quality.json")
    args = parser.parse_args()
    if args.data is None:
        parser.error(f"give --data or set {DATA_VARIABLE}")
    reference = FloatLlama(read_gguf(args.gguf))
    model = ExactModel(convert(args.gguf, again=True), threads=args.threads)
    window = args.window or min(2048, model.max_context)
    stride = args.stride or window
    results = []
    print(f"{'file':30} {'bytes':>8} {'tokens':>7} {'float bpb':>9} {'exact bpb':>9} {'loss':>8} {'s':>6}")
    for spec in args.files:
        name, *options = spec.split(":")
        data = (args.data / name).read_bytes()
        if "crlf" in options:
            data = data.replace(b"\r\n", b"\n")
        limits = [int(o) for o in options if o.isdigit()] + ([args.head] if args.head else [])
        data = data[: min(limits, default=len(data))]
        ids = list(model.tokenizer.encode(data))
        begin_time = time.perf_counter()
        totals = np.zeros(2)
        for begin, scored, end in windows(len(ids), window, stride):
            row = [model.bos_id, *ids[begin:end]]
            skip = scored - begin
            totals += (
                reference.bits(row)[skip:].sum(),
                exact_bits(model, row[:-1], row[1:])[skip:].sum(),
            )
        bpb = totals / len(data)
        loss = bpb[1] / bpb[0] - 1
        seconds = time.perf_counter() - begin_time
        print(
            f"{spec:30} {len(data):8} {len(ids):7} {bpb[0]:9.4f} {bpb[1]:9.4f} {loss:8.3%} {seconds:6.0f}",
            flush=True,
        )
        results.append(
            {"file": spec, "bytes": len(data), "tokens": len(ids), "float": bpb[0], "exact": bpb[1]}
        )
    args.out.parent.mkdir(exist_ok=True)
    record = {
        "model": args.gguf.name,
        "window": window,
        "stride": stride,
        "rows": results,
    }
    args.out.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
