"""A model in floats without a library: rows are a hash of what its context holds and of how that came in.

So rows computed in another batch, or after another history, are others, as those of real backends may be;
only a session that always takes the same steps gets the same rows.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np
from small_models import tiny

from nacrith.models.floats.session import Context, Plan, SteppingSession
from nacrith.models.tokenizer.byte_bpe import ByteTokenizer

VOCAB = 512


@lru_cache(1 << 12)
def _logits(seed: bytes, vocab: int) -> np.ndarray:
    made = np.random.default_rng(list(seed)).normal(0, 4, vocab).astype(np.float32)
    made.flags.writeable = False
    return made


class FakeContext:
    """Implements stepping.Context. histories: what each place holds, tokens of one call together."""

    def __init__(self, places: int = 1, vocab: int = VOCAB) -> None:
        self.places, self.vocab = places, vocab
        self.histories: list[list[tuple[int, ...]]] = [[] for _ in range(places)]
        self.primed: list[list[int]] = []

    def prime(self, place: int, tokens: Sequence[int]) -> None:
        self.histories[place] = [tuple(tokens)] if tokens else []
        self.primed.append(list(tokens))

    def step(self, tokens: Sequence[int | None]) -> list[np.ndarray]:
        assert len(tokens) == self.places
        return [self.row(place, token) for place, token in enumerate(tokens)]

    def row(self, place: int, token: int | None) -> np.ndarray:
        if token is None:
            return np.full(self.vocab, np.nan, np.float32)
        history = self.histories[place]
        history.append((token,))
        return _logits(hashlib.sha256(repr((self.places, history)).encode()).digest(), self.vocab)

    def cut(self, place: int, length: int) -> None:
        history = self.histories[place]
        while sum(map(len, history)) > length:
            last = history.pop()
            assert len(last) == 1, "a cut through what was taken in at once"

    def held(self, place: int = 0) -> int:
        return sum(map(len, self.histories[place]))


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

    def __init__(self, start: Callable[[int], Context] = FakeContext, lanes: int = 1, **binding: str) -> None:
        self.start, self.lanes = start, lanes
        self.binding = {"backend": "fake", "threads": "1"} | binding
        self.tokenizer = ByteTokenizer.from_definition(tiny().tokenizer_definition)
        self.sessions: list[int] = []  # the lanes of each

    def prepare(self) -> None:
        pass

    def session(self, lanes: int = 1, window: int | None = None) -> SteppingSession:
        self.sessions.append(lanes)
        plan = Plan.of(window or 64, 64)
        return SteppingSession(lambda: self.start(self.lanes), plan, lanes, VOCAB, self.lanes)
