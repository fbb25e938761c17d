"""The ensemble without predictors: the model's own distribution."""

from __future__ import annotations

from nacrith.arith import F32
from nacrith.coder.cdf import counts
from nacrith.predictors.protocol import Logits


class ModelAlone:
    """Passes the model's distribution on. It has no state."""

    def counts(self, logits: Logits, lane: int = 0) -> F32:
        return counts(logits)

    def update(self, token: int, lane: int = 0) -> None:
        """Does nothing."""
