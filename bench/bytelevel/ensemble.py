"""Models of different vocabularies as one: the cost of files by each of them, and by all together.

    python -m bench.bytelevel.ensemble FILE... [--head N] [--models A B] [--cache DIR] [--threads T]

Bits per byte without what an archive learns from its own text. --cache keeps the distributions of the models,
4 MB for 2,000 bytes and a model: they take minutes, and mixing them seconds.
"""

from __future__ import annotations

import argparse
import hashlib
import os
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


class Member:
    """A model by name, whose distributions are kept in `folder` if there is one."""

    def __init__(self, name: str, folder: Path | None, threads: int | None) -> None:
        self.model = ByteModel(load_model(name, threads=threads))
        self._folder = folder

    def rows(self, data: bytes) -> F64:
        """float64 (len(data), 257)"""
        if not self._folder:
            return self.model.start().distributions(data)
        key = hashlib.sha256(self.model.model.fingerprint + data).hexdigest()[:32]
        path = self._folder / f"{key}.npy"
        if not path.exists():
            self._folder.mkdir(parents=True, exist_ok=True)
            part = self._folder / f"{key}.{os.getpid()}.part"
            with part.open("wb") as file:
                np.save(file, self.model.start().distributions(data))
            part.replace(path)
        found: F64 = np.load(path)
        return found


def costs(data: bytes, members: list[F64]) -> tuple[list[float], list[float]]:
    """Bits of `data` by each member, and by each kind of ensemble."""
    alone = [float(-np.log2(r[np.arange(len(data)), list(data)]).sum()) for r in members]
    states = [EnsembleState([Known(r) for r in members], kind) for kind in KINDS]  # type: ignore[misc]
    return alone, [float(state.profile(data).sum()) for state in states]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--head", type=int, default=2000)
    parser.add_argument("--models", nargs="+", default=["nacrith-36m", "smollm2-135m"])
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--threads", type=int)
    options = parser.parse_args()
    members = [Member(name, options.cache, options.threads) for name in options.models]
    table: list[list[str]] = []
    against: list[float] = []
    for path in options.files:
        data = path.read_bytes()[: options.head]
        alone, joint = costs(data, [m.rows(data) for m in members])
        against.append(100 * (joint[0] / min(alone) - 1))
        cells = [f"{bits / len(data):.4f}" for bits in (*alone, *joint)]
        table.append([path.name, str(len(data)), *cells, f"{against[-1]:+.2f} %"])
        print(table[-1], flush=True)
    head = ["file", "bytes", *options.models, *KINDS, f"{KINDS[0]} against the best"]
    print(markdown_table(head, table))
    smaller = sum(x < 0 for x in against)
    print(
        f"smaller than the best: {smaller} of {len(against)} files; mean {np.mean(against):+.2f} %, "
        f"worst {max(against):+.2f} %"
    )


if __name__ == "__main__":
    main()
