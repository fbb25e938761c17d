"""The parts of a line, which other bytes than those of words and numbers divide, and the part above in the
line before.

Tables and logs repeat part by part where their columns are not aligned.
codecs/learner/parts.hpp.
"""

from __future__ import annotations

from nacrith.learner.match import MARGIN
from nacrith.learner.tables import mix

_NEWLINE = 10
_INSIDE = [(chr(c).isascii() and chr(c).isalnum()) or c >= 128 or c in b".-_" for c in range(256)]
_MOST = 256  # parts of a line; the last one has all that follows


class Parts:
    """Depends only on the bytes of its lane, as the cursor does."""

    def __init__(self) -> None:
        self.number = 0  # of the present part, in its line
        self.bytes = self.left = 0  # hashes: of its bytes so far, of the part on its left
        self.above = self.next = 0  # the byte in its place of the part above, and the one after it; 0: none
        self._starts = [MARGIN]
        self._above: list[int] = []  # starts of the parts of the line before, and its end

    def push(self, text: bytearray) -> None:
        """text: of the lane with its margin, the new byte last."""
        at, c = len(text), text[-1]
        if c == _NEWLINE:
            self._above, self._starts = [*self._starts, at], [at]
            self.number = self.bytes = self.left = 0
        elif _INSIDE[c] or self.number + 1 == _MOST:
            self.bytes = mix(self.bytes, c)
        else:
            self._starts.append(at)
            self.number += 1
            self.bytes, self.left = c, self.bytes
        self.above = self.next = 0
        if self.number + 1 < len(self._above):
            place = self._above[self.number] + at - self._starts[-1]
            found = text[place : min(place + 2, self._above[self.number + 1])]
            self.above, self.next = (*found, 0, 0)[:2]
