"""Answers that obey a rule: a token is drawn, checked, and drawn anew without it, until one is allowed.

This is Adaptive Weighted Rejection Sampling (Lipkin et al. 2025, arXiv 2504.05410): the result has exactly
the distribution that masking the whole vocabulary would give, for a few checks in place of one a token of the
vocabulary. Each place also yields an unbiased estimate of the probability that the model gave to what is
allowed; their product weights an answer among several. The first draw is the one of plain decoding, so a rule
that never objects changes nothing; and all draws depend on seed and place only, so that drafts change nothing
either.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from nacrith.decoding.sampling import Sampling


class Constraint(Protocol):
    """A rule for the bytes of an answer. Both must depend on `text` alone."""

    def allows(self, text: bytes) -> bool:
        """Whether `text` is, or may become, an answer."""
        ...

    def complete(self, text: bytes) -> bool:
        """Whether the answer may end here. Asked for allowed texts only."""
        ...


class Pick(NamedTuple):
    """A token, or None if none is allowed. weight: an estimate of the share of what is allowed in the row,
    whose mean over seeds is that share; 1 if greedy. checks: how many tokens were checked."""

    token: int | None
    weight: float
    checks: int


def pick(sampling: Sampling, row: npt.NDArray[np.int32], place: int, allowed: Callable[[int], bool]) -> Pick:
    """The first allowed token in the order of drawing without replacement. row: int32 (V,).

    With w = 1 - (the rejected share), the estimate is w if the next token of the order is allowed too, and
    else w times the accepted token's share of what was left. Tokens that `sampling` drops count as not there.
    """
    if not sampling.temperature:
        return _heaviest(row, allowed)
    ids, weights = sampling.candidates(row)
    total = left = int(weights.sum())
    checks = 0

    def draw() -> int:
        return int(np.searchsorted(np.cumsum(weights), sampling.draw(place, left, checks), "right"))

    while left:
        at = draw()
        own = int(weights[at])
        checks += 1
        if allowed(int(ids[at])):
            weight = left / total
            weights[at] = 0
            if left > own:
                left -= own
                following = int(ids[draw()])
                checks += 1
                if not allowed(following):
                    weight *= own / (left + own)
            return Pick(int(ids[at]), weight, checks)
        weights[at] = 0
        left -= own
    return Pick(None, 0.0, checks)


def _heaviest(row: npt.NDArray[np.int32], allowed: Callable[[int], bool]) -> Pick:
    """The heaviest allowed token; most often one of the first, so that few are sorted."""
    checks, count = 0, 16
    while True:
        kept = min(count, len(row))
        least = int(np.partition(row, len(row) - kept)[len(row) - kept])
        ids = np.flatnonzero(row >= least)
        order = ids[np.argsort(-row[ids].astype(np.int64), kind="stable")].tolist()
        for token in order[checks:]:
            checks += 1
            if allowed(token):
                return Pick(token, 1.0, checks)
        if kept == len(row):
            return Pick(None, 0.0, checks)
        count *= 16
