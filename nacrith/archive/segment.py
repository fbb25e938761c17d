"""Splits content into text and binary segments, and text into blocks.

Text is content that a language model can compress: UTF-8 in any language. A byte is *bad* if it is a control
character that text does not use, or not part of valid UTF-8. A window is text while bad bytes are rare in it,
so one damaged character does not turn a text into a binary. A short run of either type joins its neighbours.
Only the encoder uses this module: decoding does not depend on it.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from nacrith import cuts

WINDOW = 256  # bytes that are classified together
MAX_BAD = WINDOW // 16  # bad bytes in a window of text
MIN_RUN = 1024  # bytes; shorter runs join their neighbours

Segment = tuple[int, int, bool]
"""(start, end, is text)."""

_GOOD_ASCII = np.zeros(256, bool)
_GOOD_ASCII[0x20:0x7F] = True
_GOOD_ASCII[[0x08, 0x09, 0x0A, 0x0C, 0x0D, 0x1B]] = True  # includes those of terminal transcripts

# The number of continuation bytes that each lead byte needs; 0 for all other bytes.
_NEED = np.zeros(256, np.uint8)
_NEED[0xC2:0xE0] = 1
_NEED[0xE0:0xF0] = 2
_NEED[0xF0:0xF5] = 3


def bad_bytes(data: bytes) -> npt.NDArray[np.bool_]:
    """Return a mask of shape (len(data),): True for control characters and bytes outside valid UTF-8."""
    a = np.frombuffer(data, np.uint8)
    good: npt.NDArray[np.bool_] = _GOOD_ASCII[a]
    if data.isascii():
        return ~good
    need = _NEED[a]
    following = np.zeros(len(a) + 3, np.uint8)  # the zeros at the end are not continuation bytes
    following[: len(a)] = a
    continues = (following & 0xC0) == 0x80
    second = following[1 : len(a) + 1]
    whole = (need > 0) & continues[1 : len(a) + 1]
    whole &= (need < 2) | continues[2 : len(a) + 2]
    whole &= (need < 3) | continues[3 : len(a) + 3]
    # Overlong forms, surrogates, and code points above U+10FFFF differ in the second byte.
    whole &= ~((a == 0xE0) & (second < 0xA0)) & ~((a == 0xED) & (second >= 0xA0))
    whole &= ~((a == 0xF0) & (second < 0x90)) & ~((a == 0xF4) & (second >= 0x90))
    good |= whole
    for k in (1, 2, 3):  # the continuation bytes of whole characters
        good[k:] |= (whole & (need >= k))[:-k]
    return ~good


def segment(data: bytes) -> list[Segment]:
    """Split `data` into alternating text and binary segments without gaps. Empty data has none."""
    if not data:
        return []
    bad = bad_bytes(data)
    if len(data) <= MIN_RUN:
        return [(0, len(data), int(bad.sum()) * 16 <= len(data))]
    starts = np.arange(0, len(data), WINDOW)
    is_text = np.add.reduceat(bad, starts, dtype=np.int64) <= MAX_BAD
    edges = np.flatnonzero(is_text[1:] != is_text[:-1]) + 1
    firsts = [0, *(edges * WINDOW).tolist()]
    ends = [*firsts[1:], len(data)]
    kinds = is_text[np.concatenate(([0], edges)).astype(np.int64)].tolist()
    runs = [_grown(bad, *run) for run in zip(firsts, ends, kinds, strict=True) if run[2]]
    texts = [(start, end) for start, end in runs if end - start >= MIN_RUN]
    return _with_gaps(texts, len(data))


def _grown(bad: npt.NDArray[np.bool_], start: int, end: int, _: bool) -> tuple[int, int]:
    """Extend a run of text windows to the nearest bad byte on either side, by less than a window."""
    before = bad[max(0, start - WINDOW) : start]
    clean = np.flatnonzero(before[::-1])
    start -= int(clean[0]) if len(clean) else 0
    after = np.flatnonzero(bad[end : end + WINDOW])
    end += int(after[0]) if len(after) else 0
    return start, end


def _with_gaps(texts: list[tuple[int, int]], size: int) -> list[Segment]:
    """Join text runs with only a short gap between them, and fill the other gaps with binary segments."""
    joined: list[tuple[int, int]] = []
    for start, end in texts:
        gap = start - (joined[-1][1] if joined else 0)
        if gap < MIN_RUN:
            start = joined.pop()[0] if joined else 0
        joined.append((start, end))
    if joined and size - joined[-1][1] < MIN_RUN:
        joined[-1] = (joined[-1][0], size)
    segments: list[Segment] = []
    at = 0
    for start, end in joined:
        if start > at:
            segments.append((at, start, False))
        segments.append((start, end, True))
        at = end
    if at < size:
        segments.append((at, size, False))
    return segments


def cut(text: bytes, target: int) -> list[bytes]:
    """Cut `text` into blocks of nearly equal length, about `target` bytes."""
    return cuts.cut(text, max(1, -(-len(text) // max(1, target))))
