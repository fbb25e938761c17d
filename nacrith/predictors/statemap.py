"""Adaptive probabilities: a table of states, each with the frequency of "yes" that it has seen.

The indirect modelling of PAQ (Mahoney 2005): predictors say in what state they are, the table learns what
that state means. Probabilities have 22 bits; the rate falls from 2/3 to the limit's as a state is used.
"""

from __future__ import annotations

from collections.abc import Sequence

from nacrith.predictors.fixed import stretch

BITS = 22
ONE = 1 << BITS

LIMIT = 127
"""Uses after which a state's rate no longer falls."""

RATES = [(1 << 17) // (2 * n + 3) for n in range(LIMIT + 1)]
"""2^16 / (n + 3/2): weight of the newest observation after n others."""


class StateMap:
    """probabilities: of 2^16, of each state; confidence: observations that each counts as."""

    def __init__(self, probabilities: Sequence[int], confidence: Sequence[int]) -> None:
        self.p = [value << (BITS - 16) for value in probabilities]
        self.n = list(confidence)

    def stretched(self, state: int) -> int:
        return stretch(self.p[state], ONE - self.p[state])

    def update(self, state: int, yes: bool) -> None:
        n = self.n[state]
        self.p[state] += ((ONE if yes else 0) - self.p[state]) * RATES[n] >> 16
        if n < LIMIT:
            self.n[state] = n + 1
