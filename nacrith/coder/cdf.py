"""Converts fixed-point log2 weights into the integer counts that the range coder uses.

Only here does a distribution become integers, which sum to 2^24. The conversion is part of arithmetic version
1 (formats/arithmetic-v1.md) and has golden vectors. Every symbol has a count of at least 1, so that any
symbol can be coded; this costs V / 2^24 of the probability, or 0.0042 bits per token for a vocabulary of
49,152.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from nacrith import scratch
from nacrith.arith import F32, exp2

PRECISION = 24
TOTAL = 1 << PRECISION

MAX_SYMBOLS = TOTAL >> 4
"""With more symbols the minimum count of 1 would take more than a sixteenth of the probability."""

FRACTION_BITS = 16
"""Fractional bits of the log2 weights; models.protocol.LOGIT_BITS."""

_UNIT = np.float32(2.0**-FRACTION_BITS)
_PEAK = np.float32(2.0**23)
DOWN = 1.0 - 2.0**-22
"""Compensates for two roundings; see `counts`."""


def weigh(logits: npt.NDArray[np.int32], top: int, out: F32) -> int:
    """Compute the weights w = rint(2^((x - x[top]) * 2^-16) * 2^23), integers below 2^24, into `out`;
    returns their sum.

    logits: int32 (V,), V <= MAX_SYMBOLS, fixed-point log2 weights of magnitude at most 2^30, the largest
    of them at `top`. The sum is exact in binary64.
    """
    difference = scratch.empty("difference", len(logits)).view(np.int32)
    np.subtract(logits, logits[top], out=difference)
    np.multiply(difference, _UNIT, out=out, casting="unsafe", dtype=np.float32)
    exp2(out)
    np.multiply(out, _PEAK, out=out)
    np.rint(out, out=out)
    return int(np.sum(out, dtype=np.float64))


def counts(logits: npt.NDArray[np.int32]) -> F32:
    """One count in [1, TOTAL] for each symbol; they sum to TOTAL. The result is scratch memory.

    logits: as for `weigh`, which computes w.

        r = f32((TOTAL - V) / sum w * (1 - 2^-22))
        c = floor(w * r) + 1
        the first largest x receives TOTAL - sum c

    The factor in r compensates for the two following roundings of at most 2^-24 each, so sum(w * r) is at
    most TOTAL - V, and the remainder for the likeliest symbol is never negative. Counts are held in
    binary32, in which all their sums are exact.
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
    """(low, count): the symbol owns the interval [low, low + count) of [0, TOTAL)."""
    return int(c[:symbol].sum()), int(c[symbol])
