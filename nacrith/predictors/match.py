"""Match model: the token that followed the longest earlier occurrence of a lane's present context.

A pointer into the history walks along as long as it is right (Mahoney's lpaq, 2007). It is set again by
the longest context of the n-grams, whose node knows where it occurred last, at any distance.
"""

from __future__ import annotations

from nacrith.predictors.ngram import ORDERS, UNFILLED, NGram

LONGEST = 32
"""Lengths beyond this are not told apart."""

STATES = LONGEST * 2


class Match:
    """Follows `ngram`, whose history it shares, with a pointer for each lane; a pointer may be among the
    tokens of another lane. To be begun and updated after it."""

    def __init__(self, ngram: NGram) -> None:
        self._ngram = ngram
        self._pointers: list[int | None] = [None] * ngram.lanes
        self._lengths = [0] * ngram.lanes  # tokens before a pointer that equal the lane's last ones
        self._lane = 0

    @property
    def token(self) -> int | None:
        """What should come now in the lane that was begun last."""
        pointer = self._pointers[self._lane]
        return None if pointer is None else self._ngram.history[pointer]

    @property
    def length(self) -> int:
        """Tokens before the pointer that equal those before now; at most LONGEST - 1."""
        return self._lengths[self._lane]

    def begin(self, lane: int = 0) -> None:
        """The turn of a lane, which the n-grams have begun: loses a match that leads to a token still to
        come, and sets the pointer where there is none."""
        self._lane = lane
        history, pointer = self._ngram.history, self._pointers[lane]
        if pointer is not None:
            if pointer < len(history) and history[pointer] != UNFILLED:
                return
            pointer = None
        node = self._ngram.nodes[ORDERS]
        if node is not None:
            pointer = node.position
        self._pointers[lane] = pointer
        self._lengths[lane] = 0 if pointer is None else self._agreement(pointer, lane)

    def update(self, token: int, lane: int = 0) -> None:
        """`token` came in the lane that was begun."""
        pointer = self._pointers[lane]
        if pointer is None or self._ngram.history[pointer] != token:
            self._pointers[lane] = None
            self._lengths[lane] = 0
            return
        self._pointers[lane] = pointer + 1
        self._lengths[lane] = min(self._lengths[lane] + 1, LONGEST - 1)

    def _agreement(self, pointer: int, lane: int) -> int:
        """Tokens before the pointer, of whatever lane, that equal the last ones of this lane."""
        history = self._ngram.history
        start, end = self._ngram.span(lane)
        most = min(LONGEST - 1, pointer, end - start)
        length = 0
        while length < most and history[pointer - 1 - length] == history[end - 1 - length]:
            length += 1
        return length

    def state(self, token: int, first: bool) -> int | None:
        """As NGram.state."""
        return self.length * 2 + (not first) if token == self.token else None
