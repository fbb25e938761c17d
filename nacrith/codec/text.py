"""A block's text and its lanes.

*Line ends*: if every line feed of a block follows a carriage return, and there are no other carriage returns,
the block is coded with line feeds only and a flag. Language models have seen little CR LF; for such text this
saves one token in ten.

*Lanes*: a text is cut into lanes, which a decoder advances side by side. What is learnt of one lane serves
all, but the model begins anew in each, which costs about 1 % of a lane of 16 KB. The cut is the encoder's
choice: a payload says only how many tokens each lane has. Nearly equal numbers are best, since a step decodes
one token of each lane that has one: a page that begins with a dense table would otherwise end with few lanes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import accumulate

import numpy as np

from nacrith import cuts

MAX_LANES = 64
"""Most lanes of a group, in any archive."""

LANE_SIZE = 1 << 14
"""Bytes to aim for in each lane of a text, unless that makes more lanes than are wanted."""


_SAMPLES = 8
"""Parts of a lane in which tokens are counted, to find where lanes of equal numbers end."""


def strip_crlf(data: bytes) -> tuple[bytes, bool]:
    """The block with LF line ends and True, or the block unchanged and False."""
    pairs = data.count(b"\r\n")
    if pairs and pairs == data.count(b"\r") == data.count(b"\n"):
        return data.replace(b"\r\n", b"\n"), True
    return data, False


def restore_crlf(data: bytes, stripped: bool) -> bytes:
    return data.replace(b"\n", b"\r\n") if stripped else data


def lanes_of(
    text: bytes, encode: Callable[[bytes], Sequence[int]], most: int, size: int = LANE_SIZE
) -> list[bytes]:
    """The lanes of a text: at most `most`, of about `size` bytes or longer on the average, with nearly equal
    numbers of the tokens that `encode` makes; none of them is empty."""
    count = max(1, min((len(text) + size // 2) // size, most))
    if count == 1:
        return cuts.cut(text, 1)
    samples = cuts.cut(text, _SAMPLES * count)
    ends = [0, *accumulate(len(part) for part in samples)]
    tokens = [0, *accumulate(len(encode(part)) for part in samples)]
    shares = np.arange(1, count) * tokens[-1] / count
    return cuts.cut_at(text, np.interp(shares, tokens, ends).astype(int).tolist())
