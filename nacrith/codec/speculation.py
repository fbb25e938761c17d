"""Speculative decoding: draft the next tokens, compute their rows in the same pass, keep the correct ones.

A row consists of the same integers whether it was computed alone or in a batch. So a correct draft saves a
pass, and a wrong one costs only the time of its rows. No byte depends on this module, which is the only part
of the codec that may read a clock. After Leviathan et al. 2023; the archive's own tokens verify the draft.

`LookupDrafter` drafts from the earlier tokens of the block (match model, n-grams). `Pace` estimates the cost
of a row and the value of a token, which decides where a draft ends.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from nacrith.predictors.match import Match
from nacrith.predictors.ngram import ORDERS, NGram

LONGEST = 32
"""Most tokens of a draft."""

_CONTEXTS = 1 << 13
_PATIENCE = 32.0
"""Time constant, in drafted tokens, of the averages in `Odds`."""

Kind = tuple[int, int]
"""The evidence for a drafted token: (0, class of the match's length) or (order, class of the counts)."""


class Odds:
    """How often drafted tokens of each kind were right; the lanes of a session share it."""

    def __init__(self) -> None:
        self._right: dict[Kind, float] = {}

    def of(self, kind: Kind) -> float:
        return self._right.get(kind, 0.5)

    def learn(self, kind: Kind, right: bool) -> None:
        p = self.of(kind)
        self._right[kind] = p + (right - p) / _PATIENCE


class LookupDrafter:
    """Drafts from earlier tokens of the block: from the match model if it has a match, else from the
    n-grams."""

    def __init__(self, vocab_size: int, odds: Odds) -> None:
        self._ngram = NGram(vocab_size, _CONTEXTS)
        self._match = Match(self._ngram)
        self._odds = odds
        self._kinds: list[Kind] = []
        self._tokens: list[int] = []

    def update(self, token: int) -> None:
        self._ngram.update(token)
        self._match.update(token)
        self._ngram.begin()
        self._match.begin()

    def draft(self, most: int, worth: float) -> list[int]:
        """At most `most` tokens. worth: the least probability of a token that pays for its row."""
        self._kinds, self._tokens = [], []
        likely = 1.0
        for token, kind in islice(self._guesses(), most):
            likely *= self._odds.of(kind)
            self._tokens.append(token)
            self._kinds.append(kind)
            if likely < worth:
                return self._tokens[:-1]
        return self._tokens[:]

    def judge(self, tokens: list[int]) -> None:
        """tokens: those decoded. Counts all guesses up to the first wrong one, whether drafted or not."""
        for guess, kind, token in zip(self._tokens, self._kinds, tokens, strict=False):
            self._odds.learn(kind, guess == token)
            if guess != token:
                break

    def _guesses(self) -> Iterator[tuple[int, Kind]]:
        if self._match.token is not None:
            length = self._match.length
            for i, token in enumerate(self._match.draft(LONGEST)):
                yield token, (0, min(length + i, LONGEST - 1) // 4)
            return
        context: list[int] = []
        while True:
            found = self._ngram.longest(context)
            if found is None:
                return
            order, node = found
            token = node.likeliest(1)[0]
            count = node.count(token)
            yield token, (order, min(count, 3) * 4 + min(node.total - count, 3))
            context = [*context[-ORDERS:], token]


class Pace:
    """The cost of a pass: seconds = fixed + each * rows, fitted with exponentially decaying weights."""

    _DECAY = 0.98

    def __init__(self) -> None:
        # Sums over passes: weight, rows, rows^2, seconds, rows * seconds.
        self._sums = [0.0] * 5

    def observe(self, rows: int, seconds: float) -> None:
        if not self._sums[0]:
            # An invented pass beside the first one: until more are measured, ten more rows double a pass's
            # time.
            self._add(rows, seconds)
            self._add(rows + 10, 2 * seconds)
        self._add(rows, seconds)

    def _add(self, rows: int, seconds: float) -> None:
        for i, value in enumerate((1.0, rows, rows * rows, seconds, rows * seconds)):
            self._sums[i] = self._sums[i] * self._DECAY + value

    def worth(self, lanes: int) -> float:
        """The least probability at which drafting a token pays: the time of its row over the time per token
        of undrafted decoding with this many lanes."""
        w, x, xx, y, xy = self._sums
        spread = w * xx - x * x
        if spread <= 0 or lanes <= 0:
            return 1.0
        each = max(0.0, (w * xy - x * y) / spread)
        fixed = max(0.0, (y - each * x) / w)
        usual = fixed / lanes + each
        return each / usual if usual else 1.0
