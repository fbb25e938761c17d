"""Constants of the learner's arithmetic: the logistic function, bit histories, rates, the hash.

All are computed from integers, so every machine has the same; codecs/learner/tables.cpp computes them anew.
Lists serve numbers taken one by one, arrays those taken for all contexts at once.
"""

from __future__ import annotations

from typing import TypeVar

import numpy as np
import numpy.typing as npt

I64 = npt.NDArray[np.int64]
Words = TypeVar("Words", int, I64)
"""One number, or an array of them."""

ONE = 1 << 16
"""A probability of 1; probabilities are integers of 16 bits."""

HALF = ONE >> 1
REACH = 3072
MOST_STRETCH = REACH - 1
"""Stretched probabilities, ln(p / (1 - p)) in units of 1/256, keep within this."""

MASK = (1 << 32) - 1
GOLDEN = 0x9E3779B1


def clamp(x: int, limit: int) -> int:
    return limit if x > limit else -limit if x < -limit else x


def mix(a: Words, b: Words) -> Words:
    """A hash of two words of 32 bits. Of arrays, products may pass 2^63: only their low 32 bits count."""
    h = a * 0x2C1B3C6D + b * 0x297A2D39 + 0x12345 & MASK
    h ^= h >> 15
    h = h * 0x85EBCA6B & MASK
    h ^= h >> 13
    h = h * 0xC2B2AE35 & MASK
    return h ^ h >> 16


def _squash() -> list[int]:
    """2^16 / (1 + e^(-x/256)) of x, at x + REACH: powers in units of 2^-60, each from the one before."""
    unit, step = 1 << 60, 1148426689630428643  # floor(2^60 e^(-1/256))
    powers = [unit]
    while len(powers) < REACH:
        powers.append(powers[-1] * step >> 60)
    found = []
    for x in range(-REACH, REACH):
        power = powers[min(abs(x), REACH - 1)]
        p = ((power if x < 0 else unit) << 16) // (unit + power)
        found.append(min(max(p, 1), ONE - 1))
    return found


def _stretch(squash: list[int]) -> list[int]:
    """Of p, at p >> 4: the largest x with squash(x) <= the middle of the step, at least -REACH."""
    found, at = [], 0
    for middle in range(8, ONE, 16):
        while at < 2 * REACH - 1 and squash[at + 1] <= middle:
            at += 1
        found.append(at - REACH)
    return found


_LARGER = (40, 22, 12, 8, 6, 5)
"""In a history, the most that the larger number of bits may be, by the smaller."""

History = tuple[int, int, int]
"""Zeros, ones, and the last bit."""


def _allowed(zeros: int, ones: int) -> bool:
    less = min(zeros, ones)
    return less < len(_LARGER) and max(zeros, ones) <= _LARGER[less]


def _histories() -> list[History]:
    """In the order of their numbers: what has seen more has a higher one."""
    found: list[History] = []
    for total in range(_LARGER[0] + 1):
        for zeros in range(total + 1):
            ones = total - zeros
            if _allowed(zeros, ones):
                lasts = (0, 1) if zeros and ones else (int(ones > 0),)
                found += [(zeros, ones, last) for last in lasts]
    return found


def _discounted(n: int) -> int:
    """What is left of a number of bits once the opposite bit comes."""
    for above, left in ((25, 8), (12, 6), (6, 5), (3, 3), (2, 2)):
        if n > above:
            return left
    return n


def _after(history: History, bit: int) -> History:
    zeros, ones, _ = history
    same, other = (ones if bit else zeros) + 1, _discounted(zeros if bit else ones)
    while not _allowed(same, other):
        most = _LARGER[min(same, other, len(_LARGER) - 1)]
        if same >= other:
            same = min(same - 1, most)
        else:
            other = min(other - 1, most)
    zeros, ones = (other, same) if bit else (same, other)
    return zeros, ones, bit if zeros and ones else int(ones > 0)


HISTORIES = _histories()
"""At most 256. 0 has seen nothing."""

NEXT_LIST = [[HISTORIES.index(_after(h, bit)) for h in HISTORIES] for bit in (0, 1)]
NEXT = np.array(NEXT_LIST, np.uint8)
"""By bit and history: the history after the bit."""

SQUASH = _squash()
STRETCH = _stretch(SQUASH)
STRETCH_ARRAY = np.array(STRETCH, np.int64)

RATES = [2 * ONE // (2 * n + 3) for n in range(1024)]
RATES_ARRAY = np.array(RATES, np.int64)


def squash(x: int) -> int:
    """The probability of a stretched one, within MOST_STRETCH."""
    return SQUASH[x + REACH]


_TOP = (1 << 22) - 1


def adapted(entry: Words, bit: int, rates: list[int] | I64, most: int = 1023) -> Words:
    """An adaptive probability, 22 bits of it above a count of 10 which sets the rate, after a bit.

    rates: RATES, or RATES_ARRAY for an array of entries. most: at which the count stays. Products are below
    2^39.
    """
    seen, p = entry & 1023, entry >> 10
    p = p + ((bit * _TOP - p) * rates[seen] >> 16)
    return p << 10 | seen + (seen < most)
