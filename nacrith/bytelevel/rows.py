"""The distribution of the token that follows a node, summed up for questions about bytes."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

F64 = npt.NDArray[np.float64]


class Row:
    """sums: float64 (N + 1,), the weights of the allowed tokens, summed up in sorted order: the tokens of
    ranks lo .. hi - 1 have sums[hi] - sums[lo]. stop: the weight of the end. All are integers below 2^53, so
    exact.

    A row takes hundreds of kilobytes. A node refers to its row weakly; the states that need it hold it.
    """

    __slots__ = ("__weakref__", "stop", "sums", "total")

    def __init__(self, weights: F64, allowed: npt.NDArray[np.bool_], stop: float) -> None:
        self.sums: F64 = np.empty(len(weights) + 1)
        self.sums[0] = 0.0
        np.cumsum(weights * allowed, out=self.sums[1:])
        self.stop = stop
        self.total = float(self.sums[-1]) + stop or 1.0  # nothing can follow: a weight of 0 out of 1

    def between(self, lo: int, hi: int) -> float:
        return float(self.sums[hi] - self.sums[lo])
