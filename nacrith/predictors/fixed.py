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


_FRACTION = 62
"""Bits behind the point while the tables are made. What is cut off is below 2^-50 of a number and changes no
entry: but for i = 0, where nothing is cut off, no exact value is within 2^-37 of where its entry changes."""


@cache
def lg_table() -> list[int]:
    """floor(1024 log2(1 + i / 1024)) for i < 1024."""
    return [_log2(UNIT + i) for i in range(UNIT)]


def _log2(x: int) -> int:
    """floor(1024 log2(x / 1024)) for 1024 <= x < 2048, bit by bit: squaring doubles the logarithm."""
    x <<= _FRACTION - 10
    found = 0
    for _ in range(10):
        x = x * x >> _FRACTION
        bit = x >> (_FRACTION + 1)  # whether the square is 2 or more
        x >>= bit
        found = 2 * found + bit
    return found


@cache
def exp_table() -> list[int]:
    """2^(30 + i / 1024) for i < 1024, as the product of two roots rounded down."""

    def root(numerator: int, log_denominator: int) -> int:
        x = 1 << (numerator + 2 * _FRACTION)
        for _ in range(log_denominator):
            x = isqrt(x << 2 * _FRACTION)
        return x >> (2 * _FRACTION - 30)

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
