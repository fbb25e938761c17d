"""Drafts for other runtimes: what their adapters have in common.

`planner.Planner` plans trees; for a runtime that verifies one line of tokens, the line is the likeliest path
through the planned part of one. The runtime accepts the tokens that it would have chosen itself, so that
drafts change its speed only, as far as its own numbers do not depend on how many tokens a pass has.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from nacrith.decoding import Drafter
from nacrith.decoding.cost import SIZES
from nacrith.decoding.drafters import drafters_alone
from nacrith.decoding.drafters.protocol import CANDIDATES, Row
from nacrith.decoding.planner import Planner, Tree

Which = str | Drafter | list[Drafter] | None


class Drafts:
    """Drafts for one text after another. drafter: as of `nacrith.decoding.generate`. vocab: of the model.
    fixed: plan so many tokens, whatever they cost, as `Planner` does.

    passes, drafted, accepted: passes of the runtime, the tokens that were proposed to it, and those that it
    took.
    """

    def __init__(self, drafter: Which, vocab: int, fixed: int | None = None) -> None:
        self._planner = Planner(drafters_alone(drafter, vocab), fixed)
        self.passes = self.drafted = self.accepted = 0
        self.text: list[int] = []
        self._tree = Tree()  # as planned
        self._sent = Tree()  # what the runtime verifies of it
        self._followers: list[Any] = []
        self._unseen: list[int] = []  # of the text, by the followers
        self._own = 0.0  # seconds since the last pass that drafting took, outside of the runtime

    @property
    def learns(self) -> bool:
        """Whether `learn` is of use now."""
        return not self._planner.resting and any(made.wants_rows for made in self._planner.drafters)

    def begin(self, text: Sequence[int]) -> None:
        """Start a text."""
        self._followers = [drafter.follow() for drafter in self._planner.drafters]
        self.text, self._tree, self._sent = list(text), Tree(), Tree()
        self._unseen, self._own = list(text), 0.0

    def go_on(self, tokens: Sequence[int], seconds: float | None) -> None:
        """The text went on with these tokens, in a pass of the runtime that took this long; None for a pass
        that did more than this, such as one of a prompt, which says nothing about the cost of drafts."""
        begun = time.perf_counter()
        node = -1
        for token in tokens:
            child = self._sent.child(node, token, self._sent.size)
            if child is None:
                break
            node = child
            self.accepted += 1
        self._planner.settle(self._tree, tokens)
        if seconds is not None:
            self._planner.observe(self._sent.size, seconds, self._own)
        self.passes += 1
        self.drafted += self._sent.size
        self.text += tokens
        self._unseen += tokens
        self._own = time.perf_counter() - begun

    def propose(self, most: int) -> list[int]:
        """At most `most` tokens that may come next, one after the other; the next call is `go_on` or
        `begin`."""
        return self.propose_tree(most, line=True).tokens

    def propose_tree(self, most: int, line: bool = False) -> Tree:
        """As `propose`, with the choice of several tokens for a place, unless line: the first `size` nodes
        of the tree are to be verified."""
        begun = time.perf_counter()
        if not self._planner.resting:
            for follower in self._followers:
                follower.extend(self._unseen)
            self._unseen = []
        self._tree = self._planner.plan([self._followers], [most])[0]
        self._sent = _likeliest(self._tree) if line else self._tree
        self._own += time.perf_counter() - begun
        return self._sent

    def learn(
        self, logits: npt.NDArray[np.float32], first: int, text: Sequence[int], tree: Tree | None = None
    ) -> None:
        """Learn from rows, also of drafts that were refused. logits (n, V): row i is of the token at place
        first + i of `text`, and those after the text's are of the nodes of `tree`, which follows it."""
        if not self.learns:
            return
        begun = time.perf_counter()
        before = [tuple(text[max(0, i - 1) : i + 1]) for i in range(first, len(text))]
        if tree is not None:
            sent = zip(tree.parents, tree.tokens[: tree.size], strict=False)
            before += [(text[-1] if parent < 0 else tree.tokens[parent], token) for parent, token in sent]
        rows = [row_of(row, ends) for row, ends in zip(logits, before, strict=True)]
        for drafter in self._planner.drafters:
            if drafter.wants_rows:
                drafter.observe(rows)
        self._own += time.perf_counter() - begun


def row_of(logits: npt.NDArray[np.float32], before: Sequence[int]) -> Row:
    """The candidates of natural logarithms (V,), as `drafters.protocol.heaviest` gives them of weights."""
    top = logits.max()
    ids = np.flatnonzero(logits >= top - math.log(64))
    ids = ids[np.argsort(-logits[ids], kind="stable")[:CANDIDATES]]
    shares = np.exp(logits[ids] - top)
    return Row(tuple(before), ids.tolist(), (shares / shares.sum()).tolist())


def _likeliest(tree: Tree) -> Tree:
    """The likeliest path through what is planned, as a tree of one branch."""
    line: list[int] = []
    node = -1
    while (child := _first_child(tree, node)) is not None:
        line.append(tree.tokens[child])
        node = child
    count = max(size for size in SIZES if size <= len(line))  # sizes whose cost is measured
    return Tree(line[:count], list(range(-1, count - 1)), size=count)


def _first_child(tree: Tree, parent: int) -> int | None:
    """The likeliest planned child: nodes are in the order of their chances."""
    return next((node for node in range(parent + 1, tree.size) if tree.parents[node] == parent), None)
