"""Match model: the token that followed the longest earlier occurrence of the present context.

A pointer into the history walks along as long as it is right (Mahoney's lpaq, 2007). It is set again by
the longest context of the n-grams, whose node knows where it occurred last, at any distance.
"""

from __future__ import annotations

from nacrith.predictors.ngram import ORDERS, NGram

LONGEST = 32
"""Lengths beyond this are not told apart."""

STATES = LONGEST * 2


class Match:
    """Follows `ngram`, whose history it shares; to be updated after it."""

    def __init__(self, ngram: NGram) -> None:
        self._ngram = ngram
        self._pointer: int | None = None
        self.length = 0
        """Tokens before the pointer that equal those before now; at most LONGEST - 1."""

    @property
    def token(self) -> int | None:
        """What should come now."""
        return None if self._pointer is None else self._ngram.history[self._pointer]

    def update(self, token: int) -> None:
        """`token` came, and the n-grams know it."""
        history = self._ngram.history
        if self._pointer is not None and history[self._pointer] == token:
            self._pointer += 1
            self.length = min(self.length + 1, LONGEST - 1)
            return
        node = self._ngram.nodes[ORDERS]
        self._pointer = None if node is None else node.position
        self.length = 0
        if self._pointer is not None:
            most = min(LONGEST - 1, self._pointer)
            while (
                self.length < most and history[self._pointer - 1 - self.length] == history[-1 - self.length]
            ):
                self.length += 1

    def state(self, token: int, first: bool) -> int | None:
        """As NGram.state."""
        return self.length * 2 + (not first) if token == self.token else None

    def draft(self, length: int) -> list[int]:
        """The tokens after the pointer."""
        if self._pointer is None:
            return []
        return self._ngram.history[self._pointer : self._pointer + length]
