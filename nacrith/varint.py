"""Variable-length integers: unsigned LEB128, the one form in which archives and coded blocks state a number.

A byte holds 7 bits, the lowest first; its high bit is set unless it is the last.
"""

from __future__ import annotations

from collections.abc import Iterable


def put_varint(value: int) -> bytes:
    """`value`, at least 0, in its shortest form."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def read_varint(data: Iterable[int], most: int) -> tuple[int, int]:
    """The value of the varint that `data` begins with, and its length in bytes.

    Takes no byte beyond the varint. Raises ValueError if the varint does not end within `most` bytes or
    within `data`. A form that is longer than necessary is accepted.
    """
    value = 0
    for length, byte in enumerate(data, 1):
        value |= (byte & 0x7F) << 7 * (length - 1)
        if byte < 0x80:
            return value, length
        if length == most:
            break
    raise ValueError(f"a varint does not end within {most} bytes")
