"""A model in floats without a library: rows are a hash of what its context holds and of how that came in.

So rows computed in another batch, or after another history, are others, as those of real backends may be;
only a session that always takes the same steps gets the same rows.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

import numpy as np
from small_models import tiny

from nacrith.models.stepping import Context, Plan, SteppingSession
from nacrith.models.tokenizer import ByteTokenizer

VOCAB = 512


class FakeContext:
    """Implements stepping.Context. history: what it holds, tokens of one call together."""

    def __init__(self, vocab: int = VOCAB) -> None:
        self.vocab = vocab
        self.history: list[tuple[int, ...]] = []
        self.primed: list[list[int]] = []

    def prime(self, tokens: Sequence[int]) -> None:
        self.history = [tuple(tokens)] if tokens else []
        self.primed.append(list(tokens))

    def step(self, token: int) -> np.ndarray:
        self.history.append((token,))
        seed = hashlib.sha256(repr(self.history).encode()).digest()
        return np.random.default_rng(list(seed)).normal(0, 4, self.vocab).astype(np.float32)

    def cut(self, length: int) -> None:
        while sum(map(len, self.history)) > length:
            last = self.history.pop()
            assert len(last) == 1, "a cut through what was taken in at once"

    def __len__(self) -> int:
        return sum(map(len, self.history))


class FakeModel:
    """Implements bound.BoundModel over the tiny model's tokenizer."""

    name = "fake"
    fingerprint = hashlib.sha256(b"fake").digest()
    portable = False
    vocab_size = VOCAB
    bos_id = 0
    max_context = 64
    max_length = 1 << 30
    rollback_limit = 256

    def __init__(self, start: Callable[[], Context] = FakeContext, **binding: str) -> None:
        self.start = start
        self.binding = {"backend": "fake", "threads": "1"} | binding
        self.tokenizer = ByteTokenizer.from_definition(tiny().tokenizer_definition)
        self.lanes: list[int] = []

    def prepare(self) -> None:
        pass

    def session(self, lanes: int = 1, window: int | None = None) -> SteppingSession:
        self.lanes.append(lanes)
        return SteppingSession(self.start, Plan.of(window or 64, 64), lanes, VOCAB)
