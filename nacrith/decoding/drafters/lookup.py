"""Prompt lookup: the text goes on as it did after the longest match of its end, in the prompt, in the answer
or in an earlier text of the run.

In place of prompt lookup decoding's first match of a few tokens (Saxena 2023), this takes the longest match
among the latest places of the last tokens, as a suffix automaton would (SuffixDecoding, Oliaro et al. 2024;
SAM Decoding, Hu et al. 2024), with a table of places in place of the automaton. After an edit, where no match
is left, it goes on behind the place at which the old match broke: copies with changed words are what editors
and agents ask for.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

from nacrith.decoding.drafters.protocol import Guess, Row

_ORDERS = (3, 1)  # lengths of the ends that are looked up, longest first
_PLACES = 6  # latest places that are kept for an end
_PAST = 1 << 18  # tokens of all texts that are looked up; when there are more, the older ones are forgotten
_LONGEST = 64  # tokens by which matches are compared
_EDGES = (0, 1, 2, 3, 4, 6, 9, 14, 22, 35)  # of match lengths; a kind is the number of edges below a length
_KINDS = len(_EDGES) + 1  # in the same text; as many again in another one

State = list[tuple[list[int], int, int]]
"""(text, place, length): the text may go on with the token there, before which `length` tokens are those at
the end of the present text."""


class Lookup:
    """A `Drafter` of what stands in the text already, or in texts that were followed before it."""

    wants_rows = False
    price = 0.0
    priors = (
        *(0.3, 0.2, 0.3, 0.45, 0.55, 0.65, 0.75, 0.8, 0.85, 0.9, 0.93),
        *(0.2, 0.2, 0.2, 0.35, 0.45, 0.55, 0.65, 0.7, 0.8, 0.85, 0.9),
    )

    def __init__(self) -> None:
        self._places: dict[tuple[int, ...], list[tuple[list[int], int]]] = {}
        self._count = 0

    def follow(self) -> _Follower:
        return _Follower(self)

    def observe(self, rows: Sequence[Row]) -> None:
        """Learns nothing from rows."""

    def enter(self, end: tuple[int, ...], text: list[int], place: int) -> None:
        """Note that the token at `place` of a text, which is kept, follows this end."""
        self._count += 1
        if self._count > _PAST:
            self._places, self._count = {}, 1
        places = self._places.setdefault(end, [])
        places.append((text, place))
        del places[:-_PLACES]

    def places(self, end: tuple[int, ...], text: list[int]) -> list[tuple[list[int], int]]:
        """The latest places behind this end, of other texts than `text`."""
        return [found for found in self._places.get(end, ()) if found[0] is not text]


class _Follower:
    def __init__(self, drafter: Lookup) -> None:
        self._drafter = drafter
        self._tokens: list[int] = []
        self._places: dict[tuple[int, ...], list[int]] = {}
        self._text: list[int] = self._tokens  # the text that it last matched, and
        self._copied = 0  # the place there at which it would go on

    def extend(self, tokens: Sequence[int]) -> None:
        for token in tokens:
            self._append(token)
        self._copied += len(tokens)

    def start(self) -> State | None:
        text, place, length = self._longest()
        found = [(text, place, length)] if length else []
        if length >= _ORDERS[0]:
            self._text, self._copied = text, place
        elif (
            self._copied
            and self._copied < len(self._text)
            and (text is not self._text or place != self._copied)
        ):
            found.append((self._text, self._copied, 0))
        return found or None

    def guesses(self, state: State) -> list[Guess]:
        return [
            Guess(
                text[place],
                bisect_left(_EDGES, length) + (0 if text is self._tokens else _KINDS),
                [(text, place + 1, min(length + 1, _LONGEST))],
            )
            for text, place, length in state
            if place < len(text)
        ]

    def _append(self, token: int) -> None:
        text = self._tokens
        text.append(token)
        for order in _ORDERS:  # the end of the text is entered when something follows it
            if len(text) > order:
                end = tuple(text[-1 - order : -1])
                places = self._places.setdefault(end, [])
                places.append(len(text) - 1)
                del places[:-_PLACES]
                if order == _ORDERS[0]:
                    self._drafter.enter(end, text, len(text) - 1)

    def _longest(self) -> tuple[list[int], int, int]:
        """The text, the place behind the longest match of the end, and its length; 0 for none. Of equal ones
        those of this text come first, and the latest."""
        for order in _ORDERS:
            end = tuple(self._tokens[-order:])
            found = [(self._match(self._tokens, p), 1, p, self._tokens) for p in self._places.get(end, ())]
            if order == _ORDERS[0]:
                past = self._drafter.places(end, self._tokens)
                found += [(self._match(text, p), 0, p, text) for text, p in past]
            if found:
                length, _, place, text = max(found, key=lambda f: f[:3])
                return text, place, length
        return self._tokens, 0, 0

    def _match(self, other: list[int], place: int) -> int:
        """How many tokens before `place` of a text are those at the end of this one, up to _LONGEST."""
        text, length = self._tokens, 0
        most = min(place, len(text), _LONGEST)
        while length < most and other[place - 1 - length] == text[-1 - length]:
            length += 1
        return length
