"""Kind 5, the learner: context mixing of our own, bit by bit, without a language model.

It predicts text and most binaries better than the other codecs, at some 150 KB a second and core both ways.
Each payload begins with a byte for the shape and the size of its tables. Specifications:
formats/archive-v1.md, section 6, and formats/learner-v1.md.
"""

from __future__ import annotations

from collections.abc import Sequence

from nacrith.archive.blockcodec import Effort
from nacrith.fallback.codec import Codec, Cost, Variant
from nacrith.fallback.shared import bits, sample

TEXT, DATA, FAST = SHAPES = range(3)
"""Numbers of `nacrith.learner.Shape`, which is not imported before it is used: it needs numpy."""


FAST_BITS = 22
"""log2 of the bytes of the fast shape's tables, at most: they stay in the cache."""


class Learner(Codec):
    """Variant: (shape, log2 of the bytes of its tables)."""

    kind = 5
    name = "learner"
    cost = Cost.SLOW
    margin = 1.05  # it goes on learning when a trial has ended

    def variants(self, data: bytes, *, text: bool, effort: Effort) -> Sequence[Variant]:
        """The shape for text, or for binaries both; with less effort the fast one."""
        if effort < Effort.FULL:
            return [(FAST, min(table_bits(len(data)), FAST_BITS))]
        return [(shape, table_bits(len(data))) for shape in ((TEXT,) if text else (DATA, TEXT))]

    def encode(self, data: bytes, variant: Variant) -> bytes:
        from nacrith.learner import Shape, encode

        shape, tables = variant
        coded = encode(data, Shape(shape), tables)
        assert coded is not None  # there is no limit
        return bytes([shape << 5 | tables]) + coded

    def decode(self, payload: bytes, size: int) -> bytes:
        """Any bytes behind the first decode to `size` bytes: they have no end of their own."""
        from nacrith.learner import LEAST_BITS, Shape, decode

        first = payload[0] if payload else 0
        shape, tables = first >> 5, first & 31
        if shape not in SHAPES or not LEAST_BITS <= tables <= table_bits(size):
            raise ValueError(f"parameters {first:#04x} of the learner are out of range for {size} bytes")
        return decode(payload[1:], Shape(shape), tables, size)

    def sees_gain(self, data: bytes) -> bool:
        """Encode a sample with the fast shape, which finds bytes that are not equally frequent."""
        part = sample(data)
        return len(self.encode(part, (FAST, table_bits(len(part))))) <= 0.995 * len(part)


def table_bits(size: int) -> int:
    """log2 of the bytes of tables: 256 for each byte of the content, within 64 KiB..128 MiB.

    A writer takes so many, and a payload cannot ask for more: a block that is short costs little memory.
    """
    return bits(256 * size, 16, 27)
