"""Models of different vocabularies as one: the cost of files by each of them, and by all together.

    python -m bench.bytelevel.ensemble FILE... [--head N] [--models A B] [--cache DIR] [--threads T] [--coded]

Bits per byte without what an archive learns from its own text. --cache keeps the distributions of the models,
4 MB for 2,000 bytes and a model: they take minutes, and mixing them seconds. --coded adds the bytes of
payloads, with the learner: by each model's own codec at level 6, and by the ensemble's.
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
from nacrith.bytelevel.joined import JoinedModel
from nacrith.bytelevel.rows import F64, log2_weights
from nacrith.codec import for_encoding, group
from nacrith.codec.payload import head
from nacrith.models import load_model
from nacrith.models.protocol import LanguageModel


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


def coded(data: bytes, members: list[F64], models: list[LanguageModel]) -> list[int]:
    """The bytes of the payload of `data` by the codec of each model, and of the ensemble."""
    sizes = [len(for_encoding(6, model, 1).encode([data])[0]) for model in models]
    joined = JoinedModel(models)
    encoder = group.encoder(joined.tokenizer.vocabulary(256), for_encoding(6, joined, 1).params, [len(data)])
    rows = EnsembleState([Known(r) for r in members]).distributions(data)  # type: ignore[misc]
    weights = np.ascontiguousarray(log2_weights(rows[:, :256]))
    lanes, at = np.zeros(len(data), np.int32), np.arange(len(data), dtype=np.int64)
    encoder.encode(weights, lanes, at, np.frombuffer(data, np.uint8).astype(np.int32))
    return [*sizes, len(head([len(data)], False) + encoder.finish())]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--head", type=int, default=2000)
    parser.add_argument("--models", nargs="+", default=["nacrith-36m", "smollm2-135m"])
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--coded", action="store_true")
    options = parser.parse_args()
    members = [Member(name, options.cache, options.threads) for name in options.models]
    table: list[list[str]] = []
    against: list[float] = []
    for path in options.files:
        data = path.read_bytes()[: options.head]
        rows = [m.rows(data) for m in members]
        alone, joint = costs(data, rows)
        against.append(100 * (joint[0] / min(alone) - 1))
        cells = [f"{bits / len(data):.4f}" for bits in (*alone, *joint)]
        table.append([path.name, str(len(data)), *cells, f"{against[-1]:+.2f} %"])
        if options.coded:
            sizes = coded(data, rows, [m.model.model for m in members])
            table[-1] += [*map(str, sizes), f"{100 * (sizes[-1] / min(sizes[:-1]) - 1):+.2f} %"]
        print(table[-1], flush=True)
    columns = ["file", "bytes", *options.models, *KINDS, f"{KINDS[0]} against the best"]
    if options.coded:
        columns += [*(f"{name}, payload" for name in options.models), "ensemble, payload", "against the best"]
    print(markdown_table(columns, table))
    smaller = sum(x < 0 for x in against)
    print(
        f"smaller than the best: {smaller} of {len(against)} files; mean {np.mean(against):+.2f} %, "
        f"worst {max(against):+.2f} %"
    )


if __name__ == "__main__":
    main()
