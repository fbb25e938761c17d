"""Token n-grams of several orders: what followed the last 1, 2, ... tokens earlier in this group of lanes.

The lanes of a group share the tables; a context is made of one lane's tokens, and what it knows may come
from any lane. Counts of exact contexts, joined over the orders by absolute discounting (Ney, Essen and Kneser
1994) for ranking; what a count means for coding is learnt in a state map per order. Memory is bounded by two
generations: when the younger has `capacity` contexts, the older is dropped and the younger takes its place; a
context that is used again moves to the younger.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

ORDERS = 5
SUCCESSORS = 16
"""Most successors kept of a context; a new one takes the place of the first of the rarest."""

STATES = 6 * 6 * 2 * 2

UNFILLED = -1
"""In a history: the place of a token that has not come yet."""


class Node:
    """One context. position: index of the token after its latest occurrence."""

    __slots__ = ("counts", "position", "tokens", "total")

    def __init__(self) -> None:
        self.total = 0
        self.position = 0
        self.tokens: list[int] = []
        self.counts: list[int] = []

    def count(self, token: int) -> int:
        return self.counts[self.tokens.index(token)] if token in self.tokens else 0

    def add(self, token: int, position: int) -> None:
        self.total += 1
        self.position = position
        if token in self.tokens:
            self.counts[self.tokens.index(token)] += 1
        elif len(self.tokens) < SUCCESSORS:
            self.tokens.append(token)
            self.counts.append(1)
        else:
            rarest = self.counts.index(min(self.counts))
            self.tokens[rarest] = token
            self.counts[rarest] = 1

    def likeliest(self, n: int) -> list[int]:
        """At most n successors, most frequent first, the older first among equals."""
        order = sorted(range(len(self.tokens)), key=lambda i: -self.counts[i])
        return [self.tokens[i] for i in order[:n]]


class NGram:
    """Counts over one group. capacity: contexts of an order in one generation. lengths: tokens of each lane;
    the last one may outgrow its length, so that one lane alone need not know it.

    history: the tokens of all lanes, one lane behind the other; UNFILLED where they are still to come.
    """

    def __init__(self, vocab_size: int, capacity: int, lengths: Sequence[int]) -> None:
        self.history = [UNFILLED] * sum(lengths)
        self._starts = [0, *accumulate(lengths[:-1])]
        self._ends = list(self._starts)  # of each lane, the index of its next token
        self.nodes: list[Node | None] = [None] * (ORDERS + 1)
        """For each order the node of the context that `begin` was told of; None if it is new or too short."""
        self._capacity = capacity
        self._young: list[dict[tuple[int, ...], Node]] = [{} for _ in range(ORDERS + 1)]
        self._old: list[dict[tuple[int, ...], Node]] = [{} for _ in range(ORDERS + 1)]
        self._floor = (1 << 22) // vocab_size

    @property
    def lanes(self) -> int:
        return len(self._ends)

    def span(self, lane: int) -> tuple[int, int]:
        """Indices of the lane's first token and of its next one."""
        return self._starts[lane], self._ends[lane]

    def begin(self, lane: int = 0) -> None:
        """Look the lane's contexts up, which other lanes may have changed since its last turn."""
        start, end = self.span(lane)
        self.nodes = [None] * (ORDERS + 1)
        for order in range(1, min(ORDERS, end - start) + 1):
            self.nodes[order] = self._find(tuple(self.history[end - order : end]))

    def update(self, token: int, lane: int = 0) -> None:
        start, end = self.span(lane)
        for order in range(1, min(ORDERS, end - start) + 1):
            key = tuple(self.history[end - order : end])
            node = self._young[order].get(key)
            if node is None:
                node = self._old[order].get(key) or Node()
                if len(self._young[order]) == self._capacity:
                    self._old[order] = self._young[order]
                    self._young[order] = {}
                self._young[order][key] = node
            node.add(token, end)
        self.history[end : end + 1] = [token]
        self._ends[lane] += 1

    def _find(self, context: tuple[int, ...]) -> Node | None:
        order = len(context)
        return self._young[order].get(context) or self._old[order].get(context)

    def probability(self, token: int) -> int:
        """Of 2^22: discounted counts, the lower orders as the backing."""
        p = self._floor
        for node in self.nodes[1:]:
            if node is not None:
                seen = max(4 * node.count(token) - 3, 0) << 22
                p = (seen + (3 * len(node.tokens) + 2) * p) // (4 * node.total + 2)
        return p

    def state(self, order: int, token: int, first: bool) -> int | None:
        """State of the map of an order, for the question whether `token` comes now; None: no opinion.
        first: no other candidate was asked about before."""
        node = self.nodes[order]
        if node is None:
            return None
        count = node.count(token)
        recent = self.history[node.position] == token
        return ((_few(count) * 6 + _many(node.total - count)) * 2 + recent) * 2 + (not first)


def _few(n: int) -> int:
    """Class of a token's count: 0, 1, 2, 3-4, 5-8, more."""
    return n if n < 3 else 3 if n < 5 else 4 if n < 9 else 5


def _many(n: int) -> int:
    """Class of the other tokens' count: 0, 1, 2, 3-5, 6-15, more."""
    return n if n < 3 else 3 if n < 6 else 4 if n < 16 else 5
