"""Fixed point for mixing: log2 odds ("stretched" probabilities) in integers.

    stretch(p) = log2(p / (1 - p)), 1,024 units a bit          squash: its inverse, in 2^-24

as in the PAQ compressors (Mahoney 2005), but of base 2 and with exact tables: each entry is the integer
part of a power or root, computed with whole numbers, so that no table depends on a C library.
"""

from __future__ import annotations

from functools import cache
from math import isqrt

UNIT = 1024
"""Units of a bit in the stretched domain."""

LIMIT = 20 * UNIT
"""Stretched values that are squashed lie in [-LIMIT, LIMIT]."""

PRECISION = 24
ONE = 1 << PRECISION
"""A probability of 1."""


@cache
def lg_table() -> list[int]:
    """floor(1024 log2(1 + i / 1024)) for i < 1024."""
    return [((UNIT + i) ** UNIT).bit_length() - 1 - 10 * UNIT for i in range(UNIT)]


@cache
def exp_table() -> list[int]:
    """2^(30 + i / 1024) for i < 1024, as the product of two roots rounded down."""

    def root(numerator: int, log_denominator: int) -> int:
        x = 1 << ((30 << log_denominator) + numerator)
        for _ in range(log_denominator):
            x = isqrt(x)  # floor of a root of a floor is the floor of the root
        return x

    coarse = [root(i, 5) for i in range(32)]
    fine = [root(i, 10) for i in range(32)]
    return [coarse[i >> 5] * fine[i & 31] >> 30 for i in range(UNIT)]


def lg(n: int) -> int:
    """log2(n) of an integer n >= 1, in units, from its 11 leading bits."""
    exponent = n.bit_length() - 1
    mantissa = n >> (exponent - 10) if exponent >= 10 else n << (10 - exponent)
    return (exponent << 10) + lg_table()[mantissa - UNIT]


def stretch(part: int, rest: int) -> int:
    """log2(part / rest), of two integers; each counts as 1 if it is less."""
    return lg(max(part, 1)) - lg(max(rest, 1))


def squash(s: int) -> int:
    """2^24 / (1 + 2^-s), s in units and in [-LIMIT, LIMIT]; squash(-s) = 2^24 - squash(s)."""
    size = abs(s)
    whole = (size + UNIT - 1) >> 10
    small = exp_table()[(whole << 10) - size] >> whole  # 2^(30 - size)
    p = (1 << 54) // ((1 << 30) + small)
    return p if s >= 0 else ONE - p
