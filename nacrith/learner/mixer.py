"""Mixing of predictions in the logistic domain, and corrections of the result.

A mixer is a table of rows of weights, of which a small context chooses one; its output is the weighted sum of
the inputs, and each weight moves by input times error, which is gradient descent on coding cost (Mahoney
2005, PAQ). The mixers of a layer share their inputs and are one product of a matrix.
codecs/learner/mixer.hpp.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nacrith.learner.tables import HALF, I64, MOST_STRETCH, ONE, REACH, clamp, squash

WEIGHT_ONE = 1 << 28
_MOST_WEIGHT = (1 << 30) - 1
_DROPPED = 17  # bits of a weight that a sum leaves out, so that a sum of 64 products is below 2^31
_MOST_ERROR = (1 << 15) - 1


class Mixers:
    """A layer of mixers. rows: how many each has; first: the weights of every row, in units of 1 / 4,096."""

    def __init__(self, rows: Sequence[int], first: Sequence[int]) -> None:
        self._weights = np.tile(np.array(first, np.int64) << 16, (sum(rows), 1))
        self._starts = np.cumsum([0, *rows[:-1]], dtype=np.int64)
        self._rows: I64 = self._starts
        self._chosen = self._weights[self._rows]
        self._p: list[int] = []

    def mix(self, inputs: I64, rows: Sequence[int]) -> list[int]:
        """The prediction of each mixer, stretched. rows: which row of each."""
        self._rows = self._starts + rows
        self._chosen = self._weights.take(self._rows, axis=0)
        sums: list[int] = ((self._chosen >> _DROPPED) @ inputs).tolist()
        mixed = [clamp(s >> 11, MOST_STRETCH) for s in sums]
        self._p = [squash(m) for m in mixed]
        return mixed

    def learn(self, inputs: I64, bit: int, rate: int) -> None:
        """inputs: those of `mix`. rate: in 1 / 1,024."""
        one = bit * ONE
        errors = np.array([clamp((one - p) * rate >> 10, _MOST_ERROR) for p in self._p], np.int64)
        moved = self._chosen
        moved += errors[:, None] * inputs
        np.minimum(moved, _MOST_WEIGHT, out=moved)
        np.maximum(moved, -_MOST_WEIGHT, out=moved)
        self._weights[self._rows] = moved


class Gate:
    """A choice between what was mixed and the model alone: the average of both, weighted by how well each has
    done (a Bayesian mixture that forgets by a fixed share; Herbster and Warmuth 1998). It forgets
    slowly, so that a model that is worth nothing costs next to nothing."""

    _BITS, _SHARE = 22, 12
    FIRST = 1 << _BITS - 1

    def __init__(self) -> None:
        self.weight = self.FIRST  # of what was mixed
        self._mixed = self._model = HALF

    def join(self, mixed: int, model: int) -> int:
        """Of probabilities of 16 bits."""
        self._mixed, self._model = mixed, min(max(model, 1), ONE - 1)
        total = self.weight * self._mixed + ((1 << self._BITS) - self.weight) * self._model
        return min(max(total >> self._BITS, 1), ONE - 1)

    def learn(self, bit: int) -> None:
        mixed, model = (p if bit else ONE - p for p in (self._mixed, self._model))
        ours, others = self.weight * mixed, ((1 << self._BITS) - self.weight) * model
        self.weight = (ours << self._BITS) // (ours + others)
        self.weight += self.FIRST - self.weight >> self._SHARE


class Correction:
    """For each context probabilities at 17 knots of the logistic axis, interpolated."""

    KNOTS, STEP = 17, 384
    _SHIFT = 5

    def __init__(self, contexts: int) -> None:
        middle = self.KNOTS // 2
        knots = [squash(clamp((i - middle) * self.STEP, MOST_STRETCH)) for i in range(self.KNOTS)]
        self._p = knots * contexts
        self._nearest = 0

    def refine(self, stretched: int, context: int) -> int:
        """The corrected probability."""
        knot, part = divmod(stretched + REACH, self.STEP)
        low = context * self.KNOTS + knot
        self._nearest = low + (part >= self.STEP // 2)
        return (self._p[low] * (self.STEP - part) + self._p[low + 1] * part) // self.STEP

    def learn(self, bit: int) -> None:
        """Moves the nearer knot by 2^-5 of the error."""
        p = self._p[self._nearest]
        self._p[self._nearest] = p + ((bit * (ONE - 1) - p) >> self._SHIFT)
