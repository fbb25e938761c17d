"""Trees of tokens behind the end of a lane, of any shape, and the rows that an engine must give for them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from hypothesis import strategies as st

from nacrith.models.exact.modelfile import ModelFile
from nacrith.models.exact.numpy_engine import NumpyEngine


def path_to(node: int, parents: Sequence[int]) -> list[int]:
    """Nodes from the root down to `node`; none for -1."""
    path = []
    while node >= 0:
        path.append(node)
        node = parents[node]
    return path[::-1]


class Reference:
    """One lane of the numpy engine, which knows paths only."""

    def __init__(self, file: ModelFile, window: int) -> None:
        self.session = NumpyEngine(file).session(1, window)

    def extend(self, ids: Sequence[int]) -> np.ndarray:
        return self.session.extend([ids])[0]

    def tree(self, ids: Sequence[int], parents: Sequence[int]) -> np.ndarray:
        """The row of every node, from the path to some leaf below it."""
        length = self.session.lengths[0]
        rows = np.empty((len(ids), self.session.engine.config.vocab), np.int32)
        for leaf in set(range(len(ids))) - set(parents):
            path = path_to(leaf, parents)
            rows[path] = self.extend([ids[n] for n in path])
            self.session.rollback(0, length)
        return rows


@st.composite
def trees(draw: st.DrawFn, most: int = 24) -> list[int]:
    """Parents: chains, stars, bushes, in preorder or any other order."""
    reach = draw(st.sampled_from([1, 2, 5, most]))  # how far back a parent may be; 1: a chain
    parents: list[int] = []
    for n in range(draw(st.integers(0, most))):
        parents.append(draw(st.integers(max(-1, n - reach), n - 1)))
    return parents
