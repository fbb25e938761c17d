"""How likely a guess is, by who guesses it: shares of guesses that came true, kept for each kind of guess and
for each set of drafters that agree.

A drafter's guesses of one kind come true more often where another drafter guesses the same token, and less
often where it guesses another one or none. So the share of a kind is only where the share of a set of kinds
begins; what came of that set itself then outweighs it. Shares follow the latest texts, as old counts fade.
"""

from __future__ import annotations

from collections.abc import Sequence

_PRIOR = 12.0  # weight of a drafter's own estimate, and of the best share of a set's members, in guesses
_FADE = 0.98

Credit = tuple[int, int]
"""A drafter, by its place, and the kind of a guess."""

Credits = tuple[Credit, ...]
"""The drafters that guess a token, by ascending places, and the kinds of their guesses."""


class Chances:
    """priors: of each drafter, the share for each kind (`Drafter.priors`)."""

    def __init__(self, priors: Sequence[Sequence[float]]) -> None:
        self._kinds: dict[Credit, tuple[float, float]] = {  # share, weight in guesses
            (drafter, kind): (share, _PRIOR)
            for drafter, shares in enumerate(priors)
            for kind, share in enumerate(shares)
        }
        self._sets: dict[Credits, tuple[float, float]] = {}  # guesses that came true, all guesses; both fade

    def of(self, credits: Credits) -> float:
        """The probability of a token that these guess."""
        best = max(self._kinds[credit][0] for credit in credits)
        true, total = self._sets.get(credits, (0.0, 0.0))
        return (true + _PRIOR * best) / (total + _PRIOR)

    def count(self, credits: Credits, right: bool) -> None:
        """Note whether a token that these guessed came."""
        for credit in credits:
            share, weight = self._kinds[credit]
            weight *= _FADE
            self._kinds[credit] = (share * weight + right) / (weight + 1), weight + 1
        true, total = self._sets.get(credits, (0.0, 0.0))
        self._sets[credits] = _FADE * true + right, _FADE * total + 1
