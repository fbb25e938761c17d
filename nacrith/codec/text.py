"""A block's text and its lanes.

*Line ends*: if every line feed of a block follows a carriage return, and there are no other carriage returns,
the block is coded with line feeds only and a flag. Language models have seen little CR LF; for such text this
saves one token in ten.

*Lanes*: a text is cut into lanes, which a decoder advances side by side. What is learnt of one lane serves
all, but the model begins anew in each, which costs about 1 % of a lane of 16 KB. The cut is the encoder's
choice: a payload says only how many tokens each lane has.
"""

from __future__ import annotations

from nacrith import cuts

MAX_LANES = 64
"""Most lanes of a group, in any archive."""

_LANE = 1 << 14
"""Length to aim for in the lanes of a text, in bytes, unless that makes more lanes than are wanted."""


def strip_crlf(data: bytes) -> tuple[bytes, bool]:
    """The block with LF line ends and True, or the block unchanged and False."""
    pairs = data.count(b"\r\n")
    if pairs and pairs == data.count(b"\r") == data.count(b"\n"):
        return data.replace(b"\r\n", b"\n"), True
    return data, False


def restore_crlf(data: bytes, stripped: bool) -> bytes:
    return data.replace(b"\n", b"\r\n") if stripped else data


def lanes_of(text: bytes, most: int) -> list[bytes]:
    """The lanes of a text, none of them empty: no lane for no text, else at most `most`."""
    return cuts.cut(text, max(1, min((len(text) + _LANE // 2) // _LANE, most)))
