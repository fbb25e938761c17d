"""Bit histories in a hash table: what each context has seen at each node of a half byte.

A bucket serves one context and one half byte: a check byte and 15 histories, the nodes of a binary tree of
four bits. Four buckets are a line; a context looks through one line and, where none of the four is its own,
takes the one whose first history has seen least (Mahoney's lpaq does the like). codecs/learner/history.hpp.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from nacrith.learner.tables import I64, NEXT, NEXT_LIST

BUCKET, LINE = 16, 64


class Histories:
    """2^bits bytes, bits >= 6."""

    def __init__(self, bits: int) -> None:
        self._lines = np.zeros((1 << bits) // LINE * LINE, np.uint8)
        self._bytes = self._lines.data  # the same, for access one by one
        self._mask = (1 << bits) // LINE - 1
        self._first = np.zeros(0, np.int64)
        self._apart = True

    def take(self, hashes: Sequence[int]) -> None:
        """Makes the buckets of these hashes the present ones, in this order: a later one may take the
        place of an earlier one, and then both write to it."""
        found = [self._find(h) for h in hashes]
        self._first = np.array(found, np.int64)
        self._apart = len(set(found)) == len(found)

    def _find(self, h: int) -> int:
        """Where the 15 histories of a hash begin; all 0 if it is new."""
        table = self._bytes
        start = (h >> 2 & self._mask) * LINE
        check = h >> 24 or 1
        worst, least = start, 256
        for at in range(start, start + LINE, BUCKET):
            if table[at] == check:
                return at + 1
            priority = table[at + 1] if table[at] else -1
            if priority < least:
                worst, least = at, priority
        table[worst : worst + BUCKET] = bytes([check]) + bytes(BUCKET - 1)
        return worst + 1

    def states(self, node: int) -> npt.NDArray[np.uint8]:
        """Of the present buckets at a node, 0..14."""
        return self._lines.take(self._first + node)

    def learn(self, node: int, states: npt.NDArray[np.uint8], bit: int) -> None:
        """states: those of `states(node)`."""
        cells: I64 = self._first + node
        if self._apart:
            self._lines[cells] = NEXT[bit].take(states)
            return
        after = NEXT_LIST[bit]
        for cell in cells.tolist():
            self._bytes[cell] = after[self._bytes[cell]]
