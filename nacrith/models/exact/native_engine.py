"""The exact engine in native code: what numpy_engine does, with the same integers, faster.

One call into the library for each `extend`, over all lanes. codecs/ holds the arithmetic; here are
arrays and lifetimes.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable, Sequence

import numpy as np

from nacrith.models.exact import native
from nacrith.models.exact.modelfile import ModelFile
from nacrith.models.exact.numpy_engine import ROLLBACK
from nacrith.models.protocol import Logits

BATCH = 256
"""Most rows of one pass through the layers: enough to be bound by arithmetic, not by memory."""


class NativeEngine:
    """Weights of one model, packed for the processor. Stateless: sessions hold the lanes.

    kernels: a name out of `native.load().kernels()`, or None for the best. Results do not depend on it.
    """

    def __init__(self, file: ModelFile, threads: int = 1, kernels: str | None = None) -> None:
        self.config = file.config
        self.library = native.load()
        # the library reads some of these as long as it lives
        self._tensors = {n: np.ascontiguousarray(a) for n, a in file.tensors.items() if n != "tokenizer"}
        self.handle = self.library.create_engine(file.config, self._tensors, kernels, threads)
        destroy = self.library.destroy_engine
        weakref.finalize(self, _release, destroy, self.handle, os.getpid(), self._tensors)

    def session(self, lanes: int, window: int) -> NativeSession:
        return NativeSession(self, lanes, window)


class NativeSession:
    """Lanes over one engine; implements models.protocol.Session."""

    def __init__(
        self, engine: NativeEngine, lanes: int, window: int, *, rollback: int = ROLLBACK, batch: int = BATCH
    ) -> None:
        self.engine = engine
        self.window = window
        self._lanes = lanes
        self._library = engine.library
        self._handle = self._library.create_session(engine.handle, lanes, window, rollback, batch)
        destroy = self._library.destroy_session
        weakref.finalize(self, _release, destroy, self._handle, os.getpid(), engine)

    @property
    def lengths(self) -> Sequence[int]:
        return tuple(self._library.lengths(self._handle, self._lanes).tolist())

    def rollback(self, lane: int, length: int) -> None:
        self._library.rollback(self._handle, lane, length)

    def extend(self, tokens: Sequence[Sequence[int]]) -> list[Logits]:
        if len(tokens) != self._lanes:
            raise ValueError(f"tokens for {len(tokens)} lanes, not {self._lanes}")
        counts = np.array([len(t) for t in tokens], np.int64)
        ids = np.empty(counts.sum(), np.int32)
        rows = np.empty((len(ids), self.engine.config.vocab), np.int32)
        ends = np.cumsum(counts).tolist()
        begins = [0, *ends[:-1]]
        for begin, end, lane in zip(begins, ends, tokens, strict=True):
            ids[begin:end] = lane
        self._library.extend(self._handle, counts, ids, rows)
        return [rows[begin:end] for begin, end in zip(begins, ends, strict=True)]


def _release(destroy: Callable[[int], None], handle: int, process: int, keep: object) -> None:
    """Destroy a handle; `keep` is what had to live until then. A forked child has the memory but not
    the threads that the library would wait for: there the handle is left alone."""
    if os.getpid() == process:
        destroy(handle)
