"""What the ensemble knows before it has seen anything.

Every block starts from the same tables: state maps, weights of the mixer, corrections. `formula` gives
them by rule; `load` reads those that were fitted on ordinary text by bench/coding/prior.py and are what sets
1 and 2 differ in: how far the predictors are to be trusted beside a model depends on how much that knows
itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources

import numpy as np

from nacrith.predictors import match, ngram
from nacrith.predictors.fixed import UNIT, squash
from nacrith.predictors.mixer import BUCKETS, WEIGHT_BITS

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

FILES = {1: "set1.prior", 2: "set2.prior"}
"""Of each set: fitted beside SmolLM2-135M, and beside the embedded model."""


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
def load(number: int) -> Prior:
    """Of set 1 or 2."""
    return Prior.from_bytes(resources.files("nacrith.predictors").joinpath(FILES[number]).read_bytes())


def formula() -> Prior:
    """By rule: counts as plain frequencies, the model's opinion alone, no correction."""
    # the classes' counts, in twentieths
    few, many = (0, 20, 40, 70, 120, 240), (0, 20, 40, 80, 180, 480)
    counts = [
        min((a + 1) * 65536 // (a + b + (26 if a == 0 else 6)), 64000)
        for a in few
        for b in many
        for _ in range(4)
    ]
    orders = [(counts, [2] * ngram.STATES)] * ngram.ORDERS
    matches = ([45875] * match.STATES, [2] * match.STATES)
    model = [(1 << WEIGHT_BITS) // len(SETS), *[0] * (OPINIONS - 1)]
    edges = [min(squash((i - BUCKETS // 2) * UNIT) >> 8, 65535) for i in range(BUCKETS)]
    corrections = [(edges * n, [6] * (BUCKETS * n)) for n in CONTEXTS]
    return Prior([*orders, matches], [[model] * n for n in SETS], corrections)
