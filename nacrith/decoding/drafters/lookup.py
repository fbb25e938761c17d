"""Prompt lookup: the text goes on as it did after the longest match of its end, in the prompt or in the
answer.

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
_LONGEST = 64  # tokens by which matches are compared
_EDGES = (0, 1, 2, 3, 4, 6, 9, 14, 22, 35)  # of match lengths; a kind is the number of edges below a length


class Lookup:
    """A `Drafter` of what stands in the text already. Each text is independent of the others."""

    wants_rows = False
    price = 0.0
    priors = (0.3, 0.2, 0.3, 0.45, 0.55, 0.65, 0.75, 0.8, 0.85, 0.9, 0.93)

    def follow(self) -> _Follower:
        return _Follower()

    def observe(self, rows: Sequence[Row]) -> None:
        """Learns nothing from rows."""


class _Follower:
    """A state is a list of (place, length): the text may go on with the token at `place`, before which
    `length` tokens are those at the end of the text."""

    def __init__(self) -> None:
        self._tokens: list[int] = []
        self._places: dict[tuple[int, ...], list[int]] = {}
        self._copied = 0  # where the text would go on if it went on as the place that it last matched

    def extend(self, tokens: Sequence[int]) -> None:
        for token in tokens:
            self._append(token)
        self._copied += len(tokens)

    def start(self) -> list[tuple[int, int]] | None:
        place, length = self._longest()
        found = [(place, length)] if length else []
        if length >= _ORDERS[0]:
            self._copied = place
        elif self._copied and self._copied < len(self._tokens) and self._copied != place:
            found.append((self._copied, 0))
        return found or None

    def guesses(self, state: list[tuple[int, int]]) -> list[Guess]:
        text = self._tokens
        return [
            Guess(text[place], bisect_left(_EDGES, length), [(place + 1, min(length + 1, _LONGEST))])
            for place, length in state
            if place < len(text)
        ]

    def _append(self, token: int) -> None:
        text = self._tokens
        text.append(token)
        for order in _ORDERS:  # the end of the text is entered when something follows it
            if len(text) > order:
                places = self._places.setdefault(tuple(text[-1 - order : -1]), [])
                places.append(len(text) - 1)
                del places[:-_PLACES]

    def _longest(self) -> tuple[int, int]:
        """The place behind the longest match of the end, of equal ones the latest, and its length; 0 for
        none."""
        for order in _ORDERS:
            places = self._places.get(tuple(self._tokens[-order:]), ())
            if places:
                return max(((place, self._match(place)) for place in places), key=lambda f: (f[1], f[0]))
        return 0, 0

    def _match(self, place: int) -> int:
        """How many tokens before `place` are those at the end of the text, up to _LONGEST."""
        text, length = self._tokens, 0
        most = min(place, _LONGEST)
        while length < most and text[place - 1 - length] == text[-1 - length]:
            length += 1
        return length
