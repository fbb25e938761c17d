"""Chooses units by their scores so that the output never exceeds a budget.

Token counts do not add up (a tokenizer merges across the borders of units), so nothing is estimated: a
choice is accepted only after its complete output has been counted. The units are ranked; bisection finds
the longest prefix of the ranking whose output fits; the rest of the budget goes to lower ones that still
fit. Since every accepted choice was counted, the guarantee holds for any counter, also for one that is
not monotone.

If the scores are of sentences, whole sentences are chosen, then clauses for what is left of the budget, and
words only if nothing else fits. Of each block something is chosen first (`_Ranking.seeds`): nothing becomes
empty.
"""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import numpy as np

from nacrith.arith import F64
from nacrith.errors import BudgetError
from nacrith.lazy import lazy
from nacrith.prompt.document import WITH_SENTENCE, Part
from nacrith.prompt.segment import I64, WORD, Mask

_TRIES = 24
"""Number of counts for filling the budget after the prefix of the ranking; fewer for long texts."""
_LONG = 30_000  # units
_UNUSED = 0.4
"""If more of the budget is left after whole sentences and clauses, words are added, so that a short passage
is no worse than its beginning."""
BEST, CLAUSE, SHORTEST, LEAST = range(4)
"""What is chosen of a block first: its best sentence or word, the first clause of that sentence, the shortest
clause that begins a sentence, the shortest word that does."""

Room = Callable[[Sequence[Mask]], int]


@dataclass(frozen=True)
class Choice:
    """Closed choices of the units of some parts. cut: score of the last chosen unit, NaN if there is
    none. mode: that of the parts."""

    kept: list[Mask]
    cut: float
    mode: str = WITH_SENTENCE


def choose(
    parts: Sequence[Part],
    scores: Sequence[F64],
    room: Room,
    *,
    by_sentence: bool,
    threshold: float | None = None,
    partial: bool = True,
    blocks: Collection[int] | None = None,
    floor: int = LEAST,
) -> Choice | None:
    """The best choice that fits the budget; None if not even the least one fits (`least`).

    room: tokens of the budget that remain with a closed choice, negative if it exceeds the budget. scores:
    of each part, (units,) or, `by_sentence`, (sentences,); higher ones are kept first. threshold: units
    with a lower score are dropped, whatever the budget. partial: clauses, or if no sentence fits words, may
    be kept without their sentence. blocks: of these something is kept; None: of all. floor: how little of a
    block may be kept (LEAST, SHORTEST).
    """
    modes = parts[0].contract.modes(by_sentence) if parts else (WITH_SENTENCE,)
    for mode in modes:
        ranking = _Ranking([p.in_mode(mode) for p in parts], scores, by_sentence, threshold, blocks)
        budget = _Budget(ranking, room)
        for level in range(floor + 1):
            seeds = ranking.seeds(level)
            if budget.try_add(seeds):
                budget.fill(by_sentence, partial)
                if level == LEAST:
                    budget.drop_stubs(seeds)
                return Choice(budget.best, ranking.lowest(budget.chosen), mode)
    return None


def least(
    parts: Sequence[Part], by_sentence: bool, floor: int = LEAST, blocks: Collection[int] | None = None
) -> list[Mask]:
    """The smallest closed choices that the contract allows and that leave something of each block."""
    scores = [np.zeros(len(p.passage.sentences) if by_sentence else len(p.passage)) for p in parts]
    ranking = _Ranking([p.in_mode(WITH_SENTENCE) for p in parts], scores, by_sentence, None, blocks)
    return ranking.masks(ranking.seeds(floor))


