"""Tokens to text while they come: no piece is ever taken back.

A token may end inside a character, and an escape token says nothing before its two digits have come; both are
held back. With stop texts, so is what may be the beginning of one.
"""

from __future__ import annotations

import codecs
from collections.abc import Sequence

from nacrith.models.protocol import Tokenizer

_ESCAPED = 3  # tokens of an escaped byte


class Phrases:
    """Texts that are looked for in a text that grows. Empty ones are ignored."""

    def __init__(self, phrases: Sequence[str]) -> None:
        self._all = [phrase for phrase in phrases if phrase]
        self._beginnings = {phrase[:n] for phrase in self._all for n in range(1, len(phrase))}
        self._longest = max(map(len, self._all), default=1) - 1

    def find(self, text: str) -> int | None:
        """Where the first phrase in `text` begins; None if there is none."""
        return min((place for place in map(text.find, self._all) if place >= 0), default=None)

    def begins(self, text: str) -> int:
        """Where the longest end of `text` begins that is the beginning of a phrase; its length if none
        is."""
        for place in range(max(0, len(text) - self._longest), len(text)):
            if text[place:] in self._beginnings:
                return place
        return len(text)


class TextStream:
    """Text of an answer. stop: texts that end it, and are no part of it. The concatenated pieces are `text`;
    held: what came, and may be the beginning of a stop text."""

    def __init__(self, tokenizer: Tokenizer, stop: Sequence[str] = ()) -> None:
        self.text = ""
        self.stopped = False
        self.tokenizer = tokenizer
        self.stops = Phrases(stop)
        self._tokens: list[int] = []  # that are not decoded yet
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self.held = ""

    def push(self, token: int) -> str:
        """Add a token; returns the piece of text that is certain now. `stopped` says whether it is the
        last."""
        waiting = self._tokens
        waiting.append(token)
        # A token that means nothing alone may be an escape, which concerns the next two; another such token
        # among these ends its hope.
        if len(waiting) > 1 and not self.tokenizer.decode(waiting[-1:]):
            ready, self._tokens = waiting[:-1], waiting[-1:]
        elif len(waiting) < _ESCAPED and not self.tokenizer.decode(waiting[:1]):
            return ""
        else:
            ready, self._tokens = waiting, []
        return self._add(self._decoder.decode(self.tokenizer.decode(ready)))

    def finish(self) -> str:
        """The last piece. Bytes that are no UTF-8 become U+FFFD."""
        if self.stopped:
            return ""
        rest = self.tokenizer.decode(self._tokens)
        self._tokens = []
        piece = self._add(self._decoder.decode(rest, True))
        if not self.stopped:
            piece += self.held
            self.text += self.held
            self.held = ""
        return piece

    def _add(self, piece: str) -> str:
        held = self.held + piece
        end = self.stops.find(held)
        self.stopped = end is not None
        kept = self.stops.begins(held) if end is None else end
        self.held = "" if self.stopped else held[kept:]
        self.text += held[:kept]
        return held[:kept]
