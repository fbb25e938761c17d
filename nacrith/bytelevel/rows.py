"""The distribution of the token that follows a node, summed up for questions about bytes; and logarithms of
probabilities that are the same on every machine."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from nacrith.coder.cdf import FRACTION_BITS

F64 = npt.NDArray[np.float64]

_LOG2_SERIES = tuple(2.8853900817779268 / n for n in (1, 3, 5, 7, 9, 11))  # 2 / ln 2 / n
_ROOT = math.sqrt(0.5)


def log2_weights(p: F64) -> npt.NDArray[np.int32]:
    """Probabilities, of any shape, as fixed-point log2 weights like those of a model. The least is 2^-60."""
    scaled = log2(np.maximum(p, 2.0**-60)) * float(1 << FRACTION_BITS)
    result: npt.NDArray[np.int32] = np.rint(scaled).astype(np.int32)
    return result


def log2(x: F64) -> F64:
    """Base-2 logarithms of positive numbers, to 1e-9, by single IEEE operations: libm's differ by machine.

    x = m 2^e with m near sqrt(1/2); log2 m = -1/2 + 2 / ln 2 artanh((m - s) / (m + s)).
    """
    mantissa, exponent = np.frexp(x)
    t = (mantissa - _ROOT) / (mantissa + _ROOT)
    square = t * t
    series = np.full_like(t, _LOG2_SERIES[-1])
    for factor in _LOG2_SERIES[-2::-1]:
        series = series * square + factor
    result: F64 = exponent - 0.5 + series * t
    return result


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
