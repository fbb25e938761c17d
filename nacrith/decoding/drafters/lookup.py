"""Prompt lookup: the text goes on as it did after the longest match of its end, in the prompt, in the answer
or in an earlier text of the run.

In place of prompt lookup decoding's first match of a few tokens (Saxena 2023), this takes the longest match
among the latest places of the last tokens, as a suffix automaton would (SuffixDecoding, Oliaro et al. 2024;
SAM Decoding, Hu et al. 2024), with a table of places in place of the automaton. Copies with changes, which
editors and agents ask for, are followed through the changes: see `copied`.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from typing import NamedTuple

from nacrith.decoding.drafters.copied import Copied, Step
from nacrith.decoding.drafters.protocol import Guess, Row

_ORDERS = (3, 1)  # lengths of the ends that are looked up, longest first
_PLACES = 6  # latest places that are kept for an end
_PAST = 1 << 18  # tokens of all texts that are looked up; when there are more, the older ones are forgotten
_LONGEST = 64  # tokens by which matches are compared
_EDGES = (0, 1, 2, 3, 4, 6, 9, 14, 22, 35)  # of match lengths; a kind is the number of edges below a length
_KINDS = len(_EDGES) + 1  # in the same text; as many again in another one; then those of `copied`


class At(NamedTuple):
    """The text may go on with the token at a place of another one, or of its own.

    length: of the match before the place. copy: whether it is the place of the copy that is followed."""

    text: list[int]
    place: int
    length: int
    copy: bool


State = Sequence[At | Step]


class Lookup:
    """A `Drafter` of what stands in the text already, or in texts that were followed before it."""

    wants_rows = False
    price = 0.0
    priors = (
        *(0.3, 0.2, 0.3, 0.45, 0.55, 0.65, 0.75, 0.8, 0.85, 0.9, 0.93),
        *(0.2, 0.2, 0.2, 0.35, 0.45, 0.55, 0.65, 0.7, 0.8, 0.85, 0.9),
        *Copied.priors,
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
        self._copied = Copied(self._tokens)
        self._best = self._tokens, 0, 0  # of `_longest`

    def extend(self, tokens: Sequence[int]) -> None:
        for token in tokens:
            self._append(token)
            self._copied.follow(token)
            self._best = text, place, length = self._longer(token) or self._longest()
            if length >= _ORDERS[0]:
                self._copied.found(text, place, length)

    def start(self) -> State | None:
        text, place, length = self._best
        step = None if self._copied.at is None else self._copied.step()
        same = step is not None and step.text is text and step.place == place and not step.ahead
        found: list[At | Step] = []
        if length:
            found.append(At(text, place, length, same))
        if step is not None and not (length and same):
            found.append(step)
        return found or None

    def guesses(self, state: State) -> list[Guess]:
        found: list[Guess] = []
        for at in state:
            if isinstance(at, Step):
                found += [Guess(t, 2 * _KINDS + kind, [after]) for t, kind, after in self._copied.next(at)]
            elif at.place < len(at.text):
                kind = bisect_left(_EDGES, at.length) + (0 if at.text is self._tokens else _KINDS)
                after = At(at.text, at.place + 1, min(at.length + 1, _LONGEST), at.copy)
                changed = self._copied.changed(at.text, at.place) if at.copy else None
                if changed:
                    found.append(Guess(changed[0], 2 * _KINDS + changed[1], [changed[2]]))
                    kind = 2 * _KINDS + Copied.KEPT
                found.append(Guess(at.text[at.place], kind, [after]))
        return found

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

    def _longer(self, token: int) -> tuple[list[int], int, int] | None:
        """The longest match, if it is the one before with this token behind it: a longer one would have been
        longer before, too."""
        text, place, length = self._best
        last = len(text) - 1 - (text is self._tokens)  # what comes after the latest token is not known
        if not _ORDERS[0] <= length < _LONGEST or place >= last or text[place] != token:
            return None
        return text, place + 1, length + 1

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
