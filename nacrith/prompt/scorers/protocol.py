"""The scorer seam: what tells important pieces of a text from others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from nacrith.arith import F64
from nacrith.prompt.segment import Passage


class Scorer(Protocol):
    """Scores the units of passages, or their sentences, against each other."""

    @property
    def name(self) -> str: ...

    @property
    def by_sentence(self) -> bool:
        """Scores are those of sentences, which are kept or dropped as a whole."""
        ...

    @property
    def causal(self) -> bool:
        """Nothing that comes later in the passages changes the scores before it."""
        ...

    def score(self, passages: Sequence[Passage], query: str) -> list[F64]:
        """For each passage finite scores, (units,) or (sentences,); more is better.

        query: what the reader of the output will be asked; "" if that is not known.
        """
        ...
