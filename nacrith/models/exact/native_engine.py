"""The exact engine in native code, which computes the same integers as numpy_engine, but faster.

Each `extend` is one call of the library, for all lanes. The arithmetic is in codecs/; this module manages
arrays and lifetimes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nacrith import native, scratch
from nacrith.models.exact.modelfile import ModelFile
from nacrith.models.exact.numpy_engine import ROLLBACK
from nacrith.models.exact.tree import NONE, Tree, plant
from nacrith.models.protocol import Logits
from nacrith.native import abi, engine
from nacrith.stateful import Stateful

BATCH = 256
"""Maximum rows of one pass through the layers: enough to be limited by arithmetic, not by memory."""


class NativeEngine(Stateful):
    """The weights of one model, packed for the processor. Stateless: sessions hold the lanes.

    kernels: one of `native.load().kernels()`, or None for the best. library: another build than
    `native.load()` finds. Results depend on neither.
    """

    def __init__(
        self,
        file: ModelFile,
        threads: int = 1,
        kernels: str | None = None,
        library: native.Library | None = None,
    ) -> None:
        self.config = file.config
        self.library = library or native.load()
        tensors = {n: np.ascontiguousarray(a) for n, a in file.tensors.items() if n != "tokenizer"}
        # The library packs matrices and scales into memory of its own. It reads the other tensors in place
        # for as long as the engine lives; these are copies, so that the file's memory can be freed.
        read = {
            n: a.copy() for n, a in tensors.items() if n.startswith("embed.") or not n.endswith((".q", ".s"))
        }
        config = file.config
        sizes = {name: int(getattr(config, name)) for name in abi.SIZES}
        self.handle = engine.create(
            self.library, sizes, config.act_limits, config.rms_eps, {**tensors, **read}, kernels, threads
        )
        native.release_with(self, self.library, self.handle, read)

    def session(self, lanes: int, window: int) -> NativeSession:
        return NativeSession(self, lanes, window)


class NativeSession(Stateful):
    """Lanes over one engine; implements models.protocol.Session."""

    def __init__(
        self, made: NativeEngine, lanes: int, window: int, *, rollback: int = ROLLBACK, batch: int = BATCH
    ) -> None:
        self.engine = made
        self.window = window
        self._lengths = [0] * lanes
        self._trees = [NONE] * lanes  # the trees that `keep` may use
        self._library = made.library
        self._rows = scratch.Recycled()
        self._handle = engine.create_session(self._library, made.handle, lanes, window, rollback, batch)
        native.release_with(self, self._library, self._handle, made)

    @property
    def lengths(self) -> Sequence[int]:
        return tuple(self._lengths)

    def rollback(self, lane: int, length: int) -> None:
        engine.rollback(self._library, self._handle, lane, length)
        self._lengths[lane] = length
        self._trees[lane] = NONE

    def extend(self, tokens: Sequence[Sequence[int]]) -> list[Logits]:
        if len(tokens) != len(self._lengths):
            raise ValueError(f"tokens for {len(tokens)} lanes, not {len(self._lengths)}")
        return self._extend(tokens, [NONE] * len(self._lengths), None)

    def extend_tree(self, tokens: Sequence[Sequence[int]], parents: Sequence[Sequence[int]]) -> list[Logits]:
        trees = plant(tokens, parents, len(self._lengths))
        ids = [[t[i] for i in tree.order] for t, tree in zip(tokens, trees, strict=True)]
        rows = self._extend(ids, trees, np.concatenate([NONE.depths, *(tree.depths for tree in trees)]))
        return [tree.as_given(r) for tree, r in zip(trees, rows, strict=True)]

    def keep(self, lane: int, path: Sequence[int]) -> None:
        if not 0 <= lane < len(self._lengths):
            raise ValueError(f"there is no lane {lane}")
        engine.keep(self._library, self._handle, lane, self._trees[lane].path(lane, path))
        self._lengths[lane] += len(path)
        self._trees[lane] = NONE

    def _extend(
        self, tokens: Sequence[Sequence[int]], trees: list[Tree], depths: np.ndarray | None
    ) -> list[Logits]:
        """The rows of tokens that extend lanes or, if `depths` are given, are nodes of trees in preorder."""
        counts = np.array([len(t) for t in tokens], np.int64)
        ids = np.empty(counts.sum(), np.int32)
        rows = self._rows.empty((len(ids), self.engine.config.vocab), np.int32)
        ends = np.cumsum(counts).tolist()
        begins = [0, *ends[:-1]]
        for begin, end, lane in zip(begins, ends, tokens, strict=True):
            ids[begin:end] = lane
        engine.extend(self._library, self._handle, counts, ids, rows, depths)
        if depths is None:
            self._lengths = (counts + self._lengths).tolist()
        self._trees = [new if len(t) else old for old, new, t in zip(self._trees, trees, tokens, strict=True)]
        return [rows[begin:end] for begin, end in zip(begins, ends, strict=True)]
