"""Online predictors: what a document teaches about itself while it is coded.

An `Ensemble` joins the predictors of one block with the model's distribution. Everything here obeys
nacrith.arith, since its results decide coded bits. `make` makes the ensembles that an archive's
parameters can ask for: set 0 is the model alone, set 1 the cascade.
"""

from __future__ import annotations

from nacrith.arith import F32
from nacrith.coder.cdf import counts
from nacrith.predictors.protocol import Ensemble, Logits

__all__ = ["Ensemble", "Logits", "ModelAlone", "make"]


class ModelAlone:
    """No predictors: the model's distribution as it is."""

    def counts(self, logits: Logits) -> F32:
        return counts(logits)

    def update(self, token: int) -> None:
        """Nothing is learnt."""


def make(number: int, vocab_size: int, capacity: int) -> Ensemble:
    """A fresh ensemble for one block. number: the set, 0 or 1. capacity: contexts of an order in one
    generation of the n-grams."""
    if number == 0:
        return ModelAlone()
    from nacrith.predictors.cascade import Cascade
    from nacrith.predictors.prior import load

    return Cascade(vocab_size, capacity, load())
