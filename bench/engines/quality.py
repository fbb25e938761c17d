"""What exact inference costs: bits per byte of the exact engine against the float model it came from.

    python -m bench.engines.quality GGUF --data DIR [--head N] [--window N] [--stride N] [--files ...]
        [--bits 10 8] [--corpus SHARD]

All models score the same tokens in the same windows: each window is a start token and the next tokens,
and of each window only what the window before did not score counts (stride < window gives every token
a longer past). --corpus adds the first held-out documents of each kind of a corpus (nacrith.training.corpus).
Prints a table and saves it as JSON (--out). An exact model's figure is the ideal code length of its
integer logits, without coder and container.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from bench.common import DATA_VARIABLE, RESULTS
from bench.engines.float_llama import FloatLlama
from nacrith.models.exact.model import ExactModel
from nacrith.models.protocol import LOGIT_BITS
from nacrith.models.sources import registry
from nacrith.models.store import convert
from nacrith.training.corpus import documents

FILES = ("canterbury/alice29.txt:crlf", "enwik8.head:200000")
"""NAME[:crlf][:N]: without carriage returns; only the first N bytes."""

DOCUMENTS, DOCUMENT_BYTES = 4, 3000
"""Of each kind of a corpus."""


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


def texts(args: argparse.Namespace) -> Iterator[tuple[str, list[bytes]]]:
    """The name and the contents of what is scored together."""
    for spec in args.files:
        name, *options = spec.split(":")
        data = (args.data / name).read_bytes()
        if "crlf" in options:
            data = data.replace(b"\r\n", b"\n")
        limits = [int(o) for o in options if o.isdigit()] + ([args.head] if args.head else [])
        yield spec, [data[: min(limits, default=len(data))]]
    if args.corpus is None:
        return
    found: dict[str, list[bytes]] = {}
    for document in documents(args.corpus):
        if document.held_out() and len(kept := found.setdefault(document.kind, [])) < DOCUMENTS:
            kept.append(document.data[:DOCUMENT_BYTES])
    yield from sorted(found.items())


def score(
    reference: FloatLlama, models: Sequence[ExactModel], data: bytes, window: int, stride: int
) -> tuple[int, np.ndarray]:
    """The number of tokens, and the bits of the float model and of each exact one."""
    ids = list(models[0].tokenizer.encode(data))
    totals = np.zeros(1 + len(models))
    for begin, scored, end in windows(len(ids), window, stride):
        row = [models[0].bos_id, *ids[begin:end]]
        found = [reference.bits(row), *(exact_bits(m, row[:-1], row[1:]) for m in models)]
        totals += [bits[scored - begin :].sum() for bits in found]
    return len(ids), totals


def main() -> None:
    parser = argparse.ArgumentParser(description="exact against float: bits per byte")
    parser.add_argument("gguf", type=Path)
    parser.add_argument("--data", type=Path, default=os.environ.get(DATA_VARIABLE))
    parser.add_argument("--files", nargs="*", default=FILES)
    parser.add_argument("--corpus", type=Path, help="a shard of a corpus")
    parser.add_argument(
        "--bits", nargs="+", type=int, choices=(8, 10), default=(10, 8), help="of activations"
    )
    parser.add_argument("--head", type=int)
    parser.add_argument("--window", type=int, help="default: the model's longest, up to 2048")
    parser.add_argument("--stride", type=int, help="default: the window")
    parser.add_argument("--threads", type=int, help="of the exact engine")
    parser.add_argument("--out", type=Path, default=RESULTS / "quality.json")
    args = parser.parse_args()
    if args.data is None and args.files:
        parser.error(f"give --data or set {DATA_VARIABLE}")
    reference = FloatLlama(registry.read(args.gguf))
    models = [ExactModel(convert(args.gguf, bits=n, again=True), threads=args.threads) for n in args.bits]
    window = args.window or min(2048, models[0].max_context)
    stride = args.stride or window
    results = []
    heads = "".join(f" {f'{n} bits':>9} {'loss':>8}" for n in args.bits)
    print(f"{'text':30} {'bytes':>8} {'tokens':>7} {'float':>9}{heads} {'s':>6}")
    for name, parts in texts(args):
        begin = time.perf_counter()
        scores = [score(reference, models, data, window, stride) for data in parts]
        size, tokens = sum(map(len, parts)), sum(n for n, _ in scores)
        plain, *exact = (sum(bits for _, bits in scores) / size).tolist()
        shown = "".join(f" {x:9.4f} {x / plain - 1:8.3%}" for x in exact)
        seconds = time.perf_counter() - begin
        print(f"{name:30} {size:8} {tokens:7} {plain:9.4f}{shown} {seconds:6.0f}", flush=True)
        row = {"text": name, "bytes": size, "tokens": tokens, "float": plain}
        results.append(row | {f"exact{n}": x for n, x in zip(args.bits, exact, strict=True)})
    args.out.parent.mkdir(exist_ok=True)
    record = {"model": args.gguf.name, "window": window, "stride": stride, "rows": results}
    args.out.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
