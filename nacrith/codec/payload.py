"""The head of a block's payload: how many tokens each lane has, and whether line ends were CR LF.

A payload is a varint, 4 * n + 2 * (1 if n is the number of tokens of the only lane) + (1 if line ends were CR
LF); if n is the number of lanes, a varint for each, its number of tokens; and the range coder's bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from nacrith.codec.text import MAX_LANES
from nacrith.errors import CorruptError
from nacrith.varint import put_varint, read_varint

_MAX_TOKENS_PER_BYTE = 3  # of an escaped byte
_VARINT = 5  # bytes


class Payload(NamedTuple):
    """lengths: tokens of each lane. coded: the range coder's bytes."""

    lengths: list[int]
    crlf: bool
    coded: bytes


def head(lengths: Sequence[int], crlf: bool) -> bytes:
    """What stands before the coded bytes."""
    if len(lengths) == 1:
        return put_varint(4 * lengths[0] + 2 + crlf)
    return put_varint(4 * len(lengths) + crlf) + b"".join(map(put_varint, lengths))


def parse(payload: bytes, size: int) -> Payload:
    """size: bytes of the block. CorruptError for a head that no block of this size has."""
    data = iter(payload)
    try:
        number, at = read_varint(data, _VARINT)
        lanes = 1 if number & 2 else number >> 2
        if lanes > MAX_LANES:
            raise CorruptError(f"a block claims {lanes} lanes, {MAX_LANES} is the most: damaged")
        counts = [(number >> 2, 0)] if number & 2 else [read_varint(data, _VARINT) for _ in range(lanes)]
    except ValueError:
        raise CorruptError("the token counts of a block are damaged") from None
    lengths = [length for length, _ in counts]
    at += sum(used for _, used in counts)
    if sum(lengths) > _MAX_TOKENS_PER_BYTE * size:
        raise CorruptError(f"a block of {size} bytes claims {sum(lengths)} tokens: damaged")
    return Payload(lengths, bool(number & 1), payload[at:])
