"""Cuts of a text into pieces of nearly equal length, where little is lost, and samples of content.

Blocks of an archive are cut so, and the lanes of a block. A cut is made after a newline, else before a space
or a tab, which most tokenizers join to the word that follows, else between two characters.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise


def cut(text: bytes, count: int) -> list[bytes]:
    """`text` in at most `count` pieces, none of them empty."""
    return cut_at(text, [i * len(text) // count for i in range(1, count)])


def cut_at(text: bytes, ideals: Sequence[int]) -> list[bytes]:
    """`text` cut near the places `ideals`, which ascend from 0 to its length; no piece is empty."""
    least = min(b - a for a, b in pairwise([0, *ideals, len(text)]))
    reach = max(1, least // 8)  # keeps cuts in order and pieces nearly as long as they should be
    places = [0, *sorted(_near(text, ideal, reach) for ideal in ideals), len(text)]
    return [text[a:b] for a, b in pairwise(places) if b > a]


def sample(data: bytes, size: int) -> bytes:
    """Four evenly spaced parts of `data` with `size` bytes in all; `data` itself if it has no more."""
    if len(data) <= size:
        return data
    part = size // 4
    step = (len(data) - part) // 3
    return b"".join(data[i * step : i * step + part] for i in range(4))


def _near(text: bytes, ideal: int, reach: int) -> int:
    low, high = ideal - reach, ideal + reach
    for mark, behind in ((b"\n", 1), (b" ", 0), (b"\t", 0)):
        found = [
            at + behind for at in (text.rfind(mark, low, ideal), text.find(mark, ideal, high)) if at >= 0
        ]
        if found:
            return min(found, key=lambda place: (abs(place - ideal), place))
    place = ideal
    while place > max(low, ideal - 3) and text[place] & 0xC0 == 0x80:
        place -= 1
    return place
