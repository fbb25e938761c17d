"""The compression of one document: limits of the parts, scores, choices.

A part has its own rate, or shares the rate or the target of the whole with the other parts, or has neither:
then it stays whole, so that it never pays for what others exceed. What the contract keeps of a part with a
rate of its own may exceed that rate; then the limit of the whole rises by as much (`Work.raised`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from nacrith.arith import F64
from nacrith.errors import BudgetError
from nacrith.prompt.budget import LEAST, SHORTEST, Choice, choose, least, too_much
from nacrith.prompt.document import Document, Part
from nacrith.prompt.scorers.protocol import Scorer
from nacrith.prompt.segment import Mask

_NONE = float("nan")
_STRETCH = 4096  # characters


class Work:
    """limit: the most tokens of the output, None without a budget. raised: tokens by which it had to rise.
    modes: those in which parts were shortened (`document`)."""

    def __init__(
        self,
        scorer: Scorer,
        count: Callable[[str], int],
        document: Document,
        query: str,
        rate: float | None,
        target: int | None,
        threshold: float | None,
    ) -> None:
        self.scorer, self.count, self.document, self.query = scorer, count, document, query
        self.threshold = threshold
        self.tokens = count(document.source)
        self.modes: set[str] = set()
        self.raised = 0
        rates = [p.rate if p.rate is not None else rate for p in document.parts]
        # For each part, the number of tokens to drop; 0 for a part without a rate.
        self.due = [
            (1 - r) * count(p.text) if r is not None else 0.0
            for p, r in zip(document.parts, rates, strict=True)
        ]
        self.free = rate is not None or target is not None or threshold is not None
        """Whether parts without a rate of their own may be shortened."""
        self.limit = target
        if target is None and (rate is not None or any(r is not None for r in rates)):
            self.limit = self.tokens - _ceil(sum(self.due))
        relative = document.texts or any(p.rate is not None for p in document.parts)
        self.fixed = target is not None or not relative
        """Whether the limit must be met. Otherwise it rises for what has to be kept of each text."""
        self.floor = LEAST if self.fixed else SHORTEST

    def _scores(self, parts: Sequence[Part]) -> list[F64]:
        found = self.scorer.score([p.passage for p in parts], self.query)
        by_sentence = self.scorer.by_sentence
        return [p.weighed(s, self.query, by_sentence) for p, s in zip(parts, found, strict=True)]

    def together(self) -> tuple[list[Mask], list[F64], list[float]]:
        """Choose among all parts together, after choosing separately in each part that has its own rate."""
        parts = self.document.parts
        scores = self._scores(parts)
        kept = [np.ones(len(p.passage), bool) for p in parts]
        cuts = [_NONE] * len(parts)
        rated = [k for k, p in enumerate(parts) if p.rate is not None]
        free = [k for k, p in enumerate(parts) if p.rate is None] if self.free else []
        for k in rated:
            kept[k], cuts[k] = self._alone(parts[k], scores[k], self.due[k])
        if not free:
            self._check_whole(kept)
            return kept, scores, cuts

        def room(masks: Sequence[Mask]) -> int:
            if self.limit is None:
                return 0
            return self.limit + self.raised - self.count(self.document.render(_filled(kept, free, masks)))

        choice = self._choose([parts[k] for k in free], [scores[k] for k in free], room)
        if choice is None:
            kept = _filled(kept, free, self._least([parts[k] for k in free]))
            self._check_whole(kept)
            return kept, scores, cuts
        kept = _filled(kept, free, choice.kept)
        for k in free:
            cuts[k] = choice.cut
        return kept, scores, cuts

    def _alone(self, part: Part, score: F64, due: float) -> tuple[Mask, float]:
        """Choose in a part with a rate of its own. It keeps the least that the contract allows even if that
        exceeds the rate."""
        allowed = self.count(part.text) - _ceil(due)

        def room(masks: Sequence[Mask]) -> int:
            return allowed - self.count(part.output(masks[0]))

        choice = self._choose([part], [score], room)
        if choice is not None:
            return choice.kept[0], choice.cut
        (mask,) = self._least([part])
        self.raised += self.count(part.output(mask)) - allowed
        return mask, _NONE

    def stable(self) -> tuple[list[Mask], list[F64], list[float]]:
        """Choose part by part, each depending only on the text up to it. The first part of a block keeps at
        least a clause: whether later ones keep anything is not known."""
        self.floor = SHORTEST
        parts, source, count = self.document.parts, self.document.source, self.count
        known = self._scores(parts) if self.scorer.causal else None
        kept: list[Mask] = []
        scores: list[F64] = []
        cuts: list[float] = []
        done = ""  # the output for the source up to `position`
        position = 0
        due = 0.0
        empty: list[int] = []  # the block of which nothing is kept yet
        met: set[int] = set()  # blocks before
        # Counting all of the text up to each part would be quadratic. Where the limit may rise, a stretch is
        # counted for itself; its first part begins at `start` of the source and at `begun` of `done`.
        start = begun = left = 0  # left: tokens that the stretches before it have lost
        for k, part in enumerate(parts):
            score = known[k] if known is not None else self._scores([part])[0]
            done += source[position : part.start]
            if not self.fixed and (part.start - start > _STRETCH or (k and part.block != parts[k - 1].block)):
                left += self._lost(source[start : part.start], done[begun:])
                start, begun = part.start, len(done)
            position = part.end
            due += self.due[k]
            allowed = left + self._lost(source[start:position], done[begun:]) + self.raised - _ceil(due)
            if part.block not in met:
                empty = [part.block]
                met.add(part.block)

            def text(mask: Mask, part: Part = part) -> str:
                return part.written(mask, source)

            def room(masks: Sequence[Mask], allowed: int = allowed, text: Any = text) -> int:
                return 0 if self.limit is None else allowed - count(text(masks[0]))

            if part.rate is None and not self.free:
                mask, cut = np.ones(len(part.passage), bool), _NONE
            elif choice := self._choose([part], [score], room, partial=False, blocks=empty):
                mask, cut = choice.kept[0], choice.cut
            else:
                # Protected text stays even if it exceeds the budget; later paragraphs get less, unless each
                # is of a text of its own.
                (mask,), cut = self._least([part], empty), _NONE
                if not self.fixed and self.limit is not None:
                    self.raised += max(0, count(text(mask)) - max(0, allowed))
            kept.append(mask)
            scores.append(score)
            cuts.append(cut)
            if mask.any():
                empty = []
            done += text(mask)
        self._check_whole(kept)
        return kept, scores, cuts

    def _lost(self, text: str, output: str) -> int:
        """By how many tokens an output is shorter than its text."""
        return 0 if text == output else self.count(text) - self.count(output)

    def _choose(
        self,
        parts: Sequence[Part],
        scores: Sequence[F64],
        room: Callable[[Sequence[Mask]], int],
        partial: bool = True,
        blocks: Sequence[int] | None = None,
    ) -> Choice | None:
        choice = choose(
            parts,
            scores,
            room,
            by_sentence=self.scorer.by_sentence,
            threshold=self.threshold,
            partial=partial and self.threshold is None,
            blocks=blocks,
            floor=self.floor,
        )
        if choice is not None:
            self.modes.add(choice.mode)
        return choice

    def _least(self, parts: Sequence[Part], blocks: Sequence[int] | None = None) -> list[Mask]:
        return least(parts, self.scorer.by_sentence, self.floor, blocks)

    def _check_whole(self, kept: Sequence[Mask]) -> None:
        """Compare the whole with its limit: an error, or the limit rises. Tokens of parts do not add up."""
        if self.limit is None:
            return
        over = self.count(self.document.render(kept)) - self.limit
        if over <= 0:
            self.raised = 0
        elif self.fixed:
            raise self._too_much(kept)
        else:
            self.raised = over

    def _too_much(self, kept: Sequence[Mask]) -> BudgetError:
        """The error that says the smallest budget that works."""
        assert self.limit is not None
        parts = self.document.parts
        starts, ends = [p.start for p in parts], [p.end for p in parts]
        gaps = zip([0, *ends], [*starts, len(self.document.source)], strict=True)
        outside = "".join(self.document.source[a:b] for a, b in gaps)
        needed = self.count(self.document.render(kept))
        return too_much(parts, kept, needed, self.limit, self.count(outside))


def _filled(kept: Sequence[Mask], places: Sequence[int], masks: Sequence[Mask]) -> list[Mask]:
    out = list(kept)
    for k, mask in zip(places, masks, strict=True):
        out[k] = mask
    return out


def _ceil(x: float) -> int:
    return math.ceil(x - 1e-9)
