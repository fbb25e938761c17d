"""Choosing a token from a row of weights, in integers: the same row, seed and place give the same token
anywhere.

No float of a library decides anything here. A row is divided by the temperature in fixed point, becomes
integer weights through `coder.cdf.weigh` (arithmetic version 1), and one 64-bit random number, a hash of the
seed and of the place in the answer, selects a token by the cumulative sum of these weights in the order of
the ids. The random number depends on nothing else, so speculation, which looks at places in batches, meets
the same draws (the coupling that makes a seeded text independent of the drafter).
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from nacrith import scratch
from nacrith.coder import cdf
from nacrith.errors import DecodingError

SAMPLING_VERSION = 1
"""Raised when the same row, settings and seed would give another token; recorded answers name it."""

LEAST_TEMPERATURE, MOST_TEMPERATURE = 0.01, 100.0
_UNIT = 1 << 16  # of the inverse temperature
_SHARE = 1 << 18  # of top_p and min_p
_LOWEST = -(1 << 30)

I64 = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Sampling:
    """How tokens are chosen. The default is greedy: the heaviest token, of equal ones that of the lowest id.

    temperature: 0 for greedy, else 0.01 to 100. Applied in this order after it: top_k keeps the k heaviest
    tokens (0: all), top_p the fewest heaviest ones that have this share of the sum, min_p those of at least
    this share of the heaviest. Of equal weights the lower id comes first. DecodingError for other values.
    """

    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        t = self.temperature
        if t != 0 and not LEAST_TEMPERATURE <= t <= MOST_TEMPERATURE:
            raise DecodingError(
                f"temperature {t:g}: give 0 for greedy, or {LEAST_TEMPERATURE:g} to {MOST_TEMPERATURE:g}"
            )
        if self.top_k < 0:
            raise DecodingError(f"top_k {self.top_k}: give a number of tokens, or 0 for all")
        for name, share in (("top_p", self.top_p), ("min_p", self.min_p)):
            if not 0 <= share <= 1:
                raise DecodingError(f"{name} {share:g}: give a share from 0 to 1")
        if not -(1 << 63) <= self.seed < 1 << 63:
            raise DecodingError(f"seed {self.seed}: give an integer of 64 bits")

    def choose(self, row: npt.NDArray[np.int32], place: int) -> int:
        """The token at a place of the answer, counted from 0. row: int32 (V,), as of a `Session`."""
        if not self.temperature:
            return int(row.argmax())
        ids, weights = self.candidates(row)
        return int(ids[np.searchsorted(np.cumsum(weights), self.draw(place, int(weights.sum())), "right")])

    def renewed(self, times: int) -> Sampling:
        """The same with random numbers that are independent of these, of every other `times`."""
        key = (
            b"nacrith renewed 1" + self.seed.to_bytes(8, "little", signed=True) + times.to_bytes(8, "little")
        )
        seed = int.from_bytes(hashlib.sha256(key).digest()[:8], "little", signed=True)
        return replace(self, seed=seed) if times else self

    def candidates(self, row: npt.NDArray[np.int32]) -> tuple[I64, I64]:
        """The ids that may be chosen, ascending, and their weights (positive, of a sum of at most 2^43).

        Weights are at most 2^23 and there are at most 2^20 of them.
        """
        top = int(row.argmax())
        inverse = max(1, math.floor(_UNIT / (self.temperature or 1.0) + 0.5))  # below 2^23
        scaled = (
            row.astype(np.int64) - int(row[top])
        ) * inverse >> 16  # magnitude below 2^55 before the shift
        logits = np.maximum(scaled, _LOWEST).astype(np.int32)
        out = scratch.empty("candidates", len(row))
        cdf.weigh(logits, top, out)
        ids = np.flatnonzero(out)
        weights = out[ids].astype(np.int64)
        if self.min_p:
            ids, weights = self._at_least_min_p(ids, weights)
        if 0 < self.top_k < len(ids):
            ids, weights = _heaviest(ids, weights, self.top_k)
        if self.top_p < 1:
            ids, weights = self._in_top_p(ids, weights)
        return ids, weights

    def _at_least_min_p(self, ids: I64, weights: I64) -> tuple[I64, I64]:
        """It keeps a token by the heaviest alone, which no other rule drops, so it may as well come first."""
        return _where(ids, weights, weights * _SHARE >= _fixed(self.min_p) * int(weights.max()))

    def _in_top_p(self, ids: I64, weights: I64) -> tuple[I64, I64]:
        share, total, count = _fixed(self.top_p), int(weights.sum()), 64
        while True:  # most rows need few tokens, which are cheaper to find than to sort all
            some = _heaviest(ids, weights, count) if count < len(ids) else (ids, weights)
            order = np.argsort(-some[1], kind="stable")
            reached = np.cumsum(some[1][order]) * _SHARE >= share * total  # at most 2^61
            if reached[-1] or len(some[0]) == len(ids):
                kept = np.sort(order[: int(reached.argmax()) + 1])
                return some[0][kept], some[1][kept]
            count *= 8

    def draw(self, place: int, total: int, again: int = 0) -> int:
        """A number in 0 .. total - 1, from 64 random bits; its bias is below total / 2^64. again: 1 and more
        for further, independent draws at the place."""
        key = b"nacrith sampling 1" + self.seed.to_bytes(8, "little", signed=True)
        key += place.to_bytes(8, "little") + (again.to_bytes(4, "little") if again else b"")
        return int.from_bytes(hashlib.sha256(key).digest()[:8], "little") * total >> 64


def _fixed(share: float) -> int:
    return math.floor(share * _SHARE + 0.5)


def _where(ids: I64, weights: I64, kept: npt.NDArray[np.bool_]) -> tuple[I64, I64]:
    return ids[kept], weights[kept]


def _heaviest(ids: I64, weights: I64, count: int) -> tuple[I64, I64]:
    """The `count` heaviest, still by ascending ids; of equal weights the lower ids."""
    least = int(np.partition(weights, len(weights) - count)[len(weights) - count])
    kept = weights > least
    equal = np.flatnonzero(weights == least)
    kept[equal[: count - int(kept.sum())]] = True
    return _where(ids, weights, kept)
