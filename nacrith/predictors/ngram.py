"""Token n-grams of several orders: what followed the last 1, 2, ... tokens earlier in this block.

Counts of exact contexts, joined over the orders by absolute discounting (Ney, Essen and Kneser 1994)
for ranking; what a count means for coding is learnt in a state map per order. Memory is bounded by
two generations: when the younger has `capacity` contexts, the older is dropped and the younger takes
its place; a context that is used again moves to the younger.
"""

from __future__ import annotations

from collections.abc import Sequence

ORDERS = 5
SUCCESSORS = 16
"""Most successors kept of a context; a new one takes the place of the first of the rarest."""

STATES = 6 * 6 * 2 * 2


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
    """Counts over one block. capacity: contexts of an order in one generation."""

    def __init__(self, vocab_size: int, capacity: int) -> None:
        self.history: list[int] = []
        self.nodes: list[Node | None] = [None] * (ORDERS + 1)
        """For each order the node of the present context; None if it is new or too short."""
        self._capacity = capacity
        self._young: list[dict[tuple[int, ...], Node]] = [{} for _ in range(ORDERS + 1)]
        self._old: list[dict[tuple[int, ...], Node]] = [{} for _ in range(ORDERS + 1)]
        self._floor = (1 << 22) // vocab_size

    def update(self, token: int) -> None:
        n = len(self.history)
        for order in range(1, min(ORDERS, n) + 1):
            key = tuple(self.history[n - order :])
            node = self._young[order].get(key)
            if node is None:
                node = self.nodes[order] or Node()
                if len(self._young[order]) == self._capacity:
                    self._old[order] = self._young[order]
                    self._young[order] = {}
                self._young[order][key] = node
            node.add(token, n)
        self.history.append(token)
        for order in range(1, min(ORDERS, n + 1) + 1):
            key = tuple(self.history[n + 1 - order :])
            self.nodes[order] = self._young[order].get(key) or self._old[order].get(key)

    def last(self, order: int) -> int | None:
        """The token that followed the present context last time."""
        node = self.nodes[order]
        return None if node is None else self.history[node.position]

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

    def longest(self, context: Sequence[int] = ()) -> tuple[int, Node] | None:
        """The highest order that knows its context, and the node; `context` follows the history."""
        tokens = [*self.history[-ORDERS:], *context][-ORDERS:]
        for order in range(len(tokens), 0, -1):
            key = tuple(tokens[-order:])
            node = self._young[order].get(key) or self._old[order].get(key)
            if node is not None:
                return order, node
        return None

    def draft(self, length: int, context: Sequence[int] = ()) -> list[int]:
        """The likeliest continuation by the longest known contexts; may be shorter than `length`.
        context: tokens assumed to follow the history."""
        tokens: list[int] = []
        while len(tokens) < length and (found := self.longest([*context, *tokens])) is not None:
            tokens += found[1].likeliest(1)
        return tokens


def _few(n: int) -> int:
    """Class of a token's count: 0, 1, 2, 3-4, 5-8, more."""
    return n if n < 3 else 3 if n < 5 else 4 if n < 9 else 5


def _many(n: int) -> int:
    """Class of the other tokens' count: 0, 1, 2, 3-5, 6-15, more."""
    return n if n < 3 else 3 if n < 6 else 4 if n < 16 else 5
