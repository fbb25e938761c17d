"""Adaptive bias head: what this document does to the odds of every single token.

A bias b is added to the model's log2 weights and follows the gradient of the code length,

    g = p - [t came]     G += g^2     b -= rate g / sqrt(damping + G)

which is AdaGrad (Duchi, Hazan and Singer 2011): a token's first occurrences count most. Only tokens of
some probability, and the one that came, change; so a step costs little beyond one sum over the
vocabulary. p is that of model and bias, without the other predictors.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from nacrith.arith import F32

RATE = np.float32(37819.0)
"""0.4 nat, in units of the weights (2^-16 bit)."""

DAMPING = np.float32(0.3)

THRESHOLD = np.float32(2.0**-12)
"""Tokens of less probability are left alone."""

_MOST = np.int32(1 << 30)


class BiasHead:
    """b: binary32 (V,), added to the weights rounded to integers. G: binary32 (V,)."""

    def __init__(self, vocab_size: int) -> None:
        self.b: F32 = np.zeros(vocab_size, np.float32)
        self._squares: F32 = np.zeros(vocab_size, np.float32)
        self._rounded = np.zeros(vocab_size, np.int32)

    def apply(self, logits: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
        np.rint(self.b, out=self._rounded, casting="unsafe")
        self._rounded += logits
        # differences of two must stay within 32 bits; a weight 2^31 below the largest is 0 anyway
        np.clip(self._rounded, -_MOST, _MOST, out=self._rounded)
        return self._rounded

    def update(self, weights: F32, total: int, token: int) -> None:
        """weights: integers (V,), their sum: total; the distribution that `token` was drawn from."""
        at = np.flatnonzero(weights > np.float32(np.float32(total) * THRESHOLD))
        if weights[token] <= np.float32(np.float32(total) * THRESHOLD):
            at = np.append(at, token)
        g = weights[at] / np.float32(total)
        g[at == token] -= np.float32(1.0)
        squares = self._squares[at] + g * g
        self._squares[at] = squares
        self.b[at] -= RATE * g / np.sqrt(DAMPING + squares)
