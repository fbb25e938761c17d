"""The ensemble seam: what stands between a model's distribution and the range coder."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt

from nacrith.arith import F32

Logits = npt.NDArray[np.int32]


class Ensemble(Protocol):
    """The predictors of one group of lanes, and what mixes them with the model. The lanes share what is
    learnt; a group of one lane needs no number."""

    def counts(self, logits: Logits, lane: int = 0) -> F32:
        """Integer counts (V,) of a lane's next token, as coder.cdf.counts makes them, given the model's
        fixed-point log2 weights. Valid until the next call; what is learnt waits for `update`."""
        ...

    def update(self, token: int, lane: int = 0) -> None:
        """The token that came under the counts given last, which were for this lane."""
        ...
