"""The position of the learner in its text, and what the text before it says about the next byte.

A cursor depends only on the bytes before it, so encoder and decoder hold equal ones.
codecs/learner/cursor.hpp.
"""

from __future__ import annotations

import numpy as np

from nacrith.learner.match import MARGIN
from nacrith.learner.parts import Parts
from nacrith.learner.tables import MASK, mix


def _letter(c: int) -> bool:
    return 97 <= c | 32 <= 122


def _class(c: int) -> int:
    """Of a byte, in 4 bits, for contexts that see only the shape of a text."""
    if _letter(c):
        return 1 if c >= 97 else 2
    if 48 <= c <= 57:
        return 3
    if c >= 128:
        return 6
    groups = {b" ": 4, b"\n": 5, b",.;": 7, b"\"'": 8, b"<>": 9}
    return next((number for group, number in groups.items() if c in group), 10)


_CLASSES = [_class(c) for c in range(256)]
_WORDS = [_letter(c) or c >= 128 for c in range(256)]
_NEWLINE, _BLANK, _TAB, _APOSTROPHE = b"\n \t'"


class Records:
    """Finds the length of fixed-length records, and that of rows of them: distances at which bytes often
    recur twice running. Zeros between small numbers recur at every short distance, so a longer one counts
    for more."""

    _LONGEST, _PERIOD, _LEAST = 4096, 512, 24

    def __init__(self) -> None:
        self.width = 0  # 0: none found
        self.row = 0  # more than two records; 0: none found
        self._last, self._distance = [0] * 256, [0] * 256
        self._votes = np.zeros(self._LONGEST, np.int64)

    def push(self, c: int, at: int) -> None:
        """at: the position after the byte c."""
        distance = at - self._last[c]
        if distance == self._distance[c] and 1 < distance < self._LONGEST:
            self._votes[distance] += 1
        self._distance[c] = distance
        self._last[c] = at
        if at % self._PERIOD == 0:
            self.width = self._most(2, 16, self._LEAST)
            self.row = self._most(2 * self.width + 2, 64, self._LEAST // 2)
            self._votes //= 2

    def _most(self, start: int, limit: int, least: int) -> int:
        """The shortest of the distances from `start` on with the most votes, each times the distance or
        `limit`; 0 if none has `least` votes."""
        votes = self._votes * (self._votes >= least)
        weights = votes[start:] * np.minimum(np.arange(start, self._LONGEST), limit)
        best = int(weights.argmax()) if len(weights) else 0
        return start + best if len(weights) and weights[best] else 0


class Cursor:
    """All hashes are of 32 bits."""

    def __init__(self) -> None:
        self.text = bytearray(MARGIN)  # zeros, then what is known
        self.at = MARGIN  # its length
        self.last4 = self.older = 0  # the last four bytes and the four before, the newest lowest
        self.word = self.word1 = self.word2 = 0  # hashes of the present word and of the two before it
        self.word_start = MARGIN
        self.punctuation = 0  # the last byte after a word that is neither of a word nor blank
        self.digits = 0  # of the present number
        self.classes = 0  # of the last eight bytes
        self.line = self.line1 = MARGIN  # starts of this line and of the one before
        self.field = self.field_hash = 0  # of a line: number of the field, hash of its bytes so far
        self.indent = self.first = 0  # of a line: leading blanks, and the first byte after them
        self.column = self.above = 0  # of the line, and the byte of the line before in that column
        self.records = Records()
        self.back1 = self.back2 = self.row1 = 0  # bytes one and two records before, and one row
        self.lately = 0  # of the last three bytes, which were back1, row1 and foreseen, 3 bits each
        # What the last and the first of the match models that expect a byte do, under a leading 1; 0: none.
        self.foreseen = self.foreseen_short = 0
        self.parts = Parts()  # beside a model; others have none

    def push(self, c: int) -> None:
        self.older = self.older << 8 & MASK | self.last4 >> 24
        self.last4 = self.last4 << 8 & MASK | c
        self.text.append(c)
        self.at += 1
        self._push_word(c)
        self._push_line(c)
        self._push_record(c)

    def _push_record(self, c: int) -> None:
        right = int(c == self.back1) | int(c == self.row1) << 3 | int(c | 256 == self.foreseen) << 6
        self.lately = self.lately << 1 & 0o666 | right
        self.records.push(c, self.at)
        self.back1 = self._back(self.records.width)
        self.back2 = self._back(2 * self.records.width)
        self.row1 = self._back(self.records.row)

    def _back(self, distance: int) -> int:
        return self.text[-distance] if distance and self.at >= MARGIN + distance else 0

    def _push_word(self, c: int) -> None:
        if _WORDS[c] or (c == _APOSTROPHE and self.word):
            if not self.word:
                self.word_start = self.at
            self.word = mix(self.word, c + 32 if 65 <= c <= 90 else c)
            self.punctuation = 0
        else:
            if self.word:
                self.word, self.word1, self.word2 = 0, self.word, self.word1
                self.word_start = self.at
            if c != _BLANK:
                self.punctuation = c
        self.digits = self.digits + 1 if 48 <= c <= 57 else 0
        self.classes = self.classes << 4 & MASK | _CLASSES[c]

    def _push_line(self, c: int) -> None:
        if c == _NEWLINE:
            self.line, self.line1 = self.at, self.line
            self.field = self.field_hash = self.first = self.indent = 0
        else:
            if c in b",\t|;":
                self.field += 1
                self.field_hash = 0
            else:
                self.field_hash = mix(self.field_hash, c)
            if not self.first:
                if c in (_BLANK, _TAB):
                    self.indent += 1
                else:
                    self.first = c
        self.column = self.at - self.line
        above = self.line1 + self.column
        self.above = self.text[above] if above < self.line else 0


class Followers:
    """What followed bytes and pairs of bytes before: contexts that point at the past indirectly."""

    def __init__(self) -> None:
        self.after1 = [0] * 256  # the last three bytes that followed a byte
        self.after2 = [0] * (1 << 16)  # the last four that followed a pair

    def push(self, last4: int, c: int) -> None:
        """last4: the four bytes before c."""
        one, two = last4 & 0xFF, last4 & 0xFFFF
        self.after1[one] = (self.after1[one] << 8 | c) & 0xFFFFFF
        self.after2[two] = (self.after2[two] << 8 | c) & MASK
