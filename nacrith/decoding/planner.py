"""Decides which tokens to draft: the likeliest tree that all drafters together can grow, as large as it pays.

A node's probability is its parent's times the share of guesses like it that came true so far (`chances`).
Trees grow best first (as EAGLE-2's, Li et al. 2024), so every beginning of the order of growth is itself the
likeliest tree of its size, and the size is the one with the most expected tokens a second by the measured
`CostCurve` (the objective of Parallel Prompt Decoding, Chen et al. 2024). Where no size beats plain decoding
nothing is drafted; guesses are still compared with what comes, now and then, so that drafting starts again
when it would pay. A drafter whose answers cost something is asked about a place if the token that it may save
there is worth more. All of this changes the speed only.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from nacrith.decoding.chances import Chances, Credit, Credits
from nacrith.decoding.cost import SIZES, CostCurve
from nacrith.decoding.drafters.protocol import Drafter, Follower

_LEAST = 0.01  # probability below which no node is worth its bookkeeping
_SLACK = (2.0, 0.7)
"""Of a row's least cost: nodes likelier than this are grown, and the same where nothing was drafted, which
has to notice that guesses come true again. Growing what will not be verified takes time, too."""
_GAIN = 1.05  # what drafting must promise over plain decoding
_FADE = 0.98
_PATIENCE = 8  # passes in a row without drafts, after which the planner rests
_LONG_AGO = 64  # plans without a question, after which a drafter that seems too dear is asked again
_AFRESH = 32  # passes with drafts in a row, after which one without is measured, as it is at first
_NAP = 8  # passes; the planner looks up after each


@dataclass
class Tree:
    """Guesses in the order of growth: a parent before its children, the likelier before the less likely.

    parents: -1 for the end of the text. size: how many of them, from the first, the pass verifies.
    """

    tokens: list[int] = field(default_factory=list)
    parents: list[int] = field(default_factory=list)
    chances: list[float] = field(default_factory=list)
    credits: list[Credits] = field(default_factory=list)
    size: int = 0

    def child(self, parent: int, token: int, below: int) -> int | None:
        """The node among the first `below` with this parent and token."""
        for node in range(parent + 1, below):
            if self.parents[node] == parent and self.tokens[node] == token:
                return node
        return None


class Planner:
    """Plans the trees of the lanes of one session. drafters: asked all; followers are given in their order.

    fixed: draft exactly so many tokens where there are as many guesses, whatever they cost (for benchmarks
    and tests); by default as many as pay.
    """

    def __init__(self, drafters: Sequence[Drafter], fixed: int | None = None) -> None:
        self.drafters = list(drafters)
        self.curve = CostCurve()
        self._fixed = fixed
        self._chances = Chances([drafter.priors for drafter in drafters])
        self._hits = [0.5] * len(drafters)  # how often one of a drafter's guesses about a place came true
        self._unasked = [_LONG_AGO] * len(drafters)  # plans
        self._pass = 1.0  # seconds of a pass without drafts
        self._idle = 0  # passes in a row that drafted nothing
        self._busy = 0  # passes in a row that drafted something
        self._least = _LEAST
        self._overhead = 0.0  # seconds of a pass that drafting takes outside of the model

    @property
    def resting(self) -> bool:
        """Whether drafting has not paid for a while, so that the next pass need not even guess."""
        idle = self._idle - _PATIENCE
        return not self.drafters or (self._fixed is None and idle > 0 and idle % _NAP != 0)

    def observe(self, drafted: int, seconds: float, overhead: float) -> None:
        """Note what a pass took: the model and the choice of tokens, and all else."""
        self.curve.observe(drafted, seconds)
        if overhead:
            self._overhead += 0.2 * (overhead - self._overhead)

    def plan(self, lanes: Sequence[Sequence[Follower]], limits: Sequence[int]) -> list[Tree]:
        """A tree for each lane. limits: the most tokens that each may draft."""
        if self.resting:
            self._idle += 1
            return [Tree() for _ in lanes]
        most = SIZES[-1] if self._fixed is None else self._fixed
        self._least = _LEAST
        if self._fixed is None and self._idle <= _PATIENCE:
            self._least = max(_LEAST, _SLACK[self._idle > 0] * self.curve.slope())
        self._pass = self.curve.seconds()[0]
        self._unasked = [n + 1 for n in self._unasked]
        trees = [self._grow(own, min(limit, most)) for own, limit in zip(lanes, limits, strict=True)]
        order = sorted((-p, lane) for lane, tree in enumerate(trees) for p in tree.chances)
        size = self._size([-p for p, _ in order], len(lanes)) if self._fixed is None else len(order)
        if size and self._fixed is None and (self._busy >= _AFRESH or not self.curve.plain_measured):
            self._busy = 0
            return trees
        for _, lane in order[:size]:
            trees[lane].size += 1
        self._idle, self._busy = (0, self._busy + 1) if size else (self._idle + 1, 0)
        return trees

    def _grow(self, followers: Sequence[Follower], most: int) -> Tree:
        """The `most` likeliest nodes."""
        tree = Tree()
        states: list[list[tuple[int, Any]]] = []
        starts = [(i, follower.start()) for i, follower in enumerate(followers)]
        waiting: list[tuple[float, int, int, int, Credits, list[tuple[int, Any]]]] = []
        self._guess(waiting, followers, -1, 1.0, [(i, s) for i, s in starts if s is not None])
        while waiting and len(tree.tokens) < most:
            chance, _, parent, token, credits, at = heapq.heappop(waiting)
            tree.tokens.append(token)
            tree.parents.append(parent)
            tree.chances.append(-chance)
            tree.credits.append(credits)
            states.append(at)
            self._guess(waiting, followers, len(tree.tokens) - 1, -chance, at)
        return tree

    def _guess(
        self,
        waiting: list[Any],
        followers: Sequence[Follower],
        parent: int,
        chance: float,
        at: Sequence[tuple[int, Any]],
    ) -> None:
        """Put the guesses below a node into the heap, each token once."""
        found: dict[int, tuple[list[Credit], list[tuple[int, Any]]]] = {}
        for i, state in at:
            if not self._worth(i, parent, chance):
                continue
            for token, kind, after in followers[i].guesses(state):
                credits, states = found.setdefault(token, ([], []))
                if not credits or credits[-1][0] != i:  # of a drafter's guesses of a token the first counts
                    credits.append((i, kind))
                    states.append((i, after))
        for token, (credits, states) in found.items():
            likely = chance * self._chances.of(tuple(credits))
            if likely >= self._least:
                heapq.heappush(waiting, (-likely, len(waiting), parent, token, tuple(credits), states))

    def _worth(self, drafter: int, parent: int, chance: float) -> bool:
        """Whether to ask a drafter about the place below `parent`, which the text reaches with `chance`."""
        price = self.drafters[drafter].price
        if not price or self._fixed is not None:
            return True
        again = parent < 0 and self._unasked[drafter] >= _LONG_AGO
        if again or chance * self._hits[drafter] * self._pass > price + self._least * self._pass:
            self._unasked[drafter] = 0
            return True
        return False

    def _size(self, chances: Sequence[float], lanes: int) -> int:
        """How many of these nodes, likeliest first, give the most tokens a second."""
        seconds = self.curve.seconds()
        overhead = self._overhead if self.curve.measured else 0.0
        best, size, expected, done = _GAIN * lanes / seconds[0], 0, float(lanes), 0
        for n, cost in zip(SIZES[1:], seconds[1:], strict=True):
            if n > min(len(chances), self.curve.reach):
                break
            expected += sum(chances[done:n])
            done = n
            if expected / (cost + overhead) > best:
                best, size = expected / (cost + overhead), n
        return size

    def settle(self, tree: Tree, tokens: Sequence[int]) -> None:
        """Compare all guesses of a tree, verified or not, with the tokens that came."""
        parent = -1
        for token in tokens:
            node = None
            asked, hit = set[int](), set[int]()
            for child in range(parent + 1, len(tree.tokens)):
                if tree.parents[child] == parent:
                    right = tree.tokens[child] == token
                    node = child if right else node
                    self._chances.count(tree.credits[child], right)
                    guessed = {drafter for drafter, _ in tree.credits[child]}
                    asked |= guessed
                    hit |= guessed if right else set()
            for drafter in asked:
                self._hits[drafter] += (1 - _FADE) * ((drafter in hit) - self._hits[drafter])
            if node is None:
                return
            parent = node
