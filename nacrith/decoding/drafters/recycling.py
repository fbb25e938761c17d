"""Token Recycling: the candidates that the model itself named when it last saw the same token, or the same
two.

The method of Luo et al. 2024 (arXiv 2408.08696): the heaviest tokens of every row that was computed, also of
rejected drafts, are kept by the row's token, and trees are grown by looking them up. Added here: the rows of
the prompt are kept too; a second table is keyed by the latest two tokens and asked first; and the candidates'
shares are kept as their kinds, so that the planner grows the likeliest tree in place of one fixed shape.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from nacrith.decoding.drafters.protocol import CANDIDATES, Guess, Row

_EDGES = (0.05, 0.1, 0.2, 0.35, 0.5, 0.7, 0.9)  # of the shares; a kind is the number of edges below a share
_LEVELS = len(_EDGES) + 1
_MIDDLES = (0.02, 0.07, 0.15, 0.27, 0.42, 0.6, 0.8, 0.95)
_TRUST = (0.5, 0.8)  # of the share that a candidate had, by the table: one token, two tokens
_PAIRS = 1 << 16  # slots of the table of pairs; a pair replaces another one in its slot
_SPREAD = 0x9E3779B97F4A7C15


class _Table:
    """Candidates by slot. keys (slots,): what the slot holds, -1 for nothing. ids, kinds (slots,
    CANDIDATES)."""

    def __init__(self, slots: int) -> None:
        self.keys = np.full(slots, -1, np.int64)
        self.ids = np.full((slots, CANDIDATES), -1, np.int32)
        self.kinds = np.zeros((slots, CANDIDATES), np.uint8)

    def put(self, slot: int, key: int, row: Row) -> None:
        count = len(row.ids)
        self.keys[slot] = key
        self.ids[slot, :count] = row.ids
        self.ids[slot, count:] = -1
        self.kinds[slot, :count] = [bisect_left(_EDGES, share) for share in row.shares]

    def get(self, slot: int, key: int) -> list[tuple[int, int]]:
        """(token, kind) of what is held under `key`, heaviest first; empty for another key."""
        if self.keys[slot] != key:
            return []
        found = zip(self.ids[slot].tolist(), self.kinds[slot].tolist(), strict=True)
        return [(token, kind) for token, kind in found if token >= 0]


class Recycling:
    """A `Drafter` that learns from every row, across texts. vocab: of the model, V; V x 40 bytes + 3 MB.

    `saved` keeps it between processes, for one model.
    """

    wants_rows = True
    price = 0.0
    priors = tuple(trust * middle for trust in _TRUST for middle in _MIDDLES)

    def __init__(self, vocab: int) -> None:
        self.vocab = vocab
        self._single, self._pairs = _Table(vocab), _Table(_PAIRS)

    def follow(self) -> _Follower:
        return _Follower(self)

    def observe(self, rows: Sequence[Row]) -> None:
        for row in rows:
            self._single.put(row.before[-1], row.before[-1], row)
            if len(row.before) > 1:
                self._pairs.put(*self._pair(*row.before[-2:]), row)

    def candidates(self, before: tuple[int, ...]) -> list[tuple[int, int]]:
        """(token, kind) of what came, by the model, after these latest tokens."""
        if len(before) > 1:
            found = self._pairs.get(*self._pair(*before[-2:]))
            if found:
                return [(token, kind + _LEVELS) for token, kind in found]
        return self._single.get(before[-1], before[-1])

    def _pair(self, first: int, second: int) -> tuple[int, int]:
        """The slot and the key of a pair."""
        key = first * self.vocab + second
        return (key * _SPREAD & (1 << 64) - 1) >> 48, key

    def state(self) -> dict[str, np.ndarray[Any, Any]]:
        """What was learned, for `restore`."""
        return {
            f"{name}_{part}": getattr(table, part)
            for name, table in (("single", self._single), ("pairs", self._pairs))
            for part in ("keys", "ids", "kinds")
        }

    def restore(self, state: Mapping[str, np.ndarray[Any, Any]]) -> None:
        """Take what `state` gave. ValueError or KeyError if it is damaged, or for another vocabulary."""
        for name, own in self.state().items():
            _fill(own, state[name])
        self._check()

    def _check(self) -> None:
        for table in (self._single, self._pairs):
            if not (table.ids.min() >= -1 and table.ids.max() < self.vocab and table.kinds.max() < _LEVELS):
                raise ValueError("a number is out of range")


def _fill(own: np.ndarray[Any, Any], read: np.ndarray[Any, Any]) -> None:
    if own.shape != read.shape or own.dtype != read.dtype:
        raise ValueError(f"an array is {read.dtype} {read.shape}, not {own.dtype} {own.shape}")
    own[:] = read


class _Follower:
    """The state is the latest tokens, at most two."""

    def __init__(self, drafter: Recycling) -> None:
        self._drafter = drafter
        self._latest: tuple[int, ...] = ()

    def extend(self, tokens: Sequence[int]) -> None:
        self._latest = (*self._latest, *tokens[-2:])[-2:]

    def start(self) -> tuple[int, ...] | None:
        return self._latest or None

    def guesses(self, state: tuple[int, ...]) -> list[Guess]:
        return [Guess(t, kind, (state[-1], t)) for t, kind in self._drafter.candidates(state)]
