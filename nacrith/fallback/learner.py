"""Kind 5, the learner: context mixing of our own, bit by bit, without a language model.

It predicts text better than PPMd and most binaries better than LZMA, at some 150 KB a second and core. Each payload
begins with a byte for the shape and the size of its tables. Specification: formats/learner-v1.md.
"""

from __future__ import annotations

from collections.abc import Sequence

from nacrith.fallback.codec import Codec, Cost, Variant
from nacrith.fallback.shared import bits, middle, sample
from nacrith.learner import LEAST_BITS, MOST_BITS, Shape, decode, encode

_PART = 1 << 15  # bytes from the middle of a block that choose its shape
_TABLES = 1 << 27  # bytes of tables, at most: they are zeroed for every block


class Learner(Codec):
    """Variant: (shape, log2 of the bytes of its tables)."""

    kind = 5
    name = "learner"
    cost = Cost.SLOW
    margin = 1.02

    def variants(self, data: bytes, *, text: bool, quick: bool) -> Sequence[Variant]:
        if quick:
            shape = Shape.FAST
        elif text:
            shape = Shape.TEXT
        else:
            part = middle(data, min(_PART, len(data)))
            shape = min((Shape.DATA, Shape.TEXT), key=lambda s: len(self.encode(part, _variant(s, part))))
        return (_variant(shape, data),)

    def encode(self, data: bytes, variant: Variant) -> bytes:
        shape, size = variant
        return bytes([shape << 5 | size]) + encode(data, Shape(shape), size)

    def decode(self, payload: bytes, size: int) -> bytes:
        first = payload[0] if payload else 0
        shape, tables = first >> 5, first & 31
        if shape not in tuple(Shape) or not LEAST_BITS <= tables <= MOST_BITS:
            raise ValueError(f"unknown parameters {first:#04x} of the learner")
        return decode(payload[1:], Shape(shape), tables, size)

    def sees_gain(self, data: bytes) -> bool:
        """Code a sample with the fast shape, which finds bytes that are not equally frequent."""
        part = sample(data)
        return len(self.encode(part, _variant(Shape.FAST, part))) <= 0.995 * len(part)


def _variant(shape: Shape, data: bytes) -> Variant:
    """256 bytes of tables for each byte of the block, within bounds."""
    return shape, bits(256 * len(data), LEAST_BITS, _TABLES.bit_length() - 1)
