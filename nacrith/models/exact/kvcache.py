"""The KV cache of the numpy engine: int8 keys and values of all lanes, with a sliding window.

The first SINKS positions of a lane keep the slots 0..SINKS-1; a later position p has slot p - base. When a
lane runs out of slots, its newest `keep` positions are moved to the front (one memmove for many tokens) and
base is increased. Nothing is recomputed, since keys are stored rotated for their absolute position.

The branches of a token tree take turns in the slots of the positions after the lane's end. Behind these,
every row of the tree has a slot of its own, its home (see tree.py).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from nacrith.models.exact.config import SINKS, ExactConfig
from nacrith.models.exact.tree import I64, Tree

I8 = npt.NDArray[np.int8]
F32 = npt.NDArray[np.float32]

_FIRST_SLOTS = 256


@dataclass(frozen=True)
class Piece:
    """Rows at consecutive positions of a lane, stored at `homes` and read by attention at `slots`."""

    lane: int
    row: int  # index of the first row in the pass
    positions: I64
    slots: I64
    homes: I64  # equal to `slots`, except for trees with branches


class KVCache:
    """Arrays are indexed [layer][lane, kv head, slot]; `k` and `v` have a last axis of head_dim.

    `v_max` holds the largest value scale of a head up to and including a position; attention normalises
    values by it (see attention.py).
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

    def piece(self, lane: int, row: int, positions: I64, homes: I64 | None = None) -> Piece:
        """The piece of rows at consecutive positions. homes: by default the slots of the positions."""
        slots = np.where(positions < SINKS, positions, positions - self.base[lane])
        return Piece(lane, row, positions, slots, slots if homes is None else homes)

    def tree_pieces(self, lane: int, row: int, tree: Tree, places: I64) -> list[Piece]:
        """The pieces of a tree's rows: a new one begins wherever a row is not a child of the row before."""
        depths = tree.depths[places]
        pieces = []
        for part in np.split(np.arange(len(places)), np.flatnonzero(np.diff(depths) != 1) + 1):
            homes = None if tree.is_chain else self._homes(lane, tree, places[part])
            pieces.append(self.piece(lane, row + int(part[0]), self.lengths[lane] + depths[part], homes))
        return pieces

    def append(self, lane: int, tree: Tree, places: I64) -> None:
        """Extend the lane by a path of its tree."""
        if len(places) and not tree.is_chain:
            positions = self.lengths[lane] + np.arange(len(places))
            piece = self.piece(lane, 0, positions, self._homes(lane, tree, places))
            for layer in range(self.config.layers):
                self.settle(layer, piece)
        self.lengths[lane] += len(places)

    def _homes(self, lane: int, tree: Tree, places: I64) -> I64:
        return places + self.slot(lane, self.lengths[lane] + tree.levels)

    def settle(self, layer: int, piece: Piece) -> None:
        """Copy keys and values from the homes of the rows to the slots of their positions."""
        lane, slots = piece.lane, piece.slots
        if piece.homes is not piece.slots:
            for arrays in (self.k, self.v, self.k_scale, self.v_scale):
                values = arrays[layer][lane]
                values[:, slots] = values[:, piece.homes]
        high = self.v_scale[layer][lane][:, slots]
        v_max = self.v_max[layer][lane]
        if piece.positions[0]:
            before = v_max[:, self.slot(lane, int(piece.positions[0]) - 1)]
            np.maximum(high[:, 0], before, out=high[:, 0])
        v_max[:, slots] = np.maximum.accumulate(high, axis=1)

    def reserve_tree(self, lane: int, tree: Tree) -> None:
        """Reserve slots for the positions and homes of a tree's rows."""
        self.reserve(lane, tree.levels if tree.is_chain else tree.levels + len(tree.parents))

    def reserve(self, lane: int, count: int) -> None:
        """Reserve slots for `count` further positions of a lane; the content after its end may be lost."""
        end = self.lengths[lane] - self.base[lane] + count
        if end <= self.slots:
            return
        if end > self.most:
            self._compact(lane)
            end = self.lengths[lane] - self.base[lane] + count
        if end > self.slots:
            self._grow(max(end, min(self.most, max(2 * self.slots, _FIRST_SLOTS))))

    def truncate(self, lane: int, length: int) -> None:
        """Truncate a lane to its first `length` tokens. ValueError if its window would then need tokens that
        the cache no longer holds; the newest `rollback` tokens, or all, can always be removed."""
        if not 0 <= length <= self.lengths[lane]:
            raise ValueError(f"lane {lane} holds {self.lengths[lane]} tokens, not {length}")
        oldest = self.base[lane] + SINKS  # the oldest position after the sinks that is still held
        if length == 0:
            self.base[lane] = 0
        elif self.base[lane] and length < oldest + self.window - SINKS:
            raise ValueError(f"lane {lane} cannot go back to {length} tokens: the window has moved on")
        self.lengths[lane] = length

    def _arrays(self) -> Iterator[list[npt.NDArray[Any]]]:
        yield from (self.k, self.v, self.k_scale, self.v_scale, self.v_max)

    def _compact(self, lane: int) -> None:
        shift = self.lengths[lane] - self.keep - SINKS - self.base[lane]
        if shift <= 0:  # a large tree needs the slots
            return
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
