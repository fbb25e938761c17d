"""Drafts for other runtimes that verify one line of tokens: what their adapters have in common.

`planner.Planner` plans trees; a line is the likeliest path through the planned part of one. The runtime
accepts the tokens that it would have chosen itself, so that drafts change its speed only, as far as its own
numbers do not depend on how many tokens a pass has.
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
        self.learns = any(made.wants_rows for made in self._planner.drafters)
        self.passes = self.drafted = self.accepted = 0
        self.text: list[int] = []
        self._tree = Tree()
        self._line: list[int] = []
        self._followers: list[Any] = []
        self._unseen: list[int] = []  # of the text, by the followers
        self._own = 0.0  # seconds since the last pass that drafting took, outside of the runtime

    def begin(self, text: Sequence[int]) -> None:
        """Start a text."""
        self._followers = [drafter.follow() for drafter in self._planner.drafters]
        self.text, self._tree, self._line = list(text), Tree(), []
        self._unseen, self._own = list(text), 0.0

    def go_on(self, tokens: Sequence[int], seconds: float) -> None:
        """The text went on with these tokens, in a pass of the runtime that took this long."""
        begun, right = time.perf_counter(), 0
        while right < min(len(tokens), len(self._line)) and tokens[right] == self._line[right]:
            right += 1
        self._planner.settle(self._tree, tokens)
        self._planner.observe(len(self._line), seconds, self._own)
        self.passes += 1
        self.drafted += len(self._line)
        self.accepted += right
        self.text += tokens
        self._unseen += tokens
        self._own = time.perf_counter() - begun

    def propose(self, most: int) -> list[int]:
        """At most `most` tokens that may come next; the next call is `go_on` or `begin`."""
        begun = time.perf_counter()
        if not self._planner.resting:
            for follower in self._followers:
                follower.extend(self._unseen)
            self._unseen = []
        self._tree = self._planner.plan([self._followers], [most])[0]
        line: list[int] = []
        node = -1
        while (child := _first_child(self._tree, node)) is not None:
            line.append(self._tree.tokens[child])
            node = child
        count = max(size for size in SIZES if size <= len(line))  # sizes whose cost is measured
        self._line = line[:count]
        self._own += time.perf_counter() - begun
        return self._line

    def learn(self, logits: npt.NDArray[np.float32], first: int, tokens: Sequence[int]) -> None:
        """Learn from rows, also of drafts that were refused. logits (n, V): row i is of the token at place
        first + i of `tokens`."""
        if self._planner.resting:
            return
        begun = time.perf_counter()
        rows = [row_of(row, tokens[max(0, first + i - 1) : first + i + 1]) for i, row in enumerate(logits)]
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


def _first_child(tree: Tree, parent: int) -> int | None:
    """The likeliest planned child: nodes are in the order of their chances."""
    return next((node for node in range(parent + 1, tree.size) if tree.parents[node] == parent), None)
