"""Models of different vocabularies as one: the cost of files by each of them, and by all together.

    python -m bench.bytelevel.ensemble FILE... [--head N] --models A B

Bits per byte without what an archive learns from its own text.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from bench.common import markdown_table
from nacrith.bytelevel import ByteModel
from nacrith.bytelevel.ensemble import KINDS, EnsembleState
from nacrith.bytelevel.rows import F64
from nacrith.models import load_model


class Known:
    """A state whose distributions were computed before."""

    def __init__(self, rows: F64) -> None:
        self._rows = rows

    def distributions(self, data: bytes) -> F64:
        return self._rows[: len(data)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--head", type=int, default=2000)
    parser.add_argument("--models", nargs="+", default=["nacrith-36m", "smollm2-135m"])
    options = parser.parse_args()
    models = [ByteModel(load_model(name)) for name in options.models]
    table = []
    for path in options.files:
        data = path.read_bytes()[: options.head]
        rows = [m.start().distributions(data) for m in models]
        alone = [float(-np.log2(r[np.arange(len(data)), list(data)]).sum()) for r in rows]
        joint = []
        for kind in KINDS:
            state = EnsembleState([Known(r) for r in rows], kind)  # type: ignore[list-item]
            joint.append(float(state.profile(data).sum()))
        cells = [f"{bits / len(data):.4f}" for bits in (*alone, *joint)]
        table.append([path.name, str(len(data)), *cells, f"{100 * (joint[0] / min(alone) - 1):+.2f} %"])
        print(table[-1], flush=True)
    head = ["file", "bytes", *options.models, *KINDS, f"{KINDS[0]} against the best"]
    print(markdown_table(head, table))


if __name__ == "__main__":
    main()
