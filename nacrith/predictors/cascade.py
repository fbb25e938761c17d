"""The ensemble: a language model and the online predictors, joined token by token.

First the bias head shifts the model's weights. Then a few candidates are asked about, one after the
other: "is it this one?", for the match model's token, the n-grams' and the model's own favourite. Each
question is coded as a probability, mixed from what the model and every predictor hold of it, in the way
of PAQ. What the questions leave over goes to all other tokens in proportion to the model's weights:

    count(candidate i) = rest * P_i,  rest -= count(candidate i);  count(others) = their share of rest

So a question costs microseconds, and only the model's own part touches the whole vocabulary. The result
are the integer counts for the range coder. Specified in formats/coding-v2.md; tables in `prior`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from nacrith import scratch
from nacrith.arith import F32
from nacrith.coder.cdf import DOWN, TOTAL, weigh
from nacrith.predictors.bias import BiasHead
from nacrith.predictors.fixed import LIMIT, ONE, PRECISION, UNIT, squash, stretch
from nacrith.predictors.match import Match
from nacrith.predictors.mixer import Correction, Mixer
from nacrith.predictors.ngram import ORDERS, NGram
from nacrith.predictors.prior import Prior
from nacrith.predictors.protocol import Logits
from nacrith.predictors.statemap import StateMap

QUESTIONS = 4
"""Most candidates asked about for one token."""

_CONSTANT = UNIT // 4
_SURE = 16
"""No question is answered with less than 2^-20 of doubt."""

_LENGTHS = (6, 8, 12, 16, 24, 31)
"""Match lengths below these are of one class each."""


@dataclass(frozen=True)
class Switches:
    """Which parts are at work. An archive's sets have all of them; others are for measuring."""

    bias: bool = True
    ngram: bool = True
    match: bool = True
    correction: bool = True


class _Question:
    """A candidate's turn: what was thought, to be learnt from."""

    __slots__ = ("contexts", "mixed", "opinions", "sets", "states", "token")

    token: int
    opinions: list[int]
    states: list[int | None]
    sets: tuple[int, int, int]
    contexts: tuple[int, int]
    mixed: int


class Cascade:
    """Set 1 or 2 for one group of lanes, by its prior. capacity: of the n-grams' generations. lengths: as of
    NGram."""

    def __init__(
        self,
        vocab_size: int,
        capacity: int,
        prior: Prior,
        lengths: Sequence[int],
        switches: Switches | None = None,
    ) -> None:
        self.switches = switches or Switches()
        self.bias = BiasHead(vocab_size)
        self.ngram = NGram(vocab_size, capacity, lengths)
        self.match = Match(self.ngram)
        self.maps = [StateMap(*table) for table in prior.maps]
        self.mixer = Mixer(prior.weights)
        self.corrections = [Correction(StateMap(*table)) for table in prior.corrections]
        self._questions: list[_Question] = []
        self._weights: F32 = np.empty(vocab_size, np.float32)
        self._total = 0

    def counts(self, logits: Logits, lane: int = 0) -> F32:
        """As coder.cdf.counts: integers (V,) of at least 1 that sum to TOTAL. Scratch memory."""
        if self.switches.ngram or self.switches.match:
            self.ngram.begin(lane)
        if self.switches.match:
            self.match.begin(lane)
        x = self.bias.apply(logits)
        top = int(x.argmax())
        self._total = weigh(x, top, self._weights)
        rest, left = TOTAL - len(x), self._total
        self._questions = []
        asked: list[tuple[int, int]] = []
        for token in self._candidates(top):
            weight = int(self._weights[token])
            question = self._ask(token, stretch(weight, left - weight), token == top)
            count = rest * self._probability(question) >> PRECISION
            asked.append((token, count))
            rest -= count
            left -= weight
            self._questions.append(question)
        c: F32 = scratch.empty("counts", len(x))
        share = np.float32(rest / left * DOWN) if left else np.float32(0.0)
        np.multiply(self._weights, share, out=c)
        np.floor(c, out=c)
        for token, count in asked:
            c[token] = np.float32(count)
        np.add(c, np.float32(1.0), out=c)
        c[top] += np.float32(TOTAL - int(c.sum()))
        return c

    def update(self, token: int, lane: int = 0) -> None:
        """The token that came under the counts given last, which were for this lane."""
        for question in self._questions:
            yes = question.token == token
            self.mixer.update(question.opinions, question.sets, question.mixed, yes)
            for states, state in zip(self.maps, question.states, strict=True):
                if state is not None:
                    states.update(state, yes)
            if self.switches.correction:
                for correction, context in zip(self.corrections, question.contexts, strict=True):
                    correction.update(context, question.mixed, yes)
            if yes:
                break
        if self.switches.bias:
            self.bias.update(self._weights, self._total, token)
        if self.switches.ngram or self.switches.match:
            self.ngram.update(token, lane)
        if self.switches.match:
            self.match.update(token, lane)

    def _candidates(self, top: int) -> list[int]:
        """Likeliest first, by a rough mixture of model and n-grams (in 2^-22 / 5)."""
        tokens: list[int] = []
        if self.match.token is not None:
            tokens.append(self.match.token)
        if self.switches.ngram:
            for order in range(ORDERS, 0, -1):
                node = self.ngram.nodes[order]
                if node is not None:
                    tokens += [self.ngram.history[node.position], *node.likeliest(2)]
        tokens.append(top)
        marks = {}
        for token in tokens:
            if token not in marks:
                model = (int(self._weights[token]) << 22) // self._total
                mark = 3 * model + 2 * self.ngram.probability(token)
                if token == self.match.token:
                    mark += min(self.match.length, 20) << 19
                marks[token] = mark
        return sorted(marks, key=lambda token: (-marks[token], token))[:QUESTIONS]

    def _ask(self, token: int, model: int, is_top: bool) -> _Question:
        first = not self._questions
        q = _Question()
        q.token = token
        q.states = [None] * (ORDERS + 1)
        highest = count = others = 0
        if self.switches.ngram:
            for order in range(1, ORDERS + 1):
                q.states[order - 1] = self.ngram.state(order, token, first)
                node = self.ngram.nodes[order]
                if node is not None and (n := node.count(token)):
                    highest, count, others = order, n, node.total - n
        q.states[ORDERS] = self.match.state(token, first)
        matched = q.states[ORDERS] is not None
        length = 1 + sum(self.match.length >= bound for bound in _LENGTHS) if matched else 0
        q.opinions = [
            model,
            *(0 if s is None else m.stretched(s) for m, s in zip(self.maps, q.states, strict=True)),
            _CONSTANT,
        ]
        odds = max(0, min(15, (model >> 10) + 8))
        purity = 0 if others == 0 else 1 if others < 3 else 2
        q.sets = (length * 2 + (not first), highest * 3 + purity, odds // 2 * 2 + is_top)
        rank = min(len(self._questions), 3)
        q.contexts = ((highest * 2 + is_top) * 8 + length, (rank * 2 + is_top) * 4 + min(count, 3))
        q.mixed = self.mixer.mix(q.opinions, q.sets)
        return q

    def _probability(self, q: _Question) -> int:
        """Of 2^24."""
        s = q.mixed
        if self.switches.correction:
            first, second = (
                c.refine(context, s) for c, context in zip(self.corrections, q.contexts, strict=True)
            )
            s = max(-LIMIT, min(LIMIT, (2 * s + first + second) >> 2))
        return max(_SURE, min(ONE - _SURE, squash(s)))
