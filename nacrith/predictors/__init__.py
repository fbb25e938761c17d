"""Online predictors: what a document teaches about itself while it is coded.

A `Predictor` predicts from the tokens so far and is told the token that came; an `Ensemble` joins the
predictors of one lane with the model's distribution. Everything here obeys nacrith.arith, since its
results decide coded bits. `SETS` names the ensembles that an archive's parameters can ask for.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np
import numpy.typing as npt

Logits = npt.NDArray[np.int32]


class Ensemble(Protocol):
    """The state of one lane's predictors and of what mixes them."""

    def mix(self, logits: Logits) -> Logits:
        """Fixed-point log2 weights (V,) of the next token, given the model's. Changes no state that
        `update` does not overwrite."""
        ...

    def update(self, token: int) -> None:
        """The token that came."""
        ...


class ModelAlone:
    """No predictors: the model's distribution as it is."""

    def mix(self, logits: Logits) -> Logits:
        return logits

    def update(self, token: int) -> None:
        """Nothing is learnt."""


SETS: dict[int, Callable[[int], Ensemble]] = {0: lambda vocab_size: ModelAlone()}
"""Number of the set in an archive -> maker of a fresh ensemble for a vocabulary size."""
