"""Match models: what followed the longest earlier occurrence of the last bytes is expected to follow again.

A pointer that was wrong is kept for a while and moves on: tables and logs continue alike after a number that
differs. How far an expectation is trusted is learnt for each length and number of recent misses. Several
texts, the lanes, share a model; each has a pointer of its own, which may lead into any lane.
codecs/learner/match.hpp.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from nacrith.learner.tables import GOLDEN, MASK, ONE, RATES, adapted

MARGIN = 32
"""Zero bytes in front of a text."""

STEPS = 60
"""Of a length, `Pointer.step`."""

_MISSES, _LOOK = 8, 400
_PLACE_BITS = 18


Texts = Sequence[bytearray]
"""Of each lane: MARGIN zero bytes, and what has come of it."""


@dataclass(slots=True)
class Pointer:
    """What one lane follows by one model."""

    place: tuple[int, int] | None = None  # lane and position of the byte that is expected next
    length: int = 0  # bytes before it that agreed
    misses: int = 0  # recent ones
    expected: int = 0  # the byte under a leading 1; 0: none
    bit: int = 0  # the expected one, after `predict` said that there is one
    entry: int = -1  # of the model's trust, used for the present bit; -1: none

    def begin(self, texts: Texts) -> None:
        """Before a byte: which is expected, if any. A place whose byte has not come yet is given up."""
        self.expected = 0
        if self.place is None:
            return
        lane, position = self.place
        if position < len(texts[lane]):
            self.expected = texts[lane][position] | 256
        else:
            self.place, self.length = None, 0

    def step(self) -> int:
        """Of the length, 0..59."""
        n = self.length
        if n < 16:
            return n
        if n < 32:
            return 8 + n // 2
        if n < 64:
            return 16 + n // 4
        if n < 256:
            return 28 + n // 16
        return 43 + n // 256 if n < 4096 else 59

    def move(self, byte: int) -> None:
        """After a byte."""
        if self.place is None:
            return
        lane, position = self.place
        self.length = min(self.length + 1, 65535) if self.expected == byte | 256 else 0
        self.place = lane, position + 1
        if self.length > 16:
            self.misses = 0
        if self.misses > _MISSES:
            self.place = None


class Match:
    """What the pointers of all lanes share. least: bytes that must agree, at most MARGIN."""

    def __init__(self, least: int) -> None:
        self._least = least
        # by hash of the last bytes: the place after them
        self._places: list[tuple[int, int] | None] = [None] * (1 << _PLACE_BITS)
        self._trust = [ONE - ONE // (step // 2 + 2) << 16 for step in range(STEPS) for _ in range(_MISSES)]

    def predict(self, p: Pointer, partial: int, left: int) -> bool:
        """Before a bit: whether one is expected. partial: the bits of the byte so far under a leading 1;
        left: bits of the byte after the next one."""
        p.entry = -1
        if p.expected >> (left + 1) != partial:
            return False
        p.bit = p.expected >> left & 1
        p.entry = p.step() * _MISSES + min(p.misses, _MISSES - 1)
        return True

    def trust(self, p: Pointer) -> int:
        """The probability of the expected bit."""
        return self._trust[p.entry] >> 16

    def learn(self, p: Pointer, bit: int) -> None:
        if p.entry < 0:
            return
        right = p.bit == bit
        self._trust[p.entry] = adapted(self._trust[p.entry], int(right), RATES)
        if not right:
            p.length = 0
            p.misses += 1

    def end(self, p: Pointer, texts: Texts, lane: int) -> None:
        """After a byte of a lane, the last of its text."""
        text = texts[lane]
        p.move(text[-1])
        h = 0
        for i in range(1, self._least + 1):
            h = (h + text[-i] + 1) * 0x2F0B4C47 & MASK
        slot = ((h ^ h >> 13) * GOLDEN & MASK) >> (32 - _PLACE_BITS)
        place = self._places[slot]
        if place is not None and p.length < self._least:
            length = _agreement(texts[place[0]], place[1], text)
            if length >= self._least:
                p.place, p.length, p.misses = place, length, 0
        self._places[slot] = lane, len(text)


def _agreement(other: bytearray, place: int, text: bytearray) -> int:
    """How many bytes before `place` equal those at the end of the text; at most _LOOK, none of a margin."""
    at = len(text)
    most = min(_LOOK, place - MARGIN, at - MARGIN)
    length = 0
    while length < most and other[place - 1 - length] == text[at - 1 - length]:
        length += 1
    return length
