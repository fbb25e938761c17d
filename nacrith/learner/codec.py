"""Bytes to a payload and back, in native code where it is the engine, else by the reference: equal bytes.

A text is coded in pieces, so that progress is told and an interruption comes through.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from enum import IntEnum
from typing import NamedTuple, Protocol

import numpy as np

from nacrith.coder.cdf import TOTAL
from nacrith.coder.range_coder import Decoder, Encoder
from nacrith.native import choice, learner, release_with
from nacrith.native.library import Library

LEAST_BITS, MOST_BITS = 16, 28
MOST_STEP, MOST_ROW = 255, 65_535
MOST_SIZE = (1 << 26) - 64
"""Bytes of a text: native code keeps positions in 26 bits."""

Progress = Callable[[int], None]
"""Told of bytes of the text that are done."""


class Shape(IntEnum):
    TEXT = 0
    DATA = 1
    FAST = 2
    BITMAP = 3
    BYTES = 4
    WORDS = 5


class Layout(NamedTuple):
    """Where the samples of a text lie, for the shapes from BITMAP on."""

    step: int = 1
    """Bytes from a sample to the next of its channel, 1..255. 1 for a bitmap."""
    row: int = 0
    """Bytes of a row, up to 65,535; 0: there are no rows."""

    def fits(self, shape: Shape) -> bool:
        """Whether the shape takes it: samples of whole bytes, rows longer than two steps."""
        step, row = self
        if shape < Shape.BITMAP:
            return self == (1, 0)
        if shape == Shape.BITMAP:
            return step == 1 and 1 <= row <= MOST_ROW
        size = 2 if shape == Shape.WORDS else 1
        whole = step % size == 0 and row % size == 0
        return whole and 1 <= step <= MOST_STEP and (row == 0 or 2 * step < row <= MOST_ROW)


NO_LAYOUT = Layout()


class Coding(Protocol):
    """One text on its way in one direction, from its beginning on."""

    def encode(self, piece: bytes) -> int:
        """A length that the payload has at least."""

    def finish(self) -> bytes:
        """The payload of a text that has been encoded whole."""

    def decode(self, size: int) -> bytes:
        """The next bytes of the text."""


def encode(
    data: bytes,
    shape: Shape,
    bits: int,
    layout: Layout = NO_LAYOUT,
    *,
    progress: Progress | None = None,
    limit: int | None = None,
) -> bytes | None:
    """The payload; None if it is longer than `limit`, as soon as that is certain.

    bits: log2 of the bytes of histories. ValueError for arguments out of range.
    """
    coding, step = _coding(shape, bits, len(data), layout, None)
    for at, size in _pieces(len(data), step):
        least = coding.encode(data[at : at + size])
        if limit is not None and least > limit:
            return None
        if progress is not None:
            progress(size)
    payload = coding.finish()
    return None if limit is not None and len(payload) > limit else payload


def decode(
    payload: bytes,
    shape: Shape,
    bits: int,
    size: int,
    layout: Layout = NO_LAYOUT,
    *,
    progress: Progress | None = None,
) -> bytes:
    """The text of `size` bytes, coded with this shape, bits and layout. A damaged payload gives other bytes
    or CorruptError."""
    coding, step = _coding(shape, bits, size, layout, payload)
    parts = []
    for _, part in _pieces(size, step):
        parts.append(coding.decode(part))
        if progress is not None:
            progress(part)
    return b"".join(parts)


def _pieces(size: int, step: int) -> Iterator[tuple[int, int]]:
    return ((at, min(step, size - at)) for at in range(0, size, step))


def _coding(shape: Shape, bits: int, size: int, layout: Layout, payload: bytes | None) -> tuple[Coding, int]:
    """A coding of the chosen engine, and the bytes to give it at a time."""
    shape = Shape(shape)
    if not LEAST_BITS <= bits <= MOST_BITS:
        raise ValueError(f"2^{bits} bytes of histories; a learner has 2^{LEAST_BITS} to 2^{MOST_BITS}")
    if not 0 <= size <= MOST_SIZE:
        raise ValueError(f"a text of {size} bytes; a learner takes up to {MOST_SIZE}")
    if not layout.fits(shape):
        raise ValueError(f"{layout} is not one of samples of the shape {shape.name}")
    chosen = engine()
    if chosen is None:
        return ReferenceCoding(shape, bits, layout, payload), 1 << 8
    return NativeCoding(chosen, shape, bits, size, layout, payload), 1 << 16


def engine() -> tuple[Library, str | None] | None:
    """The native library and its kernels, or None for the reference. Tests replace this function."""
    return choice.library()


class NativeCoding:
    def __init__(
        self,
        engine: tuple[Library, str | None],
        shape: Shape,
        bits: int,
        size: int,
        layout: Layout,
        payload: bytes | None,
    ) -> None:
        self._library, kernels = engine
        if payload is None:
            self._handle = learner.encoder(self._library, shape, bits, size, layout, kernels)
        else:
            self._handle = learner.decoder(self._library, shape, bits, size, layout, kernels, payload)
        release_with(self, self._library, self._handle)

    def encode(self, piece: bytes) -> int:
        return learner.encode(self._library, self._handle, piece)

    def finish(self) -> bytes:
        return learner.finish(self._library, self._handle)

    def decode(self, size: int) -> bytes:
        return learner.decode(self._library, self._handle, size)


class ReferenceCoding:
    """A 1 of probability p / 2^16 has the interval [0, 2^8 p) of the range coder's 2^24, a 0 the rest."""

    def __init__(self, shape: Shape, bits: int, layout: Layout, payload: bytes | None) -> None:
        # here, not above: their tables are made at import, and native code has its own
        from nacrith.learner.grid import form
        from nacrith.learner.learner import Learner

        self._learner = Learner(form(shape, layout), bits)
        self._encoder = Encoder()
        self._decoder = Decoder(payload or b"")

    def encode(self, piece: bytes) -> int:
        for byte in piece:
            for left in range(7, -1, -1):
                ones = self._learner.predict() << 8
                bit = byte >> left & 1
                self._encoder.encode(*((0, ones) if bit else (ones, TOTAL - ones)))
                self._learner.learn(bit)
        return len(self.finish())

    def finish(self) -> bytes:
        return self._encoder.finish()

    def decode(self, size: int) -> bytes:
        found = bytearray()
        for _ in range(size):
            byte = 0
            for _ in range(8):
                ones = self._learner.predict() << 8
                symbol = self._decoder.decode(np.array([ones, TOTAL - ones], np.float32))
                byte = byte << 1 | 1 - symbol
                self._learner.learn(1 - symbol)
            found.append(byte)
        return bytes(found)
