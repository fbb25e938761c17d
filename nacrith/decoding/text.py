"""Tokens to text while they come: no piece is ever taken back.

A token may end inside a character, and an escape token says nothing before its two digits have come; both are
held back. With stop texts, so is what may be the beginning of one.
"""

from __future__ import annotations

import codecs
from collections.abc import Sequence

from nacrith.models.protocol import Tokenizer

_ESCAPED = 3  # tokens of an escaped byte


class TextStream:
    """Text of an answer. stop: texts that end it, and are no part of it. The concatenated pieces are
    `text`."""

    def __init__(self, tokenizer: Tokenizer, stop: Sequence[str] = ()) -> None:
        self.text = ""
        self.stopped = False
        self._tokenizer = tokenizer
        self._stop = [s for s in stop if s]
        self._tokens: list[int] = []  # that are not decoded yet
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._held = ""

    def push(self, token: int) -> str:
        """Add a token; returns the piece of text that is certain now. `stopped` says whether it is the
        last."""
        waiting = self._tokens
        waiting.append(token)
        # A token that means nothing alone may be an escape, which concerns the next two.
        if len(waiting) < _ESCAPED and not self._tokenizer.decode(waiting[:1]):
            return ""
        if len(waiting) >= _ESCAPED and not self._tokenizer.decode(waiting[-1:]):
            ready, self._tokens = waiting[:-1], waiting[-1:]
        else:
            ready, self._tokens = waiting, []
        return self._add(self._decoder.decode(self._tokenizer.decode(ready)))

    def finish(self) -> str:
        """The last piece. Bytes that are no UTF-8 become U+FFFD."""
        if self.stopped:
            return ""
        rest = self._tokenizer.decode(self._tokens)
        self._tokens = []
        piece = self._add(self._decoder.decode(rest, True))
        if not self.stopped:
            piece += self._held
            self.text += self._held
            self._held = ""
        return piece

    def _add(self, piece: str) -> str:
        held = self._held + piece
        ends = [place for place in map(held.find, self._stop) if place >= 0]
        if ends:
            self.stopped, kept = True, min(ends)
        else:
            kept = len(held) - self._doubtful(held)
        self._held = "" if self.stopped else held[kept:]
        self.text += held[:kept]
        return held[:kept]

    def _doubtful(self, text: str) -> int:
        """The length of the longest end of `text` with which a stop text begins."""
        longest = max(map(len, self._stop), default=1) - 1
        for length in range(min(longest, len(text)), 0, -1):
            if any(s.startswith(text[-length:]) for s in self._stop):
                return length
        return 0
