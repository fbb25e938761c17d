"""Kind 5, the learner: context mixing of our own, bit by bit, without a language model.

It predicts text and most binaries better than the other codecs, at some 220 KB a second and core both ways.
Each payload begins with a byte for the shape and the size of its tables. Machine code may be translated first
(`fallback.x86`), and samples of sound and pictures are put in order (`fallback.samples`). Specifications:
formats/archive-v1.md, section 6, and formats/learner-v1.md.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import TYPE_CHECKING

from nacrith import cuts
from nacrith.archive.blockcodec import Effort
from nacrith.fallback import samples, x86
from nacrith.fallback.codec import Codec, Cost, Variant
from nacrith.fallback.shared import SAMPLE, bits

if TYPE_CHECKING:
    from nacrith.learner import Layout, Shape

TEXT, DATA, FAST, X86, SAMPLES = SHAPES = range(5)
"""Numbers of `nacrith.learner.Shape`, which is not imported before it is used, as it needs numpy; X86, which
is the shape for data behind x86 translation; and SAMPLES, for the shapes that have a layout."""

FAST_BITS = 22
"""log2 of the bytes of the fast shape's tables, at most: they stay in the cache."""


class Learner(Codec):
    """Variant: (shape, log2 of the bytes of its tables), and for SAMPLES those of a `samples.Samples`."""

    kind = 5
    name = "learner"
    cost = Cost.SLOW
    margin = 1.05  # it goes on learning when a trial has ended

    def variants(self, data: bytes, *, text: bool, effort: Effort) -> Sequence[Variant]:
        """The shape for text, or for binaries that, the one for data and what samples there may be; with
        less effort the fast one.

        Whether the data hold machine code is decided from the whole block: the part that a trial encodes may
        be another section of the program.
        """
        if effort < Effort.FULL:
            return [(FAST, min(table_bits(len(data)), FAST_BITS))]
        tables = table_bits(len(data))
        if text:
            return [(TEXT, tables)]
        seen = [(SAMPLES, tables, *found) for found in samples.find(data)]
        return [(X86 if x86.sees_code(data) else DATA, tables), (TEXT, tables), *seen]

    def encode(self, data: bytes, variant: Variant) -> bytes:
        from nacrith.learner import Shape, encode

        shape, tables, *numbers = variant
        if shape == SAMPLES:
            return _encode_samples(data, tables, samples.Samples(*numbers))
        content = x86.to_absolute(data) if shape == X86 else data
        coded = encode(content, Shape(_of_learner(shape)), tables)
        assert coded is not None  # there is no limit
        return bytes([shape << 5 | tables]) + coded

    def decode(self, payload: bytes, size: int) -> bytes:
        """Any bytes behind the first decode to `size` bytes: they have no end of their own."""
        from nacrith.learner import LEAST_BITS, Shape, decode

        first = payload[0] if payload else 0
        shape, tables = first >> 5, first & 31
        if shape not in SHAPES or not LEAST_BITS <= tables <= table_bits(size):
            raise ValueError(f"parameters {first:#04x} of the learner are out of range for {size} bytes")
        if shape == SAMPLES:
            return _decode_samples(payload, tables, size)
        content = decode(payload[1:], Shape(_of_learner(shape)), tables, size)
        return x86.to_relative(content) if shape == X86 else content

    def sees_gain(self, data: bytes) -> bool:
        """Encode a sample with the fast shape, which finds bytes that are not equally frequent."""
        part = cuts.sample(data, SAMPLE)
        return len(self.encode(part, (FAST, table_bits(len(part))))) <= 0.995 * len(part)


_PARAMETERS = struct.Struct("<BBH")
"""Behind the first byte for samples: kind, step and row."""


def _encode_samples(data: bytes, tables: int, found: samples.Samples) -> bytes:
    from nacrith.learner import encode

    shape, layout = _layout(found)
    coded = encode(samples.content(data, found.kind), shape, tables, layout)
    assert coded is not None  # there is no limit
    return bytes([SAMPLES << 5 | tables]) + _PARAMETERS.pack(*found) + coded


def _decode_samples(payload: bytes, tables: int, size: int) -> bytes:
    from nacrith.learner import decode

    start = 1 + _PARAMETERS.size
    if len(payload) < start:
        raise ValueError("the parameters of samples are cut short")
    found = samples.Samples(*_PARAMETERS.unpack(payload[1:start]))
    shape, layout = _layout(found)
    if found.kind not in samples.KINDS or not layout.fits(shape):
        raise ValueError(f"samples of {found} do not exist")
    return samples.original(decode(payload[start:], shape, tables, size, layout), found.kind)


def _layout(found: samples.Samples) -> tuple[Shape, Layout]:
    """The learner's shape for samples, and where it finds them."""
    from nacrith.learner import Layout, Shape

    shapes = {samples.BITMAP: Shape.BITMAP, samples.BYTES: Shape.BYTES}
    return shapes.get(found.kind, Shape.WORDS), Layout(found.step, found.row)


def _of_learner(shape: int) -> int:
    return DATA if shape == X86 else shape


def table_bits(size: int) -> int:
    """log2 of the bytes of tables: 128 for each byte of the content, within 64 KiB..128 MiB.

    A writer takes so many, and a payload cannot ask for more: a block that is short costs little memory.
    """
    return bits(128 * size, 16, 27)