class _Budget:
    """Adds to a choice as long as the output fits. chosen, best: units of the choice, and it closed. left:
    tokens that it leaves. over: tokens by which the last rejected one exceeded the budget."""

    def __init__(self, ranking: _Ranking, room: Room) -> None:
        self._ranking, self._room = ranking, room
        self.chosen: I64 = np.empty(0, np.int64)
        self.best: list[Mask] = []
        self.left = self.over = 0

    def _accept(self, chosen: I64) -> bool:
        kept = self._ranking.masks(chosen)
        found = self._room(kept)
        if found < 0:
            self.over = -found
            return False
        self.chosen, self.best, self.left = chosen, kept, found
        return True

    def try_add(self, units: I64) -> bool:
        """Whether the output still fits with these units, which then belong to the choice."""
        return self._accept(np.concatenate([self.chosen, units]))

    def fill(self, by_sentence: bool, partial: bool) -> None:
        """Add what the ranking has next until the budget is spent."""
        order = self._ranking.order
        order = order[~np.isin(order, self.chosen)]
        if self.try_add(order):
            return
        groups = self._ranking.sentences(order) if by_sentence else _runs(order, order)
        rest = groups[self._longest_prefix(groups) :]
        tries = max(4, min(_TRIES, _LONG // max(1, len(self._ranking.order))))
        skipped = [g for g in rest[:tries] if self.left and not self.try_add(g)]
        if by_sentence and partial:
            self._parts_of(skipped[: tries // 2])

    def _longest_prefix(self, groups: Sequence[I64]) -> int:
        """Add as many of the first groups as fit, and return their number. All together must not fit."""
        base = self.chosen
        low, high = 0, len(groups)  # `low` groups fit
        before = self._ranking.characters(groups)  # of each group, and of all
        over = self.over
        step = 0
        while high - low > 1:
            # Tokens are nearly proportional to characters; every third step bisects, in case they are not.
            share = self.left / (self.left + over) if self.left + over else 0.5
            goal = before[low] + share * (before[high] - before[low])
            guess = int(np.searchsorted(before, goal, "right")) - 1
            middle = (low + high) // 2 if step % 3 == 2 else min(max(guess, low + 1), high - 1)
            if self._accept(np.concatenate([base, *groups[:middle]])):
                low = middle
            else:
                high, over = middle, self.over
            step += 1
        return low

    def _parts_of(self, sentences: Sequence[I64]) -> None:
        """Add the first clauses of sentences that do not fit; and if much of the budget is still left, words
        from the beginning of the first one where that is possible."""
        for units in sentences:
            clauses = self._ranking.openings(units)
            for k in range(len(clauses) - 1, max(0, len(clauses) - 4), -1):
                if self.left and self.try_add(np.concatenate(clauses[:k])):
                    break
        if self.left <= _UNUSED * self._whole():
            return
        for units in sentences:
            rest = units[~np.isin(units, self.chosen)]
            if len(rest) and self._longest_prefix(self._ranking.stubs(rest)):
                break

    def _whole(self) -> float:
        """About the tokens of the budget, that part included which is spent on what is kept always."""
        ranking = self._ranking
        forced = ranking.masks(np.empty(0, np.int64))
        free = self._room(forced)
        before, now = ranking.size(forced), ranking.size(self.best)
        return free + before * (free - self.left) / (now - before) if now > before else free

    def drop_stubs(self, seeds: I64) -> None:
        """Leave out the pieces that were chosen so that a block is not empty, where it is not now."""
        rest = np.setdiff1d(self.chosen, seeds)
        ranking = self._ranking
        needed = ~np.isin(ranking.block[seeds], ranking.block[rest]) | np.isin(
            ranking.groups[seeds], ranking.groups[rest]
        )
        if not needed.all():
            self._accept(np.concatenate([seeds[needed], rest]))


class _Ranking:
    """All units of several parts that may be chosen, best first, as indices into their concatenation.

    groups, block: (units,) sentence and block of each unit. order: those that reach the threshold.
    """

    def __init__(
        self,
        parts: Sequence[Part],
        scores: Sequence[F64],
        by_sentence: bool,
        threshold: float | None,
        blocks: Collection[int] | None,
    ) -> None:
        self.parts, self.by_sentence = parts, by_sentence
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
        self.block = np.repeat([p.block for p in parts], sizes) if parts else np.empty(0, np.int64)
        self._forced = np.concatenate([np.empty(0, bool), *(p.forced for p in parts)])
        word = np.concatenate([np.empty(0, bool), *(p.passage.kinds == WORD for p in parts)])
        self._free = word & ~self._forced
        place = np.arange(len(self.scores))
        keys = (place, self.groups, -self.scores) if by_sentence else (place, -self.scores)
        order = np.lexsort(keys)
        self._every: I64 = order[self._free[order]]
        self.order = self._every
        if threshold is not None:
            self.order = self._every[self.scores[self._every] >= threshold]
        self._blocks = self._empty(blocks)

    def _empty(self, blocks: Collection[int] | None) -> list[int]:
        """The blocks of which nothing would be kept, though something must be."""
        there = np.unique(self.block[self._free])
        kept = set(np.unique(self.block[self._forced]).tolist()) | {p.block for p in self.parts if p.noted}
        return [b for b in there.tolist() if b not in kept and (blocks is None or b in blocks)]

    def seeds(self, level: int) -> I64:
        """Of each block that would be empty: the units to choose first."""
        return np.concatenate([np.empty(0, np.int64), *(self._seed(b, level) for b in self._blocks)])

    def _seed(self, block: int, level: int) -> I64:
        mine = self._every[self.block[self._every] == block]
        if not self.by_sentence and level < LEAST:
            return mine[:1]
        if level > CLAUSE and block < 0:  # content
            return mine[[np.argmin(self._brings[mine])]]
        if level <= CLAUSE:
            sentence = mine[self.groups[mine] == self.groups[mine[0]]]
            return sentence if level == BEST else self.openings(sentence)[0]
        sizes, soft, linked = self._sizes
        groups = self.groups[mine] - self.groups[mine].min()
        bound = np.bincount(groups, (sizes * soft + linked)[mine])
        if not self.by_sentence:
            return mine[[np.argmin(bound[groups] + np.where(soft, 0, sizes)[mine])]]
        divided = self.stubs if level == LEAST else self.openings
        pieces = [divided(s)[0] for s in self.sentences(np.sort(mine))]
        costs = [
            np.where(soft, 0, sizes)[c].sum() + bound[self.groups[c[0]] - self.groups[mine].min()]
            for c in pieces
        ]
        return pieces[int(np.argmin(costs))]

    @lazy
    def _brings(self) -> I64:
        """(units,) characters that are kept at least with a unit of content."""
        found = [np.zeros(len(p.passage), np.int64) if p.brings is None else p.brings for p in self.parts]
        return np.concatenate([np.empty(0, np.int64), *found])

    @lazy
    def _sizes(self) -> tuple[I64, Mask, I64]:
        """Characters of each unit, whether it is kept with its sentence, and a penalty if other sentences are
        kept with it too."""
        parts = self.parts
        sizes = np.concatenate([np.empty(0, np.int64), *(p.passage.ends - p.passage.starts for p in parts)])
        soft = np.concatenate([np.empty(0, bool), *(p.soft for p in parts)])
        linked = np.concatenate([np.empty(0, bool), *(p.linked[p.passage.sentence] for p in parts)])
        return sizes, soft, linked * int(sizes.sum())

    def characters(self, groups: Sequence[I64]) -> F64:
        """(groups + 1,) characters of all groups before each, and of all."""
        sizes = self._sizes[0]
        return np.cumsum([0.0, *(sizes[g].sum() + len(g) for g in groups)])

    def size(self, masks: Sequence[Mask]) -> int:
        """Characters of a choice."""
        return int(self._sizes[0][np.concatenate([np.empty(0, bool), *masks])].sum())

    def masks(self, chosen: I64) -> list[Mask]:
        flat = np.zeros(self.edges[-1], bool)
        flat[chosen] = True
        return [
            part.close(flat[a:b])
            for part, a, b in zip(self.parts, self.edges[:-1], self.edges[1:], strict=True)
        ]

    def lowest(self, chosen: I64) -> float:
        return float(self.scores[chosen].min()) if len(chosen) else float("nan")

    def sentences(self, order: I64) -> list[I64]:
        """The units of each sentence, in the same order."""
        return _runs(order, self.groups[order])

    def openings(self, sentence: I64) -> list[I64]:
        """The units of each clause of a sentence. The first one goes on to the last unit that is kept with
        the sentence, which would stand there without what it belongs to."""
        part = int(np.searchsorted(self.edges, sentence[0], "right")) - 1
        clauses = _runs(sentence, self.parts[part].passage.clauses[sentence - self.edges[part]])
        return self._joined(clauses, sentence)

    def stubs(self, sentence: I64) -> list[I64]:
        """The same of its words."""
        return self._joined(np.split(sentence, len(sentence)), sentence)

    def _joined(self, pieces: list[I64], sentence: I64) -> list[I64]:
        soft = np.flatnonzero(self._sizes[1][sentence])
        if not len(soft):
            return pieces
        first = next(k for k, piece in enumerate(pieces) if sentence[soft[-1]] in piece) + 1
        return [np.concatenate(pieces[:first]), *pieces[first:]]


def _runs(units: I64, keys: I64) -> list[I64]:
    """Runs of units with the same key."""
    return np.split(units, np.flatnonzero(np.diff(keys)) + 1) if len(units) else []


def too_much(
    parts: Sequence[Part], kept: Sequence[Mask], needed: int, allowed: int, outside: int
) -> BudgetError:
    """The error for an exceeded budget. Arguments: the least choice, the tokens it needs, those allowed, and
    those outside of all parts."""
    tally = Tally(
        part.reasons[i]
        for part, mask in zip(parts, kept, strict=True)
        for i in np.flatnonzero(mask).tolist()
        if part.reasons[i]
    )
    kinds = ", ".join(f"{reason} ({n})" for reason, n in tally.most_common(4))
    why = f"protected words: {kinds}" if kinds else "something of each text is kept"
    if outside:
        why += f"; {outside} tokens are outside of the parts that may be shortened"
    return BudgetError(
        f"what must be kept needs {needed} tokens, and {allowed} are allowed ({why}): raise the budget to"
        f" {needed} tokens, or protect less",
        needed,
    )
