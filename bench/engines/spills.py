"""How many numbers of the quantised rows do not fit a byte, by the kind of matrix product.

    python -m bench.engines.spills MODEL.nacm... [--data DIR] [--files NAME...] [--bytes N]

The native engine multiplies rows of up to 511 as bytes and a list of what exceeds them, so its speed depends
on how many do. Prints their share, and that of the quads of columns that have one, in the first bytes of each
file.
"""

from __future__ import annotations

import argparse
import os
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import numpy as np

from bench import common
from nacrith.arith import F32
from nacrith.models.exact import modelfile
from nacrith.models.exact.model import ExactModel
from nacrith.models.exact.modelfile import ModelFile
from nacrith.models.exact.numpy_engine import Linear, NumpyEngine

KINDS = ("qkv", "o", "mlp", "down", "head")
FILES = ("canterbury/alice29.txt", "canterbury/fields.c")


class Counting(NumpyEngine):
    """The numpy engine, which counts the numbers beyond a byte."""

    def __init__(self, file: ModelFile) -> None:
        super().__init__(file)
        self.found: dict[str, list[tuple[int, int, int]]] = defaultdict(list)
        self.kinds = {id(self.head): "head"}
        for kind in KINDS[:-1]:
            self.kinds.update((id(linear), kind) for linear in getattr(self, kind))

    def _quantised(self, shape: tuple[int, ...], make: Callable[[slice], F32], linear: Linear) -> F32:
        def counted(q: F32, scale: F32) -> F32:
            beyond = (q < -128) | (q > 127)
            quads = beyond.reshape(len(q), -1, 4).any(axis=2)
            self.found[self.kinds[id(linear)]].append((int(beyond.sum()), int(quads.sum()), q.size))
            return linear(q, scale)

        counted.limit = linear.limit  # type: ignore[attr-defined]
        return super()._quantised(shape, make, counted)  # type: ignore[arg-type]


def shares(path: Path, text: bytes) -> list[str]:
    """Of each kind, in per cent: numbers, and quads."""
    engine = Counting(modelfile.read(path))
    ids = list(ExactModel(path).tokenizer.encode(text))[: engine.config.max_context]
    engine.session(1, engine.config.max_context).extend([ids])
    cells = []
    for kind in KINDS:
        beyond, quads, size = np.sum(engine.found[kind], axis=0).tolist()
        cells.append(f"{beyond / size:.1%} {4 * quads / size:.1%}")
    return cells


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m bench.engines.spills", description=__doc__.split("\n")[0]
    )
    parser.add_argument("models", type=Path, nargs="+", metavar="MODEL")
    parser.add_argument("--data", type=Path, default=os.environ.get(common.DATA_VARIABLE))
    parser.add_argument("--files", nargs="+", default=FILES)
    parser.add_argument("--bytes", type=int, default=2000)
    args = parser.parse_args()
    if args.data is None:
        parser.error(f"give --data or set {common.DATA_VARIABLE}")
    table = []
    for path in args.models:
        for name in args.files:
            text = (args.data / name).read_bytes()[: args.bytes]
            table.append([f"{modelfile.read(path).name}, {name}", *shares(path, text)])
    print(common.markdown_table(["numbers beyond a byte, quads with one", *KINDS], table))


if __name__ == "__main__":
    main()
