"""The ensembles in native code: what `ModelAlone` and `Cascade` do, with the same integers, faster.

codecs/ holds the arithmetic (learner/); the Python classes are the reference.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np

from nacrith import native, scratch
from nacrith.arith import F32
from nacrith.native import ensemble
from nacrith.predictors.fixed import exp_table, lg_table
from nacrith.predictors.prior import Prior
from nacrith.predictors.protocol import Intervals, Logits
from nacrith.stateful import Stateful


@cache
def _tables() -> np.ndarray:
    return np.array([lg_table(), exp_table()], np.int64)


class NativeEnsemble(Stateful):
    """The ensemble of one lane. number: 0 for the model alone, 1 for the cascade with `prior`. capacity: of
    the n-grams' generations.

    kernels: a name out of `native.load().kernels()`, or None for the best. Results do not depend on it.
    After an error the ensemble is of no more use.
    """

    def __init__(
        self, number: int, vocab_size: int, capacity: int, prior: Prior | None, kernels: str | None = None
    ) -> None:
        self._library = native.load()
        self._vocab_size = vocab_size
        data = b"" if prior is None else prior.to_bytes()
        self._handle = ensemble.create(self._library, number, vocab_size, capacity, _tables(), data, kernels)
        self._came = -1  # a token to be learnt from, with the next call
        native.release_with(self, self._library, self._handle)

    def counts(self, logits: Logits, lane: int = 0) -> F32:
        """As coder.cdf.counts: integers (V,) of at least 1 that sum to TOTAL. Scratch memory."""
        c: F32 = scratch.empty("counts", self._vocab_size)
        row = np.ascontiguousarray(logits)
        ensemble.counts(self._library, self._handle, self._vocab_size, self._came, row, c)
        self._came = -1
        return c

    def update(self, token: int, lane: int = 0) -> None:
        """The token that came under the counts given last. It is learnt from in the next call."""
        if self._came >= 0:
            raise ValueError("two tokens came under the same counts")
        if not 0 <= token < self._vocab_size:
            raise ValueError(f"token {token} is outside the vocabulary")
        self._came = token

    def intervals(self, rows: Logits, tokens: Sequence[int]) -> Intervals:
        """Counts and updates for n known tokens at once."""
        if len(tokens) == 0:
            return np.empty(0, np.uint32), np.empty(0, np.uint32)
        if self._came >= 0:
            self.counts(rows[0])  # for what it learns; counts change nothing
        return ensemble.encode(
            self._library,
            self._handle,
            self._vocab_size,
            np.ascontiguousarray(rows),
            np.array(tokens, np.int32),
        )
