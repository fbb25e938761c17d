"""Helpers that several fallback codecs need."""

from __future__ import annotations

from typing import Protocol

SAMPLE = 1 << 17  # bytes of a block by which codecs choose their variants


class Decompressor(Protocol):
    """The incremental decoder of the standard library's `bz2` and `lzma`."""

    @property
    def eof(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    def decompress(self, data: bytes, max_length: int = -1) -> bytes: ...


def drain(decoder: Decompressor, payload: bytes, size: int) -> bytes:
    """Decode one complete payload to at most `size` + 1 bytes: one byte too many proves the damage."""
    data = decoder.decompress(payload, size + 1)
    if not decoder.eof and len(data) <= size:
        data += decoder.decompress(b"", size + 1 - len(data))
    if not decoder.eof or decoder.unused_data:
        raise ValueError("the coded data does not end where the payload does")
    return data


def middle(data: bytes, size: int) -> bytes:
    """Return `size` bytes from the middle of `data`, which is at least as long."""
    start = len(data) // 2 - size // 2
    return data[start : start + size]


def bits(size: int, low: int, high: int) -> int:
    """Return the smallest k in low..high with 2^k >= size, or `high` if there is none."""
    return min(max((max(size, 1) - 1).bit_length(), low), high)
