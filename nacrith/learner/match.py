"""Match models: what followed the longest earlier occurrence of the last bytes is expected to follow again.

A pointer that was wrong is kept for a while and moves on: tables and logs continue alike after a number that
differs. How far an expectation is trusted is learnt for each length and number of recent misses.
codecs/learner/match.hpp.
"""

from __future__ import annotations

from nacrith.learner.tables import GOLDEN, MASK, ONE, RATES, adapted

MARGIN = 32
"""Zero bytes in front of a text."""

_STEPS, _MISSES, _LOOK = 60, 8, 400
_PLACE_BITS = 18


class Match:
    """least: bytes that must agree, at most MARGIN."""

    def __init__(self, least: int) -> None:
        self._least = least
        self._places = [0] * (1 << _PLACE_BITS)  # by hash of the last bytes: the position after them
        self._trust = [ONE - ONE // (step // 2 + 2) << 16 for step in range(_STEPS) for _ in range(_MISSES)]
        self._entry = -1  # of trust, used for the present bit; -1: none
        self._pointer = self._length = self._misses = 0
        self._expected = 0  # the byte under a leading 1; 0: none
        self.bit = 0
        """The expected one, after `predict` said that there is one."""

    def begin(self, text: bytearray) -> None:
        """Before the byte that follows the text: which is expected, if any."""
        self._expected = text[self._pointer] | 256 if self._pointer else 0

    def predict(self, partial: int, left: int) -> bool:
        """Before a bit: whether one is expected. partial: the bits of the byte so far under a leading 1;
        left: bits of the byte after the next one."""
        self._entry = -1
        if self._expected >> (left + 1) != partial:
            return False
        self.bit = self._expected >> left & 1
        self._entry = self.step() * _MISSES + min(self._misses, _MISSES - 1)
        return True

    def trust(self) -> int:
        """The probability of the expected bit."""
        return self._trust[self._entry] >> 16

    def step(self) -> int:
        """Of the length, 0..59."""
        n = self._length
        if n < 16:
            return n
        if n < 32:
            return 8 + n // 2
        if n < 64:
            return 16 + n // 4
        if n < 256:
            return 28 + n // 16
        return 43 + n // 256 if n < 4096 else 59

    def learn(self, bit: int) -> None:
        if self._entry < 0:
            return
        right = self.bit == bit
        self._trust[self._entry] = adapted(self._trust[self._entry], int(right), RATES)
        if not right:
            self._length = 0
            self._misses += 1

    def end(self, text: bytearray) -> None:
        """After a byte, the last of the text."""
        if self._pointer:
            right = self._expected & 255 == text[-1]
            self._length = min(self._length + 1, 65535) if right else 0
            self._pointer += 1
            if self._length > 16:
                self._misses = 0
            if self._misses > _MISSES:
                self._pointer = 0
        h = 0
        for i in range(1, self._least + 1):
            h = (h + text[-i] + 1) * 0x2F0B4C47 & MASK
        slot = ((h ^ h >> 13) * GOLDEN & MASK) >> (32 - _PLACE_BITS)
        place = self._places[slot]
        if place and self._length < self._least:
            length = _agreement(text, place)
            if length >= self._least:
                self._pointer, self._length, self._misses = place, length, 0
        self._places[slot] = len(text)


def _agreement(text: bytearray, place: int) -> int:
    """How many bytes before `place` equal those at the end of the text; at most _LOOK, none of the margin."""
    at = len(text)
    most = min(_LOOK, place - MARGIN)
    length = 0
    while length < most and text[place - 1 - length] == text[at - 1 - length]:
        length += 1
    return length
