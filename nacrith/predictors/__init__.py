"""Online predictors: what a document teaches about itself while it is coded.

An `Ensemble` joins the predictors of one block with the model's distribution. Everything here obeys
nacrith.arith, since its results decide coded bits. `make` makes the ensembles that an archive's
parameters can ask for: set 0 is the model alone, sets 1 and 2 the cascade with two priors; in native code
where the engine of exact models is native, with the same results.
"""

from __future__ import annotations

from nacrith.arith import F32
from nacrith.coder.cdf import counts
from nacrith.predictors.protocol import Ensemble, Intervals, Logits, StepByStep

__all__ = ["Ensemble", "Intervals", "Logits", "ModelAlone", "make"]


class ModelAlone(StepByStep):
    """No predictors: the model's distribution as it is."""

    def counts(self, logits: Logits) -> F32:
        return counts(logits)

    def update(self, token: int) -> None:
        """Nothing is learnt."""


def make(number: int, vocab_size: int, capacity: int) -> Ensemble:
    """A fresh ensemble for one block. number: the set, 0 to 2. capacity: contexts of an order in one
    generation of the n-grams."""
    # here, not above: whoever only reads an archive's parameters waits for none of it
    from nacrith.predictors.prior import load

    if _native():
        from nacrith.models.exact import engines
        from nacrith.predictors.native import NativeEnsemble

        prior = load(number) if number else None
        return NativeEnsemble(min(number, 1), vocab_size, capacity, prior, engines.kernels())
    if number == 0:
        return ModelAlone()
    from nacrith.predictors.cascade import Cascade

    return Cascade(vocab_size, capacity, load(number))


def _native() -> bool:
    """Whether ensembles run in native code: as the engine does, and beside torch if they can."""
    from nacrith import native
    from nacrith.errors import ModelError
    from nacrith.models.exact import engines

    name = engines.engine()
    if name == "torch":
        try:
            native.load()
        except ModelError:
            return False
    return name != "numpy"
