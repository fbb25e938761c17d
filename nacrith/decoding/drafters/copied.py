"""A copy with changes, followed through them: where it would go on, and which changes come again.

`lookup` finds where a text matches another one; behind a change nothing matches for a few tokens, or what
matches is an earlier change. So the place of a copy is kept until it has missed a few times, and a span that
was replaced by another one is remembered by its first token: the same change is guessed where the copy comes
to that token again, as in renaming a name.
"""

from __future__ import annotations

from typing import NamedTuple

_TRUST = 16  # of a place, at most: one more for each token that came true; a miss takes a quarter of it
_LEAST = 2  # trust below which any match takes its place
_NEAR = 32  # tokens from the place, within which a match after a change is the same copy
_SPAN = 8  # tokens of a change
_SINCE = 4  # tokens since a change, from which on their number is of no interest


class Step(NamedTuple):
    """A state beyond the text. place: of the source. since: tokens since the latest change. ahead: tokens of
    a change that come before the one at `place`."""

    text: list[int]
    place: int
    since: int
    ahead: tuple[int, ...]


class Copied:
    """Follows `tokens`, a text that grows, through another text, or an earlier part of its own."""

    REPLACED, KEPT = _SINCE + 1, _SINCE + 2
    """Kinds of a token that a change puts in, and of one that it would take out; the others are the tokens
    since the latest change."""

    priors = (0.5, 0.6, 0.7, 0.75, 0.8, 0.7, 0.2)

    def __init__(self, tokens: list[int]) -> None:
        self._tokens = tokens
        self.at: tuple[list[int], int] | None = None  # the source, and the place of what comes next
        self._trust = 0
        self._since = 0
        self._ahead: tuple[int, ...] = ()  # what is left of a change that was begun
        self._break: tuple[int, int] | None = None  # places of the source and of the text where they parted
        self._changes: dict[
            int, tuple[tuple[int, ...], int]
        ] = {}  # by first token: what came, and for how many

    def follow(self, token: int) -> None:
        """The text went on with a token, which it has already."""
        if self.at is None:
            return
        text, place = self.at
        if place >= len(text) - (text is self._tokens):
            self.at = None
            return
        if self._ahead and self._ahead[0] == token:
            self._ahead = self._ahead[1:]
            return
        self._ahead = ()
        if text[place] == token:
            self._trust, self._since = min(_TRUST, self._trust + 1), self._since + 1
            self._changes.pop(token, None)
        elif (change := self.changed(text, place)) is not None and change[0] == token:
            _, _, (_, place, self._since, self._ahead) = change
            self.at = text, place
            return
        else:
            self._trust -= 1 + self._trust // 4
            if self._break is None:
                self._break = place, len(self._tokens) - 1
            self._since = 0
        self.at = (text, place + 1) if self._trust else None

    def found(self, text: list[int], place: int, length: int) -> None:
        """The end of the text matches `length` tokens before `place`, its longest match."""
        same = self.at is not None and self.at[0] is text and abs(self.at[1] - place) <= _NEAR
        if self.at is None or self._trust < _LEAST or (same and self._since < length):
            if not same:
                self._break = None
                self._trust = min(_TRUST, length)
            self.at, self._since, self._ahead = (text, place), length, ()
        if self._break is not None and self._since >= 3:
            self._note()

    def _note(self) -> None:
        """The copy goes on: remember what was changed before."""
        assert self.at is not None
        assert self._break is not None
        (text, place), (source, own) = self.at, self._break
        new = tuple(self._tokens[own : len(self._tokens) - self._since])
        count = place - self._since - source
        if 0 < count <= _SPAN and 0 < len(new) <= _SPAN:
            self._changes[text[source]] = new, count
        self._break = None

    def changed(self, text: list[int], place: int) -> tuple[int, int, Step] | None:
        """A token that a change would put at a place of the source, its kind, and the state behind it."""
        new, count = self._changes.get(text[place], ((), 0))
        return (new[0], self.REPLACED, Step(text, place + count, 0, new[1:])) if new else None

    def step(self) -> Step:
        """The state at the end of the text, where `at` is not None."""
        assert self.at is not None
        return Step(*self.at, self._since, self._ahead)

    def next(self, step: Step) -> list[tuple[int, int, Step]]:
        """Tokens that may follow a state, with their kinds, and the states behind them."""
        text, place, since, ahead = step
        if ahead:
            return [(ahead[0], self.REPLACED, Step(text, place, 0, ahead[1:]))]
        if place >= len(text):
            return []
        changed = self.changed(text, place)
        kind = min(since, _SINCE) if changed is None else self.KEPT
        kept = text[place], kind, Step(text, place + 1, since + 1, ())
        return [changed, kept] if changed else [kept]
