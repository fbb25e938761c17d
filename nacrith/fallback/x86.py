"""x86 translation: relative addresses of machine code to absolute ones, and back.

Whatever calls one function, or reads one variable, then holds the same four bytes, which a codec predicts.
Unlike the filter of the xz format, which the standard library applies for LZMA, it also translates what
64-bit code addresses relative to its own position, which saves more than the calls do. formats/archive-v1.md,
section 6, defines it; its rule for values is that of E8 translation in Microsoft's CAB, but it wraps at a
constant instead of the size, so that a part of a program is translated as the whole is.

Why it is reversible: no operand covers a byte that decides where operands are (E8 and E9 may not be the
second byte of the form of three), and a value is in range after translation just if it was before.
"""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from numpy import bool_, int64, uint8
    from numpy.typing import NDArray

RANGE = 1 << 24
"""Values -RANGE..RANGE - 1 are translated; they are the ones whose highest byte is 00 or FF."""

_OPERAND = 4  # bytes
_LONGEST = 3  # bytes of an opcode, with the byte that says how it addresses memory
_WINDOW = 1 << 16  # bytes searched at a time, which bounds memory


def to_absolute(data: bytes) -> bytes:
    return _translated(data, 1)


def to_relative(data: bytes) -> bytes:
    """The inverse of `to_absolute`, for any bytes."""
    return _translated(data, -1)


def sees_code(data: bytes) -> bool:
    """Test cheaply for 64 operands or more, an eighth of which become equal to others by the translation.

    In programs it is a third to a half; in other data, where chance makes operands, none.
    """
    import numpy as np

    _, ends, relative = _operands(np.frombuffer(data, np.uint8))
    if len(ends) < 64:
        return False
    distinct = len(np.unique(relative))
    return distinct - len(np.unique(_wrapped(relative + ends))) >= len(ends) // 8


def _translated(data: bytes, sign: int) -> bytes:
    import numpy as np

    content = np.frombuffer(data, np.uint8).copy()
    places, ends, values = _operands(content)
    content[places] = _wrapped(values + sign * ends).astype("<i4")[:, None].view(np.uint8)
    return content.tobytes()


def _wrapped(values: NDArray[int64]) -> NDArray[int64]:
    return (values + RANGE) % (2 * RANGE) - RANGE


def _operands(content: NDArray[uint8]) -> tuple[NDArray[int64], NDArray[int64], NDArray[int64]]:
    """Of the n operands in range: places of their bytes, (n, 4); where they end, (n,); their values, (n,)."""
    import numpy as np

    ends = np.array(_ends(content), np.int64)
    places = ends[:, None] + np.arange(-_OPERAND, 0)
    values = content[places].view("<i4")[:, 0].astype(np.int64)
    kept = (values >= -RANGE) & (values < RANGE)
    return places[kept], ends[kept], values[kept]


def _ends(content: NDArray[uint8]) -> array[int]:
    """Where each operand ends. What looks like an opcode inside the operand before it is none."""
    import numpy as np

    found = array("q")
    free = 0
    for begin in range(0, len(content), _WINDOW):
        one, two, three = _opcodes(content[begin : begin + _WINDOW + _LONGEST - 1])
        (at,) = np.nonzero((one | two | three)[:_WINDOW])
        behind = at + _OPERAND + 1 + two[at] + 2 * three[at]
        for start, end in zip((at + begin).tolist(), (behind + begin).tolist(), strict=True):
            if start >= free and end <= len(content):
                found.append(end)
                free = end
    return found


def _opcodes(part: NDArray[uint8]) -> tuple[NDArray[bool_], NDArray[bool_], NDArray[bool_]]:
    """Whether an opcode of one byte begins at each place, of two, of three; at most one of them does."""
    import numpy as np

    first = np.concatenate([part, np.zeros(2, np.uint8)])
    second, third = first[1:-1], first[2:]
    first = first[:-2]
    near = (first & 0xFE) == 0xE8  # call, jmp
    through = (first == 0xFF) & ((second == 0x15) | (second == 0x25))  # call [rip + x], jmp [rip + x]
    wide = (
        ((first & 0xFB) == 0x48) & ((second & 0xFE) != 0xE8) & ((third & 0xC7) == 0x05)
    )  # REX.W op [rip + x]
    return near, through, wide
