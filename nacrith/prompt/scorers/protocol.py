"""The interface of scorers, which rank the pieces of a text by importance."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from nacrith.arith import F64
from nacrith.prompt.segment import Passage


class Scorer(Protocol):
    """Scores the units or the sentences of passages, relative to each other."""

    @property
    def name(self) -> str: ...

    @property
    def by_sentence(self) -> bool:
        """Whether scores are of sentences, which are kept or dropped as a whole."""
        ...

    @property
    def causal(self) -> bool:
        """Whether scores never depend on later text in the passages."""
        ...

    def score(self, passages: Sequence[Passage], query: str) -> list[F64]:
        """For each passage finite scores, (units,) or (sentences,); higher is better.

        query: the question that the reader of the output will get; "" if unknown.
        """
        ...
