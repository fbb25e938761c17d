"""Phrases that an answer must not have: it goes back to where one began, and goes on otherwise.

As Antislop (Paech 2025, arXiv 2510.15061) does: when the newest token completes a phrase, the answer is cut
before the phrase's first token, that token is excluded there, and another one is chosen. What an answer shows
is never taken back: tokens are held as long as a phrase may begin in them. An exclusion holds at its place as
long as what stands before it stays; no other place knows of it. Since every cut excludes a token for good
while its beginning stands, the search ends.
"""

from __future__ import annotations

import codecs
from collections.abc import Sequence

from nacrith.decoding.text import Phrases, TextStream
from nacrith.errors import DecodingError


class Banned:
    """The phrases, and what came of them in one answer.

    undone: how often the answer was cut. excluded: tokens that must not be chosen, by their place.
    """

    def __init__(self, phrases: Sequence[str], stream: TextStream) -> None:
        if not all(phrases):
            raise DecodingError("a banned phrase is empty: give at least one character")
        self.phrases = tuple(phrases)
        self.undone = 0
        self.excluded: dict[int, set[int]] = {}
        self._folded = Phrases([_fold(phrase) for phrase in phrases])
        self._tokenizer = stream.tokenizer
        self._stream = stream

    def begun(self, tokens: Sequence[int], shown: int) -> int | None:
        """The place of the token in which a phrase begins that `tokens`, the answer, now has; None without.

        shown: how many tokens were shown. A phrase behind a stop text is none of the answer.
        """
        if not self.phrases:
            return None
        held = tokens[shown:]
        text = _text(self._tokenizer.decode(held))
        stop = self._stop(text)
        start = self._folded.find(_fold(text if stop is None else text[: max(stop, 0)]))
        if start is None:
            return None
        before = _size(text[:start])
        return shown + next(k for k in range(len(held)) if self._end(held, k) > before)

    def certain(self, tokens: Sequence[int], shown: int) -> int:
        """How many tokens will stay: those before any in which a phrase may have begun.

        If the answer is cut there, another phrase may begin at the new end; so may one before that.
        """
        if not self.phrases:
            return len(tokens)
        held = tokens[shown:]
        if self._stop(_text(self._tokenizer.decode(held))) is not None:
            return len(tokens)
        count, before = len(held), -1
        while count != before:
            before = count
            text = _text(self._tokenizer.decode(held[:count]))
            sure = _size(text[: self._folded.begins(_fold(text))])
            while count and (self._end(held, count - 1) > sure or self._inside_escape(held, count)):
                count -= 1
        return shown + count

    def undo(self, tokens: list[int], place: int) -> None:
        """Cut the answer, and exclude the token at `place` there."""
        for later in [at for at in self.excluded if at > place]:
            del self.excluded[later]
        self.excluded.setdefault(place, set()).add(tokens[place])
        del tokens[place:]
        self.undone += 1

    def _stop(self, text: str) -> int | None:
        """Where in `text` the first stop text begins; below 0 if it began in what was shown."""
        found = self._stream.stops.find(self._stream.held + text)
        return None if found is None else found - len(self._stream.held)

    def _end(self, held: Sequence[int], place: int) -> int:
        return len(self._tokenizer.decode(held[: place + 1]))

    def _inside_escape(self, held: Sequence[int], count: int) -> bool:
        """Whether an escape token, which concerns the next two, is among the latest two of `count`."""
        return not all(self._tokenizer.decode([token]) for token in held[max(count - 2, 0) : count])


def _text(data: bytes) -> str:
    """The text up to a character that is not whole yet, with a lone surrogate for each byte that is no
    UTF-8."""
    return codecs.getincrementaldecoder("utf-8")("surrogateescape").decode(data)


def _size(text: str) -> int:
    """The bytes of what `_text` gave."""
    return len(text.encode("utf-8", "surrogateescape"))


def _fold(text: str) -> str:
    """In lower case, character by character, so that places stay what they are."""
    return "".join(c.lower() if len(c.lower()) == 1 else c for c in text)
