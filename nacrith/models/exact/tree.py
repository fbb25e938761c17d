"""Trees of tokens behind the end of a lane: checked, and in the order in which an engine runs them.

That order is preorder: a row comes right before its children, and each child with everything below it
before the next child. Then the ancestors of a row are, for each smaller depth, the latest row of that
depth. So a lane needs one cache slot for each *depth*, which a row takes over from the branch before,
and when its turn comes a row finds its own path in the lane as if there were no other: window, sinks
and running maxima need no thought, and attention knows nothing of trees (unlike the masks of SpecInfer,
Miao et al. 2023). Rows of consecutive depths are attended to together, so a chain costs what `extend`
costs; a pass over the layers may end anywhere. Branches have to be stored twice: what a row puts into
the slot of its depth is gone with the next branch, so its home is a slot of its own, for `keep`.
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
    """`parents` of the rows as the caller counts them; `order`: the same rows in preorder."""

    parents: tuple[int, ...]
    order: I64
    depths: I64  # in preorder; 0 follows the lane's last token

    @classmethod
    def of(cls, lane: int, rows: int, parents: Sequence[int]) -> Tree:
        """ValueError if `parents` are not those of a tree of `rows` rows."""
        if len(parents) != rows:
            raise ValueError(f"lane {lane}: {rows} tokens, but {len(parents)} parents")
        children: list[list[int]] = [[] for _ in range(rows + 1)]  # the last ones are those of -1
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
        """Where in `order` each row of the caller stands."""
        return np.argsort(self.order)

    @lazy
    def above(self) -> I64:
        """Of each row in preorder, the place of its parent; -1 for the lane's end."""
        parents = np.array(self.parents, np.int64)[self.order]
        return np.where(parents < 0, -1, self.places[parents])

    @lazy
    def ends(self) -> I64:
        """Of each row in preorder, one past the last place of what is below it."""
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
        """Without branches: rows can live in the slots of their positions."""
        return self.levels == len(self.parents)

    def as_given(self, rows: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
        """Rows in preorder to rows as the caller counts them."""
        return rows if (self.order[:-1] < self.order[1:]).all() else rows[self.places]

    def path(self, lane: int, path: Sequence[int]) -> I64:
        """Places of the rows of a path. ValueError if it does not lead from -1 to child to child."""
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
    """A tree for each lane, those without tokens included. ValueError if something does not fit."""
    if not len(tokens) == len(parents) == lanes:
        raise ValueError(f"tokens for {len(tokens)} lanes and parents for {len(parents)}, not {lanes}")
    return [Tree.of(i, len(t), p) for i, (t, p) in enumerate(zip(tokens, parents, strict=True))]


class Cache(Protocol):
    """Of a session: the tokens held by each lane, and forgetting the newest of them."""

    @property
    def lengths(self) -> Sequence[int]: ...

    def truncate(self, lane: int, length: int) -> None: ...


class TreeSession(ABC):
    """What the sessions of the Python engines share: lanes, and trees that wait for `keep`."""

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
        """Rows for `ids`, which continue the lanes or, in preorder, are trees behind their ends."""

    @abstractmethod
    def _append(self, lane: int, places: I64) -> None:
        """Make the rows at these places of the lane's tree, in preorder, its continuation."""
