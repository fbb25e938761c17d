"""N-grams: what followed the last tokens most often, in all texts so far.

`lookup` takes the longest match within one text; this counts over the texts of a whole run, prompts and
answers, by the last three, two tokens or one. It is what n-gram caches of other runtimes do (llama.cpp's
lookup decoding).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from nacrith.decoding.drafters.protocol import Guess, Row

_MOST = 3  # tokens of an end
_GUESSES = 3  # for each place
_TOKENS = 4  # that are counted for an end; a new one takes the place of the rarest
_ENDS = 1 << 18  # ends that are kept; when there are more, all are forgotten
_EDGES = (0.2, 0.45, 0.7, 0.9)  # of the share of a count; a kind is the number of edges below it, by order
_LEVELS = len(_EDGES) + 1
_MIDDLES = (0.05, 0.15, 0.3, 0.5, 0.7)


class NGram:
    """A `Drafter` that counts what followed each end of up to 3 tokens, across texts."""

    wants_rows = False
    price = 0.0
    priors = tuple(trust * middle for trust in (0.5, 0.7, 0.9) for middle in _MIDDLES)

    def __init__(self) -> None:
        self._counts: dict[tuple[int, ...], dict[int, int]] = {}

    def follow(self) -> _Follower:
        return _Follower(self)

    def observe(self, rows: Sequence[Row]) -> None:
        """Learns nothing from rows."""

    def count(self, before: tuple[int, ...], token: int) -> None:
        """Note that `token` came after these latest tokens."""
        if len(self._counts) > _ENDS:
            self._counts.clear()
        for order in range(1, len(before) + 1):
            counts = self._counts.setdefault(before[-order:], {})
            if token not in counts and len(counts) == _TOKENS:
                del counts[min(counts, key=counts.__getitem__)]
            counts[token] = counts.get(token, 0) + 1

    def state(self) -> dict[str, npt.NDArray[np.int32]]:
        """What was counted, for `restore`: rows of an end, -1 before it where it is shorter, a token, its
        count."""
        rows = [
            [*(-1,) * (_MOST - len(end)), *end, token, count]
            for end, counts in self._counts.items()
            for token, count in counts.items()
        ]
        return {"counts": np.array(rows, np.int32).reshape(-1, _MOST + 2)}

    def restore(self, state: Mapping[str, np.ndarray[Any, Any]]) -> None:
        """Take what `state` gave. ValueError if it is damaged."""
        rows = state["counts"]
        if rows.dtype != np.int32 or rows.ndim != 2 or rows.shape[1] != _MOST + 2 or (rows[:, -3:] < 0).any():
            raise ValueError("counts are of the wrong kind")
        for *end, token, count in rows.tolist():
            self._counts.setdefault(tuple(t for t in end if t >= 0), {})[token] = count

    def guesses(self, before: tuple[int, ...]) -> list[Guess]:
        """What may follow these tokens, by the longest end that was counted."""
        for order in range(len(before), 0, -1):
            counts = self._counts.get(before[-order:])
            if counts:
                total = sum(counts.values()) + 0.5  # what was seen once is not certain
                best = sorted(counts.items(), key=lambda item: -item[1])[:_GUESSES]
                base = (order - 1) * _LEVELS
                return [
                    Guess(t, base + bisect_left(_EDGES, n / total), (*before, t)[-_MOST:]) for t, n in best
                ]
        return []


class _Follower:
    """The state is the latest tokens, at most 3."""

    def __init__(self, drafter: NGram) -> None:
        self._drafter = drafter
        self._latest: tuple[int, ...] = ()

    def extend(self, tokens: Sequence[int]) -> None:
        for token in tokens:
            if self._latest:
                self._drafter.count(self._latest, token)
            self._latest = (*self._latest, token)[-_MOST:]

    def start(self) -> tuple[int, ...] | None:
        return self._latest or None

    def guesses(self, state: tuple[int, ...]) -> list[Guess]:
        return self._drafter.guesses(state)
