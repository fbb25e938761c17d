"""The scorer seam: what tells important pieces of a text from others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from nacrith.prompt.segment import Passage

F64 = npt.NDArray[np.float64]


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
