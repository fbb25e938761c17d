"""Keys and values of every lane, int8, with a window that never has to slide.

A lane's first SINKS positions keep slots 0..SINKS-1 for ever; position p beyond them has slot p - base.
When the slots run out, the newest `keep` positions move to the front (one memmove for many tokens) and
base grows; nothing is recomputed, because keys are stored as rotated for their absolute position.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from nacrith.models.exact.config import SINKS, ExactConfig

I8 = npt.NDArray[np.int8]
F32 = npt.NDArray[np.float32]

_FIRST_SLOTS = 256


class KVCache:
    """Arrays are indexed [layer][lane, kv head, slot]; `k` and `v` have a last axis of head_dim.

    `vmax` holds the largest value scale of a head at this position or before it: attention expresses
    values in units of it (see attention.py).
    """

    def __init__(self, config: ExactConfig, lanes: int, window: int, rollback: int, batch: int) -> None:
        self.config = config
        self.window = window
        self.keep = window + rollback
        self.most = SINKS + self.keep + 2 * batch
        self.lengths = [0] * lanes
        self.base = [0] * lanes
        self.slots = 0
        self.k: list[I8] = []
        self.v: list[I8] = []
        self.k_scale: list[F32] = []
        self.v_scale: list[F32] = []
        self.v_max: list[F32] = []
        for _ in range(config.layers):
            shape = (lanes, config.kv_heads, 0)
            for values in (self.k, self.v):
                values.append(np.empty((*shape, config.head_dim), np.int8))
            for scales in (self.k_scale, self.v_scale, self.v_max):
                scales.append(np.empty(shape, np.float32))

    def slot(self, lane: int, position: int) -> int:
        return position if position < SINKS else position - self.base[lane]

    def reserve(self, lane: int, count: int) -> None:
        """Make room for `count` <= batch further positions of a lane."""
        end = self.lengths[lane] - self.base[lane] + count
        if end <= self.slots:
            return
        if end > self.most:
            self._compact(lane)
            end = self.lengths[lane] - self.base[lane] + count
        if end > self.slots:
            self._grow(min(self.most, max(end, 2 * self.slots, _FIRST_SLOTS)))

    def truncate(self, lane: int, length: int) -> None:
        """Forget what follows the first `length` tokens. ValueError if older ones would be needed that
        the lane no longer holds; the newest `rollback` tokens, or all of them, can always go."""
        if not 0 <= length <= self.lengths[lane]:
            raise ValueError(f"lane {lane} holds {self.lengths[lane]} tokens, not {length}")
        oldest = self.base[lane] + SINKS  # of those beyond the sinks that are still held
        if length == 0:
            self.base[lane] = 0
        elif self.base[lane] and length < oldest + self.window - SINKS:
            raise ValueError(f"lane {lane} cannot go back to {length} tokens: the window has moved on")
        self.lengths[lane] = length

    def _arrays(self) -> Iterator[list[npt.NDArray[Any]]]:
        yield from (self.k, self.v, self.k_scale, self.v_scale, self.v_max)

    def _compact(self, lane: int) -> None:
        shift = self.lengths[lane] - self.keep - SINKS - self.base[lane]
        last = self.lengths[lane] - self.base[lane]
        for arrays in self._arrays():
            for a in arrays:
                a[lane, :, SINKS : last - shift] = a[lane, :, SINKS + shift : last].copy()
        self.base[lane] += shift

    def _grow(self, slots: int) -> None:
        for arrays in self._arrays():
            for i, old in enumerate(arrays):
                new = np.zeros((*old.shape[:2], slots, *old.shape[3:]), old.dtype)
                new[:, :, : self.slots] = old
                arrays[i] = new
        self.slots = slots
