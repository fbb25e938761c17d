"""Token trees (speculative drafts) that continue a lane: validation, and the order of evaluation.

Engines evaluate a tree in preorder: each row precedes its children, and each child with all its descendants
precedes the next child. So the ancestors of a row are the latest rows of all smaller depths, and one KV slot
for each *depth* suffices: a row overwrites the slot that the previous branch used. When a row is evaluated,
the slots contain exactly its own path, as if there were no other branches. Window, sinks and running maxima
need no special case, and attention needs no tree masks (unlike SpecInfer, Miao et al. 2023). Rows of
consecutive depths are evaluated together, so a chain costs as much as `extend`, and a pass through the layers
may end at any row. Branches are stored twice: since the next branch overwrites the slot of a depth, every row
also has a slot of its own, its home, from which `keep` copies it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from nacrith.lazy import lazy
from nacrith.models.protocol import Logits

I64 = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Tree:
    """A tree. `parents` uses the caller's numbering of the rows; `order` lists the same rows in preorder."""

    parents: tuple[int, ...]
    order: I64
    depths: I64  # in preorder; 0 for a row that follows the lane's last token

    @classmethod
    def of(cls, lane: int, rows: int, parents: Sequence[int]) -> Tree:
        """The tree with these parents; ValueError if they do not describe a tree of `rows` rows."""
        if len(parents) != rows:
            raise ValueError(f"lane {lane}: {rows} tokens, but {len(parents)} parents")
        children: list[list[int]] = [[] for _ in range(rows + 1)]  # the last entry is for parent -1
        depth = [-1] * (rows + 1)
        for row, parent in enumerate(parents):
            if not -1 <= parent < row:
                raise ValueError(f"lane {lane}: the parent of row {row} is {parent}, not in -1..{row - 1}")
            children[parent].append(row)
            depth[row] = depth[parent] + 1
        order: list[int] = []
        waiting = children[-1][::-1]
        while waiting:
            row = waiting.pop()
            order.append(row)
            waiting += children[row][::-1]
        return cls(tuple(parents), np.array(order, np.int64), np.array([depth[n] for n in order], np.int64))

    @lazy
    def places(self) -> I64:
        """The place of each row of the caller in `order`."""
        return np.argsort(self.order)

    @lazy
    def above(self) -> I64:
        """For each row in preorder, the place of its parent; -1 for the end of the lane."""
        parents = np.array(self.parents, np.int64)[self.order]
        return np.where(parents < 0, -1, self.places[parents])

    @lazy
    def ends(self) -> I64:
        """For each row in preorder, one past the place of its last descendant."""
        ends = list(range(1, len(self.parents) + 1))
        for place, parent in reversed([*enumerate(self.above.tolist())]):
            if parent >= 0:
                ends[parent] = max(ends[parent], ends[place])
        return np.array(ends, np.int64)

    @lazy
    def levels(self) -> int:
        return int(self.depths.max(initial=-1)) + 1

    @property
    def is_chain(self) -> bool:
        """Whether the tree has no branches; rows are then stored in the slots of their positions only."""
        return self.levels == len(self.parents)

    def as_given(self, rows: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
        """Reorder rows from preorder to the caller's numbering."""
        return rows if (self.order[:-1] < self.order[1:]).all() else rows[self.places]

    def path(self, lane: int, path: Sequence[int]) -> I64:
        """The places of a path's rows. ValueError unless it starts at -1 and goes from parent to child."""
        above = -1
        for row in path:
            if not 0 <= row < len(self.parents) or self.parents[row] != above:
                raise ValueError(
                    f"lane {lane}: {list(path)} is not a path of its tree of {len(self.parents)} rows:"
                    f" {row} does not follow {above}"
                )
            above = row
        return self.places[list(path)]


NONE = Tree.of(0, 0, ())


def plant(tokens: Sequence[Sequence[int]], parents: Sequence[Sequence[int]], lanes: int) -> list[Tree]:
    """A tree for each lane, possibly empty. ValueError if tokens and parents do not match."""
    if not len(tokens) == len(parents) == lanes:
        raise ValueError(f"tokens for {len(tokens)} lanes and parents for {len(parents)}, not {lanes}")
    return [Tree.of(i, len(t), p) for i, (t, p) in enumerate(zip(tokens, parents, strict=True))]


class Cache(Protocol):
    """The part of a KV cache that `TreeSession` uses: the lengths of the lanes, and truncation."""

    @property
    def lengths(self) -> Sequence[int]: ...

    def truncate(self, lane: int, length: int) -> None: ...


class TreeSession(ABC):
    """The common base of the Python engines' sessions: lanes, and the trees that `keep` may use."""

    cache: Cache
    trees: list[Tree]

    @property
    def lengths(self) -> Sequence[int]:
        return tuple(self.cache.lengths)

    def rollback(self, lane: int, length: int) -> None:
        self._check_lane(lane)
        self.cache.truncate(lane, length)
        self.trees[lane] = NONE

    def extend_tree(self, tokens: Sequence[Sequence[int]], parents: Sequence[Sequence[int]]) -> list[Logits]:
        trees = plant(tokens, parents, len(self.trees))
        ids = [np.asarray(t, np.int64)[tree.order] for t, tree in zip(tokens, trees, strict=True)]
        return [tree.as_given(rows) for tree, rows in zip(trees, self._extend(ids, trees), strict=True)]

    def keep(self, lane: int, path: Sequence[int]) -> None:
        self._check_lane(lane)
        self._append(lane, self.trees[lane].path(lane, path))
        self.trees[lane] = NONE

    def _check_lane(self, lane: int) -> None:
        if not 0 <= lane < len(self.trees):
            raise ValueError(f"there is no lane {lane}")

    @abstractmethod
    def _extend(self, ids: list[I64], trees: list[Tree] | None) -> list[Logits]:
        """The rows of `ids`, which extend the lanes or, if `trees` are given, are their nodes in preorder."""

    @abstractmethod
    def _append(self, lane: int, places: I64) -> None:
        """Append to the lane the rows at these preorder places of its tree."""
