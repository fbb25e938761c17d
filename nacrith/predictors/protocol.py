"""The ensemble seam: what stands between a model's distribution and the range coder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from nacrith.arith import F32
from nacrith.coder.cdf import interval

Logits = npt.NDArray[np.int32]
Intervals = tuple[npt.NDArray[np.uint32], npt.NDArray[np.uint32]]
"""low and count (n,): a token owns [low, low + count) of [0, coder.cdf.TOTAL)."""


class Ensemble(Protocol):
    """The predictors of one group of lanes, and what mixes them with the model. The lanes share what is
    learnt; a group of one lane needs no number."""

    def counts(self, logits: Logits, lane: int = 0) -> F32:
        """Integer counts (V,) of a lane's next token, as coder.cdf.counts makes them, given the model's
        fixed-point log2 weights. Valid until the next call; what is learnt waits for `update`."""
        ...

    def update(self, token: int, lane: int = 0) -> None:
        """The token that came under the counts given last, which were for this lane."""
        ...

    def intervals(self, rows: Logits, tokens: Sequence[int]) -> Intervals:
        """For rows (n, V) of a single lane and the n tokens that came, one after the other: the counts, the
        token's interval of them, and the update. Nothing else than `counts` and `update` in turn."""
        ...


class StepByStep:
    """`intervals` of ensembles that take single steps."""

    def intervals(self: Ensemble, rows: Logits, tokens: Sequence[int]) -> Intervals:
        low, count = np.empty((2, len(tokens)), np.uint32)
        for i, (row, token) in enumerate(zip(rows, tokens, strict=True)):
            low[i], count[i] = interval(self.counts(row), token)
            self.update(token)
        return low, count
