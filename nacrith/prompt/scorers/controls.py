"""Baseline scorers that ignore the text; other scorers must do better at the same number of tokens."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nacrith.arith import F64
from nacrith.prompt.segment import Passage


class RandomScorer:
    """Drops random words; the choice depends on `seed` only."""

    name = "random"
    by_sentence = False
    causal = True

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed

    def score(self, passages: Sequence[Passage], query: str) -> list[F64]:
        """Uniform in [0, 1)."""
        rng = np.random.default_rng(self.seed)
        return [rng.random(len(p)) for p in passages]


class TruncateScorer:
    """Keeps the beginning. The score of a word is minus the number of units before it."""

    name = "truncate"
    by_sentence = False
    causal = True

    def score(self, passages: Sequence[Passage], query: str) -> list[F64]:
        before = np.cumsum([0, *(len(p) for p in passages)])
        return [-np.arange(a, a + len(p), dtype=np.float64) for a, p in zip(before, passages, strict=False)]
