"""Rows for nodes: which of them the model has to compute, and in one call.

The nodes asked for, and their ancestors back to the end of the lane, are one token tree. Afterwards the lane
is extended along the path to one of them, so that most nodes cost one position. Where the lane already leads
elsewhere it is rolled back, which costs nothing. With a model that is exact none of this changes a row.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol
from weakref import ref

import numpy as np
import numpy.typing as npt

from nacrith.bytelevel.alphabet import Alphabet
from nacrith.bytelevel.covering import Node
from nacrith.bytelevel.rows import Row
from nacrith.models.protocol import LanguageModel, Logits

_AT_ONCE = 128  # nodes of one call; their logits are in memory together


class Rules(Protocol):
    """What tells which tokens may follow a node: `Covering` or `FreeCovering`."""

    @property
    def alphabet(self) -> Alphabet: ...

    @property
    def root(self) -> Node: ...

    def child(self, node: Node, rank: int) -> Node | None: ...

    def allowed(self, node: Node) -> npt.NDArray[np.bool_]: ...

    def may_follow(self, node: Node, lo: int, hi: int) -> bool: ...

    def can_end(self, node: Node) -> bool: ...


class Evaluator:
    """A session of a model, and the path of nodes that it holds.

    positions: how many positions the model has computed so far; calls: in how many calls.
    """

    def __init__(self, model: LanguageModel, rules: Rules, window: int | None = None) -> None:
        self.rules = rules
        self.positions = self.calls = 0
        self._bos = model.bos_id
        self._session = model.session(1, window)
        self._lane: list[Node] = []
        self._lengths: list[int] = []  # of the lane in tokens, up to each node

    def rows(self, nodes: Sequence[Node]) -> dict[Node, Row]:
        """The rows of `nodes`, computed where nobody holds them any more. The caller has to hold them.
        Afterwards the children of these nodes have probabilities. The lane follows the last one."""
        found: dict[Node, Row] = {}
        missing: list[Node] = []
        for node in dict.fromkeys(nodes):
            if (row := node.held_row) is None:
                missing.append(node)
            else:
                found[node] = row
                _give_all(node, row)
        missing.sort(key=lambda node: node.depth)
        last = nodes[-1] if nodes else None
        for begin in range(0, len(missing), _AT_ONCE):
            part = missing[begin : begin + _AT_ONCE]
            self._compute(part, found, last if last in part else part[-1])
        return found

    def _compute(self, wanted: Sequence[Node], found: dict[Node, Row], last: Node) -> None:
        tree = self._tree(wanted)
        tokens: list[int] = []
        parents: list[int] = []
        ends: dict[Node, int] = {}
        for node in tree:
            above = ends.get(node.parent, -1) if node.parent else -1
            for token in self._ids(node):
                tokens.append(token)
                parents.append(above)
                above = len(tokens) - 1
            ends[node] = above
        self.positions += len(tokens)
        self.calls += 1
        is_chain = all(p == i - 1 for i, p in enumerate(parents))
        rows = (
            self._session.extend([tokens])[0]
            if is_chain
            else self._session.extend_tree([tokens], [parents])[0]
        )
        self._keep(tree if is_chain else self._path(last, ends), None if is_chain else parents, ends)
        chosen = set(wanted)
        for node in tree:
            if node in chosen:
                found[node] = self._filled(node, rows[ends[node]])

    def _ids(self, node: Node) -> tuple[int, ...]:
        """What the model is given for a node's last token: one id, or three for a spelt byte."""
        return self.rules.alphabet.ids_of(node.rank) if node.parent else (self._bos,)

    def _tree(self, wanted: Sequence[Node]) -> list[Node]:
        """The nodes that the session does not hold on the way to those wanted, parents first; rolls the lane
        back to where all of them follow it."""
        attached = len(self._lane)
        for node in wanted:
            at: Node | None = node
            while at is not None and not (at.depth < len(self._lane) and self._lane[at.depth] is at):
                at = at.parent
            # A node in the lane whose row is gone has to be computed again.
            depth = 0 if at is None else at.depth if at is node else at.depth + 1
            attached = min(attached, depth)
        if attached < len(self._lane):
            del self._lane[attached:], self._lengths[attached:]
            self._session.rollback(0, sum(self._lengths[-1:]))
        needed: dict[Node, None] = {}
        for node in wanted:
            at = node
            while at is not None and at not in needed and at.depth >= attached:
                needed[at] = None
                at = at.parent
        return sorted(needed, key=lambda node: node.depth)

    def _path(self, last: Node, ends: dict[Node, int]) -> list[Node]:
        path: list[Node] = []
        at: Node | None = last
        while at is not None and at in ends:
            path.append(at)
            at = at.parent
        return path[::-1]

    def _keep(self, path: list[Node], parents: list[int] | None, ends: dict[Node, int]) -> None:
        """Let the lane follow the path; in a tree by `keep`."""
        if parents is not None:
            places: list[int] = []
            at = ends[path[-1]]
            while at >= 0:
                places.append(at)
                at = parents[at]
            self._session.keep(0, places[::-1])
        for node in path:
            self._lengths.append(sum(self._lengths[-1:]) + len(self._ids(node)))
        self._lane += path

    def _filled(self, node: Node, row: Logits) -> Row:
        weights, stop = self.rules.alphabet.weights(row)
        made = Row(weights, self.rules.allowed(node), stop if self.rules.can_end(node) else 0.0)
        node.row = ref(made)
        _give_all(node, made)
        return made


def _give_all(node: Node, row: Row) -> None:
    for child in list(node.children.values()):
        if child.probability is None:
            give_probability(child, row)


def give_probability(child: Node, row: Row) -> None:
    """Set the probability of a child of the node that the row belongs to. Single IEEE operations only, so
    that it is the same on every machine."""
    assert child.parent is not None
    assert child.parent.probability is not None
    mantissa, exponent = child.parent.probability
    weight = row.between(child.rank, child.rank + 1)
    scaled, shift = math.frexp(mantissa * (weight / row.total))
    child.probability = (scaled, exponent + shift)
