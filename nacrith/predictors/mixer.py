"""Logistic mixing of opinions on a yes-or-no question, and its correction.

Opinions are stretched probabilities; the answer is the squash of their weighted sum, with one set of
weights chosen from each of several tables by what is known of the question (Mattern 2012; Mahoney's
PAQ8). Weights follow the gradient of the code length. Two adaptive probability maps (the last stage of
PAQ, "SSE") then learn where the mixture errs. Integers only: sums stay below 2^60.
"""

from __future__ import annotations

from collections.abc import Sequence

from nacrith.predictors.fixed import LIMIT, ONE, UNIT, squash, stretch
from nacrith.predictors.statemap import StateMap

WEIGHT_BITS = 16
RATE_SHIFT = 27
"""A weight changes by opinion * error / 2^27 (units: 2^-16; 2^-10 bit; 2^-24): rate 1/512 per bit."""

BUCKETS = 33
"""Of an adaptive probability map, a bit apart, from -16 to 16 bits."""

_EDGE = 16 * UNIT
_HALF = 1 << (RATE_SHIFT - 1)


class Mixer:
    """tables: for each table its sets of weights (in 2^-16), each with a weight per opinion."""

    def __init__(self, tables: Sequence[Sequence[Sequence[int]]]) -> None:
        self.tables = [[list(weights) for weights in table] for table in tables]

    def mix(self, opinions: Sequence[int], sets: Sequence[int]) -> int:
        """The stretched probability, in [-LIMIT, LIMIT]."""
        total = 0
        for table, chosen in zip(self.tables, sets, strict=True):
            total += sum(w * x for w, x in zip(table[chosen], opinions, strict=True))
        return max(-LIMIT, min(LIMIT, total >> WEIGHT_BITS))

    def update(self, opinions: Sequence[int], sets: Sequence[int], mixed: int, yes: bool) -> None:
        """mixed: what `mix` gave for these opinions."""
        error = (ONE if yes else 0) - squash(mixed)
        steps = [(x * error + _HALF) >> RATE_SHIFT for x in opinions]
        for table, chosen in zip(self.tables, sets, strict=True):
            weights = table[chosen]
            for i, step in enumerate(steps):
                weights[i] += step


class Correction:
    """An adaptive probability map: in each of its contexts, stretched probability in, corrected one out."""

    def __init__(self, states: StateMap) -> None:
        self.states = states

    def refine(self, context: int, mixed: int) -> int:
        """Stretched; by interpolation between the two buckets around."""
        at, part = self._place(context, mixed)
        p = self.states.p
        q = (p[at] * (UNIT - part) + p[at + 1] * part) >> 10
        return stretch(q, (1 << 22) - q)

    def update(self, context: int, mixed: int, yes: bool) -> None:
        """The nearer bucket learns."""
        at, part = self._place(context, mixed)
        self.states.update(at + (2 * part >= UNIT), yes)

    def _place(self, context: int, mixed: int) -> tuple[int, int]:
        shifted = max(0, min(2 * _EDGE - 1, mixed + _EDGE))
        return context * BUCKETS + (shifted >> 10), shifted & (UNIT - 1)
