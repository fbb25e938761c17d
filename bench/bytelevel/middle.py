"""Fill in the middle of functions cut inside identifiers: how similar is what comes to what was there.

    python -m bench.bytelevel.middle FILE... [--functions N] [--bytes N] [--model M] [--proposals N]

The functions are those of Python files. Each is cut in the middle of an identifier; the next N bytes are
the middle, the rest the suffix. `naive` encodes the prefix and takes the likeliest tokens; `exact` the
likeliest bytes (`complete` without a suffix); both are given the middle's length, as neither sees the
suffix. `suffix` is `complete` with it, which has to find the length too. Similarity is 1 - edit distance /
longer length.
"""

from __future__ import annotations

import argparse
import ast
import re
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from bench.common import markdown_table
from nacrith.bytelevel import ByteModel, complete
from nacrith.models import load_model


class Cut(NamedTuple):
    prefix: bytes
    middle: bytes
    suffix: bytes


def functions(paths: Sequence[Path]) -> Iterator[bytes]:
    for path in paths:
        text = path.read_text()
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef) and (found := ast.get_source_segment(text, node)):
                yield found.encode()


def cut(function: bytes, size: int) -> Cut | None:
    """Cut in the middle of the identifier nearest to the middle of the function."""
    names = [m for m in re.finditer(rb"[A-Za-z_]{5,}", function) if m.end() + size < len(function)]
    names = [m for m in names if m.start() > 40]
    if not names:
        return None
    best = min(names, key=lambda m: abs(m.start() - len(function) // 2))
    at = (best.start() + best.end()) // 2
    return Cut(function[:at], function[at : at + size], function[at + size :])


def naive(model: ByteModel, prefix: bytes, size: int) -> bytes:
    """The likeliest tokens after the prefix's own."""
    session, tokenizer = model.model.session(), model.model.tokenizer
    tokens = [model.model.bos_id, *tokenizer.encode(prefix)]
    out: list[int] = []
    row = session.extend([tokens])[0][-1]
    while len(tokenizer.decode(out)) < size and len(out) < 2 * size:
        out.append(int(row.argmax()))
        row = session.extend([[out[-1]]])[0][-1]
    return tokenizer.decode(out)[:size]


def similarity(a: bytes, b: bytes) -> float:
    """1 - edit distance / the longer length."""
    row = list(range(len(b) + 1))
    for i, x in enumerate(a):
        before, row[0] = row[0], i + 1
        for j, y in enumerate(b):
            before, row[j + 1] = row[j + 1], min(row[j + 1] + 1, row[j] + 1, before + (x != y))
    return 1 - row[-1] / max(len(a), len(b), 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--functions", type=int, default=100)
    parser.add_argument("--bytes", type=int, default=16)
    parser.add_argument("--model")
    parser.add_argument("--proposals", type=int, default=0, help="0: leave out `suffix`")
    options = parser.parse_args()
    model = ByteModel(load_model(options.model))
    cuts = [c for f in functions(options.files) if len(f) < 3000 and (c := cut(f, options.bytes))]
    cuts = cuts[:: max(1, len(cuts) // options.functions)][: options.functions]
    ways = {
        "naive": lambda c: naive(model, c.prefix, len(c.middle)),
        "exact": lambda c: b"".join(complete(model, c.prefix, most=len(c.middle))),
    }
    if options.proposals:
        ways["suffix"] = lambda c: b"".join(
            complete(model, c.prefix, c.suffix, most=2 * len(c.middle), proposals=options.proposals)
        )
    rows = []
    for name, way in ways.items():
        begin = time.perf_counter()
        found = [way(c) for c in cuts]
        seconds = (time.perf_counter() - begin) / len(cuts)
        scores = [similarity(a, c.middle) for a, c in zip(found, cuts, strict=True)]
        exact = sum(a == c.middle for a, c in zip(found, cuts, strict=True))
        rows.append([name, f"{np.mean(scores):.3f}", str(exact), f"{seconds:.2f}"])
    print(f"{len(cuts)} functions, middles of {options.bytes} bytes, {model.model.name}")
    print(markdown_table(["way", "edit similarity", "equal", "seconds each"], rows))


if __name__ == "__main__":
    main()
