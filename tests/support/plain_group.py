"""Coders of groups that learn nothing: each token by the model's counts alone, in one interval.

They take the place of the real ones where a test is about lanes, passes and payloads: fast in Python, and
plain enough to be read by a decoder that a test writes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from nacrith.codec import group
from nacrith.coder.cdf import counts, interval
from nacrith.coder.range_coder import Decoder, Encoder


class PlainEncoder:
    """seen: (lane, token, row) of all tokens, as they came. learnt: the tokens of a prefix."""

    def __init__(self, lengths: Sequence[int]) -> None:
        self.lengths = lengths
        self.learnt: list[int] = []
        self.seen: list[tuple[int, int, bytes]] = []
        self._encoder = Encoder()

    def encode(self, rows: np.ndarray, lanes: np.ndarray, at: np.ndarray, tokens: np.ndarray) -> None:
        assert len(rows) == len(lanes) == len(at) == len(tokens)
        for lane, row, token in zip(lanes.tolist(), at.tolist(), tokens.tolist(), strict=True):
            self.seen.append((lane, token, rows[row].tobytes()))
            self._encoder.encode(*interval(counts(rows[row]), token))

    def learn(self, rows: np.ndarray, lanes: np.ndarray, at: np.ndarray, tokens: np.ndarray) -> None:
        assert len(rows) == len(tokens)
        assert not lanes.any()
        self.learnt += tokens.tolist()

    def finish(self) -> bytes:
        assert len(self.seen) + len(self.learnt) == sum(self.lengths)
        return self._encoder.finish()


class PlainDecoder:
    def __init__(self, lengths: Sequence[int], payload: bytes) -> None:
        self._decoder = Decoder(payload)
        self._left = list(lengths)

    def learn(self, rows: np.ndarray, lanes: np.ndarray, at: np.ndarray, tokens: np.ndarray) -> None:
        self._left[0] -= len(tokens)

    def decode(self, rows: np.ndarray, lanes: np.ndarray, at: np.ndarray) -> list[int]:
        assert lanes.tolist() == [lane for lane, left in enumerate(self._left) if left], (
            "all lanes that go on"
        )
        for lane in lanes.tolist():
            self._left[lane] -= 1
        return [self._decoder.decode(counts(rows[row])) for row in at.tolist()]


def use(patch: pytest.MonkeyPatch) -> list[PlainEncoder]:
    """In place of the real ones, until the patch is undone. The list will have the encoders."""
    made: list[PlainEncoder] = []

    def encoder(vocabulary: object, params: object, lengths: Sequence[int]) -> PlainEncoder:
        made.append(PlainEncoder(lengths))
        return made[-1]

    patch.setattr(group, "encoder", encoder)
    patch.setattr(group, "decoder", lambda vocabulary, params, lengths, coded: PlainDecoder(lengths, coded))
    return made
