"""LEB128 varints of the codec's own records: 7 bits per byte, low bits first; the high bit means "more"."""

from __future__ import annotations


def put_varint(n: int) -> bytes:
    """n >= 0 in its shortest form."""
    out = bytearray()
    while n >= 0x80:
        out.append(n & 0x7F | 0x80)
        n >>= 7
    out.append(n)
    return bytes(out)


def read_varint(data: bytes) -> tuple[int, int]:
    """Value and length of the varint at the start of `data`; ValueError if it is longer than 5 bytes or
    truncated."""
    value = 0
    for i, byte in enumerate(data[:5]):
        value |= (byte & 0x7F) << 7 * i
        if byte < 0x80:
            return value, i + 1
    raise ValueError("a varint without an end")
