"""The predictor sets that an archive can name, and the ensembles that they stand for.

A set's number is part of an archive's coding parameters, so an entry never changes once archives name it. A
new set is one entry of `SETS` and the module of its ensemble. codec.group_native runs the same
ensembles in native code, with the same results as the Python classes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nacrith.predictors.prior import Prior
    from nacrith.predictors.protocol import Ensemble

# numpy and the ensembles are imported at the first use, so that the table alone is cheap.


@dataclass(frozen=True)
class PredictorSet:
    """One set of predictors.

    reference: makes the Python ensemble of a group from the size of the vocabulary, the n-grams' capacity,
    the prior and the lengths of the lanes. native: number of the same ensemble in the native library. prior:
    file in this package; "" if the ensemble has none.
    """

    number: int
    reference: Callable[[int, int, Prior | None, Sequence[int]], Ensemble]
    native: int
    prior: str = ""


def _alone(vocab_size: int, capacity: int, prior: Prior | None, lengths: Sequence[int]) -> Ensemble:
    from nacrith.predictors.alone import ModelAlone

    return ModelAlone()


def _cascade(vocab_size: int, capacity: int, prior: Prior | None, lengths: Sequence[int]) -> Ensemble:
    from nacrith.predictors.cascade import Cascade

    assert prior is not None
    return Cascade(vocab_size, capacity, prior, lengths)


ALONE, BESIDE_LARGE, BESIDE_SMALL = 0, 1, 2
"""Numbers of the sets: the model alone; priors fitted beside SmolLM2-135M and beside the embedded model."""

SETS = {
    entry.number: entry
    for entry in (
        PredictorSet(ALONE, _alone, native=0),
        PredictorSet(BESIDE_LARGE, _cascade, native=1, prior="set1.prior"),
        PredictorSet(BESIDE_SMALL, _cascade, native=1, prior="set2.prior"),
    )
}


def make(number: int, vocab_size: int, capacity: int, lengths: Sequence[int]) -> Ensemble:
    """A new ensemble, in Python, for a group of lanes. number: the set's. capacity: contexts of each order
    that one generation of the n-grams holds. lengths: tokens of each lane."""
    chosen = SETS[number]
    return chosen.reference(vocab_size, capacity, prior_of(chosen), lengths)


def prior_of(chosen: PredictorSet) -> Prior | None:
    from nacrith.predictors.prior import load

    return load(chosen.prior) if chosen.prior else None
