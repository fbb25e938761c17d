"""From fixed-point log2 weights to the integer counts that the range coder works with.

This is the one place where a distribution becomes integers that sum to 2^24; it belongs to arithmetic
version 1 (formats/arithmetic-v1.md) and has golden vectors. Every symbol keeps a count of at least 1,
so that whatever comes can be coded; the price is V / 2^24 of the probability, 0.0042 bits a token for a
vocabulary of 49,152.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from nacrith import scratch
from nacrith.arith import F32, exp2

PRECISION = 24
TOTAL = 1 << PRECISION

MAX_SYMBOLS = TOTAL >> 4
"""Beyond this the floor of 1 would eat more than a sixteenth of the probability."""

FRACTION_BITS = 16
"""Of the log2 weights: models.protocol.LOGIT_BITS."""

_UNIT = np.float32(2.0**-FRACTION_BITS)
_PEAK = np.float32(2.0**23)
DOWN = 1.0 - 2.0**-22
"""Makes room for two roundings: see `counts`."""


def weigh(logits: npt.NDArray[np.int32], top: int, out: F32) -> int:
    """The weights w = rint(2^((x - x[top]) * 2^-16) * 2^23), integers below 2^24, and their sum.

    logits: int32 (V,), V <= MAX_SYMBOLS, fixed-point log2 weights within 2^30 of zero, the largest of
    them at `top`. The sum is exact in binary64.
    """
    difference = scratch.empty("difference", len(logits)).view(np.int32)
    np.subtract(logits, logits[top], out=difference)
    np.multiply(difference, _UNIT, out=out, casting="unsafe", dtype=np.float32)
    exp2(out)
    np.multiply(out, _PEAK, out=out)
    np.rint(out, out=out)
    return int(np.sum(out, dtype=np.float64))


def counts(logits: npt.NDArray[np.int32]) -> F32:
    """Integers in [1, TOTAL], one per symbol, that sum to TOTAL. Scratch memory.

    logits: as for `weigh`, which gives w.

        r = f32((TOTAL - V) / sum w * (1 - 2^-22))
        c = floor(w * r) + 1
        the first largest x receives TOTAL - sum c

    The factor in r outweighs the two roundings of at most 2^-24 that follow, so sum(w * r) stays at or
    below TOTAL - V and what is left for the likeliest symbol is never negative. Counts are carried in
    binary32, where all sums of them are exact.
    """
    top = int(logits.argmax())
    c: F32 = scratch.empty("counts", len(logits))
    total = weigh(logits, top, c)
    np.multiply(c, np.float32((TOTAL - len(c)) / total * DOWN), out=c)
    np.floor(c, out=c)
    np.add(c, np.float32(1.0), out=c)
    c[top] += np.float32(TOTAL - int(c.sum()))
    return c


def interval(c: F32, symbol: int) -> tuple[int, int]:
    """First count below a symbol's and its own: it owns [low, low + count) of [0, TOTAL)."""
    return int(c[:symbol].sum()), int(c[symbol])
