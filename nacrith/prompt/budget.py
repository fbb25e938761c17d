"""Chooses units by their scores so that the output never exceeds a budget.

Token counts do not add up (a tokenizer merges across the borders of units), so nothing is estimated: a
choice is accepted only after its complete output has been counted. The units are ranked; bisection finds
the longest prefix of the ranking whose output fits; the rest of the budget goes to lower units that still
fit. Since every accepted choice was counted, the guarantee holds for any counter, also for one that is
not monotone.
"""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from nacrith.arith import F64
from nacrith.errors import BudgetError
from nacrith.prompt.document import Part
from nacrith.prompt.segment import I64, WORD, Mask

_TRIES = 24
"""Number of counts for filling the budget after the prefix of the ranking; fewer for long texts."""
_LONG = 30_000  # units


@dataclass(frozen=True)
class Choice:
    """Closed choices of the units of some parts. cut: score of the last chosen unit, NaN if there is
    none."""

    kept: list[Mask]
    cut: float


def choose(
    parts: Sequence[Part],
    scores: Sequence[F64],
    room: Callable[[Sequence[Mask]], int],
    *,
    by_sentence: bool,
    threshold: float | None = None,
    partial: bool = True,
) -> Choice | None:
    """The best choice that fits the budget; None if not even the protected units fit.

    room: tokens of the budget that remain with a closed choice, negative if it exceeds the budget.
    scores: of each part, (units,) or, `by_sentence`, (sentences,); higher ones are kept first. threshold:
    units with a lower score are dropped, whatever the budget. partial: if no sentence fits, words from
    its beginning may be kept.
    """
    ranking = _Ranking(parts, scores, by_sentence, threshold)
    budget = _Budget(ranking, room)
    accept, order = budget.accept, ranking.order
    best = accept(order[:0])
    if best is None:
        return None
    whole = accept(order)
    if whole is not None:
        return Choice(whole, ranking.lowest(order))
    low, best = budget.longest_prefix(best)
    chosen = order[:low]
    tries = max(4, min(_TRIES, _LONG // max(1, len(order))))
    if by_sentence:
        chosen, rest = ranking.whole_sentences(low, partial)
        if len(chosen) != low:
            best = accept(chosen)
            assert best is not None or len(chosen)
            if best is None:  # the counter is not monotone
                chosen, best = order[:0], accept(order[:0])
    else:
        rest = [order[i : i + 1] for i in range(low + 1, min(low + 1 + tries, len(order)))]
    assert best is not None
    for group in rest[:tries]:
        if not budget.left:
            break
        found = accept(np.concatenate([chosen, group]))
        if found is not None:
            chosen, best = np.concatenate([chosen, group]), found
    return Choice(best, ranking.lowest(chosen))


class _Budget:
    """Accepts a choice if its output fits. left: tokens that the last accepted choice leaves."""

    def __init__(self, ranking: _Ranking, room: Callable[[Sequence[Mask]], int]) -> None:
        self._ranking, self._room = ranking, room
        self.left = 0

    def accept(self, chosen: I64) -> list[Mask] | None:
        """The closed choice; None if it exceeds the budget."""
        kept = self._ranking.masks(chosen)
        found = self._room(kept)
        if found < 0:
            return None
        self.left = found
        return kept

    def longest_prefix(self, best: list[Mask]) -> tuple[int, list[Mask]]:
        """Length and closed choice of the longest prefix of the ranking that fits. The whole ranking must not
        fit; `best` is the choice of the empty prefix, which must fit."""
        low, high = 0, len(self._ranking.order)  # the prefix of length `low` fits
        while high - low > 1:
            middle = (low + high) // 2
            found = self.accept(self._ranking.order[:middle])
            if found is None:
                high = middle
            else:
                low, best = middle, found
        return low, best


class _Ranking:
    """All units of several parts that may be chosen, best first, as indices into their concatenation."""

    def __init__(
        self, parts: Sequence[Part], scores: Sequence[F64], by_sentence: bool, threshold: float | None
    ) -> None:
        self.parts = parts
        sizes = [len(p.passage) for p in parts]
        self.edges = np.cumsum([0, *sizes]).tolist()
        units: list[F64] = []
        groups: list[I64] = []
        sentences = 0
        for part, score in zip(parts, scores, strict=True):
            p = part.passage
            units.append(score[p.sentence] if by_sentence else score)
            groups.append(p.sentence + sentences)
            sentences += len(p.sentences)
        self.scores = np.concatenate([np.empty(0), *units])
        self.groups = np.concatenate([np.empty(0, np.int64), *groups])
        free = np.concatenate([np.empty(0, bool), *((p.passage.kinds == WORD) & ~p.forced for p in parts)])
        if threshold is not None:
            free &= self.scores >= threshold
        place = np.arange(len(self.scores))
        keys = (place, self.groups, -self.scores) if by_sentence else (place, -self.scores)
        order = np.lexsort(keys)
        self.order: I64 = order[free[order]]

    def masks(self, chosen: I64) -> list[Mask]:
        flat = np.zeros(self.edges[-1], bool)
        flat[chosen] = True
        return [
            part.close(flat[a:b])
            for part, a, b in zip(self.parts, self.edges[:-1], self.edges[1:], strict=True)
        ]

    def lowest(self, chosen: I64) -> float:
        return float(self.scores[chosen].min()) if len(chosen) else float("nan")

    def whole_sentences(self, fitting: int, partial: bool) -> tuple[I64, list[I64]]:
        """Of the first `fitting` units, those of whole sentences, and the sentences after them. If they
        include no whole sentence and `partial` is set: the units themselves, and nothing after them."""
        group = self.groups[self.order]
        first = np.flatnonzero(np.diff(group, prepend=-1))
        ends = [*first[1:].tolist(), len(group)]
        done = sum(end <= fitting for end in ends)
        if not done and partial:
            return self.order[:fitting], []
        rest = [self.order[a:b] for a, b in zip(first.tolist()[done:], ends[done:], strict=True)]
        return self.order[: ends[done - 1] if done else 0], rest


def too_much(parts: Sequence[Part], needed: int, allowed: int, outside: int) -> BudgetError:
    """The error for an exceeded budget. Arguments: tokens needed, allowed, and outside of all parts."""
    tally = Tally(r for part in parts for r, f in zip(part.reasons, part.forced, strict=True) if f)
    kinds = ", ".join(f"{reason} ({n})" for reason, n in tally.most_common(4))
    why = f"protected words: {kinds}" if kinds else "nothing of it may be dropped"
    if outside:
        why += f"; {outside} tokens are outside of the parts that may be shortened"
    return BudgetError(
        f"what must be kept needs {needed} tokens, and {allowed} are allowed ({why}): raise the budget,"
        " or protect less"
    )
