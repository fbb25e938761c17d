"""Blocks of samples: how a writer finds them, and what the learner codes in their place.

Samples are sound, pictures, and whatever else is a series of numbers of 8 or 16 bits that change slowly, or
a picture of 1 bit a pixel. The learner's shapes for them (formats/learner-v1.md, section 10) want to know the
distances between samples, and numbers of 16 bits as unsigned ones with the high byte first: `content` makes
them so, which `original` undoes. What is found here is a guess; a trial compares it with other shapes.
Whole numbers alone decide, so that every machine writes the same archive. formats/archive-v1.md, section 6,
defines the parameters.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

from nacrith.fallback.shared import middle

if TYPE_CHECKING:
    from numpy import complex128, int64, uint8
    from numpy.typing import NDArray

BITMAP, BYTES, WORDS = 0, 1, 4
"""Kinds of samples. To WORDS is added LITTLE if the low byte comes first, and SIGNED."""

LITTLE, SIGNED = 1, 2
KINDS = (BITMAP, BYTES, *range(WORDS, WORDS + 4))

_LEAST = 2048  # bytes of a block that is searched for samples
_PART = 1 << 16  # bytes that are searched, at most
_LONGEST = 16_384  # bytes of a row that is found
_UNIT = 256  # of a logarithm
_STEPS = {BYTES: (1, 2, 3, 4), WORDS: (2, 4, 6, 8)}


class Samples(NamedTuple):
    """What the samples of a block are."""

    kind: int
    step: int
    """Bytes from a sample to the next of its channel."""
    row: int
    """Bytes of a row; 0: none."""


def content(data: bytes, kind: int) -> bytes:
    """What the learner codes: of words, each pair of bytes as an unsigned number, the high byte first."""
    if kind < WORDS:
        return data
    if kind & LITTLE:
        data = _swapped(data)
    return _flipped(data) if kind & SIGNED else data


def original(data: bytes, kind: int) -> bytes:
    """The inverse of `content`."""
    if kind < WORDS:
        return data
    if kind & SIGNED:
        data = _flipped(data)
    return _swapped(data) if kind & LITTLE else data


def _swapped(data: bytes) -> bytes:
    """With the bytes of each whole pair exchanged."""
    made = bytearray(data)
    end = len(data) & ~1
    made[0:end:2], made[1:end:2] = data[1:end:2], data[0:end:2]
    return bytes(made)


def _flipped(data: bytes) -> bytes:
    """With the highest bit of each whole pair inverted: signed numbers become unsigned in their order."""
    made = bytearray(data)
    end = len(data) & ~1
    made[0:end:2] = data[0:end:2].translate(bytes(i ^ 0x80 for i in range(256)))
    return bytes(made)


def find(data: bytes) -> list[Samples]:
    """What samples the middle of a block may hold; none if it does not look like samples."""
    import numpy as np

    if len(data) < _LEAST:
        return []
    part = middle(data, min(len(data), _PART) & ~1)
    offset = (len(data) // 2 - len(part) // 2) % 2  # words begin where the block does
    part = part[offset : len(part) - offset]
    bitmap = _bitmap(np.frombuffer(part, np.uint8))
    if bitmap is not None:
        return [bitmap]
    counts = np.bincount(np.frombuffer(part, np.uint8), minlength=256)
    costs = sorted(
        (_cost(values, step // size, size), kind, step) for kind, step, size, values in _readings(part)
    )
    cost, kind, step = costs[0]
    if cost > 0.9 * _entropy(counts):
        return []
    return [Samples(kind, step, row) for row in sorted({0, _row(part, kind, step)})]


def _readings(part: bytes) -> Iterator[tuple[int, int, int, NDArray[int64]]]:
    """Ways to read bytes as samples: kind, step, bytes of a sample, and the samples."""
    for step in _STEPS[BYTES]:
        yield BYTES, step, 1, _values(part, BYTES)
    for order in (0, LITTLE):
        ranges = {sign: _values(part, WORDS + order + sign) for sign in (0, SIGNED)}
        for step in _STEPS[WORDS]:
            # the reading whose numbers seldom leap from one end of their range to the other
            sign = min(ranges, key=lambda sign: int(abs(_differences(ranges[sign], step // 2)).sum()))
            yield WORDS + order + sign, step, 2, ranges[sign]


def _values(part: bytes, kind: int) -> NDArray[int64]:
    import numpy as np

    made = content(part, kind)
    return np.frombuffer(made[: len(made) & ~1], ">u2" if kind >= WORDS else np.uint8).astype(np.int64)


def _differences(values: NDArray[int64], lag: int) -> NDArray[int64]:
    return values[lag:] - values[:-lag]


def _cost(values: NDArray[int64], lag: int, size: int) -> float:
    """About the bits a byte that the differences of samples take: exact sums, and one division."""
    import numpy as np

    counts = np.bincount(abs(_differences(values, lag)))
    number = len(values) - lag
    return (int(counts @ _logarithms()[1 : len(counts) + 1]) / _UNIT + 2 * number) / (number * size)


def _entropy(counts: NDArray[int64]) -> float:
    """Of a byte, in bits, after how often each comes; likewise."""
    total = int(counts.sum())
    return (total * int(_logarithms()[total]) - int(counts @ _logarithms()[counts])) / (_UNIT * total)


@cache
def _logarithms() -> NDArray[int64]:
    """256 log2(n) for n up to 2^16, rounded down, and 0 for 0: squared, n / 2^k tells one more bit of it."""
    import numpy as np

    n = np.arange((1 << 16) + 1).clip(1)
    found = np.searchsorted(1 << np.arange(17), n, "right") - 1
    share = n << (30 - found)  # n / 2^k, in units of 2^-30, 1 to 2
    for _ in range(8):
        share = share * share >> 30
        above = share >> 31
        share, found = share >> above, 2 * found + above
    return found


def _row(part: bytes, kind: int, step: int) -> int:
    """Bytes of a row, if the samples above help those in front of them to predict; else 0."""
    size = 2 if kind >= WORDS else 1
    values, near = _values(part, kind), step // size
    end = min(_LONGEST // size, len(values) // 4)
    lags = {
        *_alike(values - int(values.sum()) // len(values), near, end),
        *_alike(_differences(values, near), near, end),
    }

    def back(lag: int) -> NDArray[int64]:
        return values[end - lag : len(values) - lag]

    def cost(lag: int) -> int:
        return int(abs(back(0) - back(lag)).sum())

    best = min(sorted(lags), key=cost, default=0)
    if not best:
        return 0
    both = int(abs(2 * back(0) - back(near) - back(best)).sum())
    return best * size if both < 2 * cost(near) else 0


def _alike(values: NDArray[int64], near: int, end: int) -> list[int]:
    """The eight lags above two steps at which values are most alike."""
    import numpy as np

    alike = _autocorrelation(values[np.newaxis], end)
    return [2 * near + 1 + int(lag) for lag in np.argsort(-alike[2 * near + 1 :], kind="stable")[:8]]


def _autocorrelation(rows: NDArray[int64], end: int) -> NDArray[int64]:
    """For each lag below `end`, the sum of the products of values that far apart, over all rows.

    rows: at most 8, each of at most 2^16 values of at most 2^16. Exact with any good transform: the numbers
    transformed are at most 2^9 and 2^8, so all their products together are at most 2^36. The error is at most
    some hundred roundings of 2^-53 of that (Higham, Accuracy and Stability, chapter 24), so less than 2^-10.
    """
    import numpy as np

    size = 1 << (2 * rows.shape[1] - 1).bit_length()
    high, low = np.fft.rfft(rows >> 8, size), np.fft.rfft(rows & 255, size)

    def products(one: NDArray[complex128], other: NDArray[complex128]) -> NDArray[int64]:
        found = np.fft.irfft((one * other.conj()).real.sum(axis=0), size)[:end]
        return np.rint(found).astype(np.int64)

    return (products(high, high) << 16) + (products(high, 2 * low) << 8) + products(low, low)


def _bitmap(part: NDArray[uint8]) -> Samples | None:
    """Whether pixels are mostly like the one in front of them, and much like those of the row above."""
    import numpy as np

    bits = np.unpackbits(part)
    ones, size = int(np.count_nonzero(bits)), len(bits)
    changes = int(np.count_nonzero(bits[1:] != bits[:-1]))
    spread = ones * (size - ones)  # size^2 times the variance
    if 10 * changes * size > 12 * spread:
        return None
    planes = (bits.reshape(-1, 8).T.astype(np.int64) << 8) - (256 * ones // size)
    alike = _autocorrelation(planes, min(_LONGEST, len(part) // 4))[8:]
    row = 8 + int(alike.argmax())
    return Samples(BITMAP, 1, row) if 2 * int(alike[row - 8]) * size > spread << 16 else None
