"""What proposes tokens: drafters, which are kept from text to text, and their followers, one for each text.

A follower answers one question, which tokens may come next, for the end of its text and for the drafts beyond
it; `planner.Planner` asks several of them, and decides how far to go. A guess carries a *kind* (a rank, a
length of match) in place of a probability: how often guesses of a kind come true is measured, so that
drafters need no calibration of their own and can be compared. Nothing that a drafter does changes the output.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

CANDIDATES = 8
"""The most tokens of a row that are shown to drafters: k of Token Recycling."""


class Guess(NamedTuple):
    """A token that may come next. kind: 0 .. len(drafter.priors) - 1. state: for `Follower.guesses`, to go
    on."""

    token: int
    kind: int
    state: Any


class Row(NamedTuple):
    """What a pass said of one place. before: the latest tokens up to the row's own, at most 2.
    ids: up to CANDIDATES heaviest tokens, heaviest first. shares: their shares of the sum of these."""

    before: tuple[int, ...]
    ids: Sequence[int]
    shares: Sequence[float]


class Follower(Protocol):
    """What a drafter knows of one text."""

    def extend(self, tokens: Sequence[int]) -> None:
        """The text goes on with these tokens."""
        ...

    def start(self) -> Any:
        """The state at the end of the text; None if there is nothing to propose."""
        ...

    def guesses(self, state: Any) -> Sequence[Guess]:
        """Tokens that may follow a state, of `start` or of a guess."""
        ...


class Drafter(Protocol):
    """A way to guess tokens. Those that learn across texts have `state` and `restore` too: see `saved`."""

    @property
    def priors(self) -> Sequence[float]:
        """For each kind, how often a guess comes true, before there are measurements."""
        ...

    @property
    def wants_rows(self) -> bool:
        """Whether `observe` is of use."""
        ...

    @property
    def price(self) -> float:
        """Seconds that a follower takes for an answer: 0 if they are not worth counting, infinite if it is
        not known yet."""
        ...

    def follow(self) -> Follower:
        """A follower of a new, empty text."""
        ...

    def observe(self, rows: Sequence[Row]) -> None:
        """Learn from the rows of a pass, of drafts that were accepted and of others."""
        ...


def heaviest(rows: npt.NDArray[np.int32], befores: Sequence[tuple[int, ...]]) -> list[Row]:
    """The candidates of rows of weights (n, V): at most CANDIDATES of each, none below 1/64 of the heaviest.

    befores: `Row.before` of each.
    """
    tops = rows.max(axis=1)
    made = []
    for row, before, top in zip(rows, befores, tops.tolist(), strict=True):
        ids = np.flatnonzero(row > top - (6 << 16))
        if len(ids) == 1:
            made.append(Row(before, [int(ids[0])], [1.0]))
            continue
        weights = row[ids]
        order = np.argsort(-weights, kind="stable")[:CANDIDATES]
        shares = np.exp2((weights[order] - top) / 65536.0)
        made.append(Row(before, ids[order].tolist(), (shares / shares.sum()).tolist()))
    return made
