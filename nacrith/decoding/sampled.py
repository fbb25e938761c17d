"""Lanes whose drafts are drawn from a model and verified by rule R3, in place of `lanes`' rule R1.

At a temperature near 1 more drafts are accepted than by R1. The price is the coupling: the answer of a seed
depends on the drafting model and on the shapes of the trees, so it cannot be recorded for others to check.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from nacrith.decoding.drafters.model import Reader
from nacrith.decoding.drafters.recursive import Ask, Drawn, Recursive, sequences
from nacrith.decoding.lanes import Lanes, Line
from nacrith.decoding.planner import Planner, Tree
from nacrith.decoding.residual import Choices, Choose, Weights, verified
from nacrith.decoding.sampling import Sampling
from nacrith.errors import DecodingError
from nacrith.models.protocol import LanguageModel, Logits

_DRAFTED = 48  # heaviest tokens of a place that are drafted from: a draft's distribution may be any
_SEEN = 256  # tokens of a text's end that the drafting model is given at first


class SampledLanes(Lanes):
    """As `Lanes`, with trees that `drafter` draws. fixed: their shape, for tests and benchmarks."""

    def __init__(
        self,
        model: LanguageModel,
        lanes: int,
        drafter: Recursive,
        window: int | None = None,
        fixed: tuple[int, int] | None = None,
    ) -> None:
        super().__init__(model, lanes, Planner([]), window)
        self._readers = [Reader(drafter.model) for _ in range(lanes)]
        self._begun = [0] * lanes  # where the drafting model's text begins
        self._choices = [Choices(0)] * lanes
        self._drawn: dict[int, Drawn] = {}  # the tree of a lane, by the identity of its `Tree`
        self._shapes = drafter.shapes
        self._fixed = fixed
        self._shape = (0, 0)

    def begin(self, place: int, line: Line) -> None:
        if line.constraint is not None or line.banned.phrases:
            raise DecodingError("drafter rsd takes no constraint and bans no phrase; use model:NAME")
        if line.sampling.temperature:
            line.coupled = False
        self._choices[place] = Choices(line.sampling.seed)
        self._begun[place] = max(1, len(line.prompt) - _SEEN)
        super().begin(place, line)

    def step(self) -> list[tuple[Line, str]]:
        started = time.perf_counter()
        before = sum(len(lane.line.tokens) for lane in self._lanes if lane.line)
        out = super().step()
        tokens = sum(len(line.tokens) for line, _ in out) - before
        self._shapes.observe(self._shape, tokens, time.perf_counter() - started)
        return out

    def _plan(self, places: Sequence[int], lines: Sequence[Line], limits: Sequence[int]) -> list[Tree]:
        self._shape = count, depth = self._fixed or self._shapes.next()
        self._drawn = {}
        trees = []
        for place, line, limit in zip(places, lines, limits, strict=True):
            drawn = Drawn()
            while depth and count * depth > limit:
                count, depth = (count - 1, depth) if count > 1 else (count, depth - 1)
            if depth:
                drawn = sequences(self._asking(place, line), count, depth, self._choices[place])
            size = len(drawn.tokens)
            tree = Tree(drawn.tokens, drawn.parents, [1.0] * size, [() for _ in range(size)], size)
            self._drawn[id(tree)] = drawn
            trees.append(tree)
        return trees

    def _asking(self, place: int, line: Line) -> Ask:
        reader, bos = self._readers[place], self.model.bos_id
        text = [*line.prompt, *line.tokens]
        if len(text) - self._begun[place] > reader.most:
            self._begun[place] = len(text) - _SEEN
        text = [bos, *text[self._begun[place] :]]

        def ask(path: tuple[int, ...]) -> Weights:
            if path[-1:] == (bos,):
                return {}
            found = weights(line.sampling, reader.row([*text, *path])[0])
            kept = sorted(found.items(), key=lambda item: -item[1])[:_DRAFTED]
            return dict(kept)

        return ask

    def _walk(self, line: Line, tree: Tree, rows: Logits) -> tuple[list[int], list[int]]:
        place = next(i for i, lane in enumerate(self._lanes) if lane.line is line)
        drawn, choose = self._drawn[id(tree)], self._choices[place]
        return walked(drawn, lambda node: weights(line.sampling, rows[node + 1]), choose, self.model.bos_id)


def weights(sampling: Sampling, row: Logits) -> Weights:
    """The distribution of a sampling as integers; all of the weight on one token if it is greedy."""
    if not sampling.temperature:
        return {int(row.argmax()): 1}
    ids, heavy = sampling.candidates(row)
    return dict(zip(ids.tolist(), heavy.tolist(), strict=True))


def walked(
    drawn: Drawn, target: Callable[[int], Weights], choose: Choose, bos: int
) -> tuple[list[int], list[int]]:
    """The accepted nodes of a tree, and the tokens: one more. target: the weights below a node."""
    path: list[int] = []
    tokens: list[int] = []
    node = -1
    while True:
        children = drawn.children(node)
        drafts = [drawn.tokens[child] for child in children]
        token, accepted = verified(target(node), drawn.weights.get(node, {}), drafts, choose)
        tokens.append(token)
        if not accepted or token == bos:
            return path, tokens
        node = children[drafts.index(token)]
        path.append(node)
