"""Arithmetic version 1: the rules, and the one transcendental function, of everything exact in nacrith.

Only two kinds of operation appear wherever a result decides a coded bit, so results depend on no order
of summation, thread count, batch shape or instruction set:

- sums and products of integers, with the bound stated that keeps them exact. numpy carries such
  integers in binary32 where every partial sum stays within 2^24, which makes its BLAS an exact
  integer unit;
- single elementwise IEEE-754 operations (+ - * / sqrt rint floor max, conversions), each rounded once,
  in the order written; never a float reduction, a fused multiply-add, or libm.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from nacrith import scratch

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]

ARITHMETIC_VERSION = 1

EXACT_MAX = 1 << 24
"""Integers of at most this magnitude are exact in binary32."""

# 2^f ~ C0 + f (C1 + f (C2 + f C3)) on [-1/2, 1/2], relative error at most 7.5e-5. An error of e in a
# probability costs about e^2 in code length, so a cubic is enough everywhere.
EXP2_C = tuple(np.float32(c) for c in (0.99992807, 0.69326099, 0.24261112, 0.05517166))
_RINT = np.float32(1.5 * 2**23)
EXP2_MIN = np.float32(-100.0)


def exp2(t: F32) -> F32:
    """2^t for t <= 64, in place; t below EXP2_MIN counts as EXP2_MIN.

    Defined as cubic(t - rint(t)) * 2^rint(t) in binary32. Adding 1.5 * 2^23 rounds to the nearest
    integer, ties to even, and leaves that integer in the low bits of the sum, from where a shift
    moves it into the exponent field. The result is a normal number, so the scaling is exact.
    """
    work = scratch.empty("exp2", *t.shape)
    # numpy's maximum is three times faster on an array than on a scalar
    np.maximum(t, scratch.constant(EXP2_MIN, *t.shape), out=t)
    np.add(t, _RINT, out=work)
    exponent = scratch.empty("exponent", *t.shape).view(np.int32)
    np.left_shift(work.view(np.int32), 23, out=exponent)
    np.subtract(work, _RINT, out=work)
    np.subtract(t, work, out=t)
    c0, c1, c2, c3 = EXP2_C
    np.multiply(t, c3, out=work)
    np.add(work, c2, out=work)
    np.multiply(work, t, out=work)
    np.add(work, c1, out=work)
    np.multiply(work, t, out=work)
    np.add(work, c0, out=work)
    np.add(work.view(np.int32), exponent, out=t.view(np.int32))
    return t
