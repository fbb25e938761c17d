"""The prior: the tables with which the ensemble of every block starts.

They are the state maps, the weights of the mixer and the corrections. bench/coding/prior.py fitted them on
ordinary text. Predictor sets differ in their prior, since the best weight of the predictors depends on how
well the model beside them predicts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources

import numpy as np

from nacrith.predictors import match, ngram
from nacrith.predictors.mixer import BUCKETS

Table = tuple[Sequence[int], Sequence[int]]
"""For each state a probability, of 2^16, and the observations that it counts as."""

MAPS = (ngram.STATES,) * ngram.ORDERS + (match.STATES,)
"""States of each map."""

OPINIONS = 1 + len(MAPS) + 1
"""The model's, one of each map, a constant."""

SETS = (8 * 2, (ngram.ORDERS + 1) * 3, 8 * 2)
"""Sets of weights in each table of the mixer."""

CONTEXTS = ((ngram.ORDERS + 1) * 2 * 8, 4 * 2 * 4)
"""Contexts of each correction."""


@dataclass(frozen=True)
class Prior:
    """maps, corrections: a table each. weights: [table][set][opinion], in 2^-16."""

    maps: Sequence[Table]
    weights: Sequence[Sequence[Sequence[int]]]
    corrections: Sequence[Table]

    def to_bytes(self) -> bytes:
        """All probabilities (u16), all observations (u8), all weights (i32), little-endian."""
        tables = [*self.maps, *self.corrections]
        p = np.concatenate([np.asarray(p, "<u2") for p, _ in tables])
        n = np.concatenate([np.asarray(n, "u1") for _, n in tables])
        w = np.concatenate([np.asarray(table, "<i4").ravel() for table in self.weights])
        return p.tobytes() + n.tobytes() + w.tobytes()

    @classmethod
    def from_bytes(cls, data: bytes) -> Prior:
        sizes = [*MAPS, *(n * BUCKETS for n in CONTEXTS)]
        states = sum(sizes)
        p = np.frombuffer(data, "<u2", states).tolist()
        n = np.frombuffer(data, "u1", states, 2 * states).tolist()
        w = np.frombuffer(data, "<i4", sum(SETS) * OPINIONS, 3 * states).reshape(-1, OPINIONS).tolist()
        tables, begin = [], 0
        for size in sizes:
            tables.append((p[begin : begin + size], n[begin : begin + size]))
            begin += size
        weights, begin = [], 0
        for size in SETS:
            weights.append(w[begin : begin + size])
            begin += size
        return cls(tables[: len(MAPS)], weights, tables[len(MAPS) :])


@cache
def load(file: str) -> Prior:
    """The prior in a file of this package."""
    return Prior.from_bytes(resources.files("nacrith.predictors").joinpath(file).read_bytes())
