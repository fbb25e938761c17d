"""Attention of the torch engine: the KV cache on the device, and the attention of one pass.

The arithmetic is that of attention.py, with integer products in binary64, whose precision no setting of torch
reduces (torch_ops.py). The storage differs: slots form a ring, since exact sums do not depend on the order of
keys, and each pass gathers the slots that its rows see.

The rows of a pass are nodes of token trees that continue lanes, in preorder (tree.py). Tokens that extend a
lane are a chain, a tree without branches, which is kept right after its pass. Every row is stored in a slot
of its own, its home, and copied into the ring when it is kept. So all branches of a tree are evaluated
together, with masks as in SpecInfer (Miao et al. 2023): a row sees the lane and its own ancestors.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from nacrith.models.exact.config import SINKS, ExactConfig
from nacrith.models.exact.ops import INT8_MAX
from nacrith.models.exact.rope import LOW
from nacrith.models.exact.torch_ops import LOG2E, divide, exp2, quantise, rotate
from nacrith.models.exact.tree import I64, Tree

_PEAK, _MASS, _MASKED = 12.0, float(1 << 16), -1e30  # as in attention.py
_FIRST_SLOTS = 256
_SCORES = {"cpu": 1 << 20, "cuda": 1 << 24}
"""Maximum scores of one task: they fit the cache of a CPU, or occupy a GPU within half a gigabyte."""
_TENSORS = ("k", "v", "k_scale", "v_scale", "v_max")


class RingCache:
    """The KV cache of all lanes; tensors are indexed [layer, lane, slot, kv head].

    Position p has slot p if it is a sink, else SINKS + (p - SINKS) % ring. The homes follow the `slots` of
    the positions: the row n of a tree, in preorder, has home slots + n. `v_max` is the largest value scale of
    a head up to and including a position.
    """

    def __init__(
        self, config: ExactConfig, lanes: int, window: int, rollback: int, device: torch.device
    ) -> None:
        self.window = window
        self.ring = window - SINKS + rollback
        self.lengths = [0] * lanes
        self.ends = [0] * lanes  # one past the last position written since the lane was empty
        self.slots = SINKS
        shape = (config.layers, lanes, SINKS, config.kv_heads)
        self.k, self.v = (
            torch.zeros((*shape, config.head_dim), dtype=torch.int8, device=device) for _ in range(2)
        )
        self.k_scale, self.v_scale, self.v_max = (
            torch.zeros(shape, dtype=torch.float32, device=device) for _ in range(3)
        )

    def slot(self, positions: Tensor) -> Tensor:
        return torch.where(positions < SINKS, positions, (positions - SINKS) % self.ring + SINKS)

    def append(self, lanes: Sequence[int], paths: Sequence[I64]) -> None:
        """Extend lanes by paths of their trees, given by the places of the rows."""
        counts = np.array([len(path) for path in paths])
        before = np.array([self.lengths[lane] for lane in lanes])
        ends, most = before + counts, SINKS + self.ring
        need = min(int(ends.max()), most)
        if need > self.slots:
            self._grow(min(max(need, 2 * self.slots, _FIRST_SLOTS), most), self.homes)
        place = np.concatenate(paths)
        position = np.arange(len(place)) + np.repeat(before - np.cumsum(counts) + counts, counts)
        newest = (position < SINKS) | (position >= np.repeat(ends, counts) - self.ring)  # one for each slot
        moves = np.stack([np.repeat(lanes, counts), position, place])[:, newest]
        lane_of, to, home = torch.tensor(moves, device=self.k.device)
        to, home = self.slot(to), home + self.slots
        for name in _TENSORS:
            stored = getattr(self, name)
            stored[:, lane_of, to] = stored[:, lane_of, home]
        for lane, end in zip(lanes, ends.tolist(), strict=True):
            self.ends[lane] = max(self.ends[lane], end)
            self.lengths[lane] = end

    @property
    def homes(self) -> int:
        return self.k.shape[2] - self.slots

    def reserve_homes(self, rows: int) -> None:
        """Reserve homes for trees of so many rows; the trees that `keep` may use stay."""
        if rows > self.homes:
            self._grow(self.slots, max(rows, 2 * self.homes))

    def _grow(self, slots: int, homes: int) -> None:
        grown = []
        for name in _TENSORS:
            old = getattr(self, name)
            new = old.new_zeros(
                (*old.shape[:2], slots + homes, *old.shape[3:])
            )  # masked slots must be finite
            new[:, :, : self.slots] = old[:, :, : self.slots]
            new[:, :, slots : slots + self.homes] = old[:, :, self.slots :]
            grown.append(new)
        self.k, self.v, self.k_scale, self.v_scale, self.v_max = grown
        self.slots = slots

    def truncate(self, lane: int, length: int) -> None:
        """Truncate a lane to its first `length` tokens. ValueError if its window would then need tokens that
        were overwritten; the newest `rollback` of the tokens ever written, or all, can always be removed."""
        if not 0 <= lane < len(self.lengths):
            raise ValueError(f"there is no lane {lane}")
        if not 0 <= length <= self.lengths[lane]:
            raise ValueError(f"lane {lane} holds {self.lengths[lane]} tokens, not {length}")
        if length <= SINKS:
            self.ends[lane] = length
        elif max(SINKS, length - (self.window - SINKS) + 1) + self.ring < self.ends[lane]:
            raise ValueError(f"lane {lane} cannot go back to {length} tokens: the window has moved on")
        self.lengths[lane] = length


class Piece(NamedTuple):
    """`size` rows of a lane's tree from place `first` on; the rows before it are stored already."""

    lane: int
    tree: Tree
    first: int
    size: int


class _Task(NamedTuple):
    """An attention task: r rows of each of B lanes, consecutive in the pass, over n slots of each lane."""

    rows: slice
    lanes: Tensor  # (B, 1)
    slots: Tensor  # (B, n)
    sinks: int  # the number of sinks, which are the first of the slots
    hidden: Tensor  # (B, 1, 1, r, n), the slots that a row does not see


class Pass:
    """What all layers of one pass have in common. The pieces must be sorted by size."""

    def __init__(
        self,
        cache: RingCache,
        config: ExactConfig,
        tables: tuple[Tensor, Tensor],
        pieces: Sequence[Piece],
    ) -> None:
        self.cache = cache
        self.config = config
        self.device = tables[0].device
        cache.reserve_homes(max(p.first + p.size for p in pieces))
        counts = np.array([p.size for p in pieces])
        starts = np.cumsum(counts) - counts  # the first row of each piece
        # for each row; `up` is its parent if that is in the pass, or else the row itself
        lane = np.repeat([p.lane for p in pieces], counts)
        held = np.repeat([cache.lengths[p.lane] for p in pieces], counts)
        row = np.arange(len(lane))
        place = row - np.repeat(starts - [p.first for p in pieces], counts)
        above = np.concatenate([p.tree.above[p.first : p.first + p.size] for p in pieces])
        position = held + np.concatenate([p.tree.depths[p.first : p.first + p.size] for p in pieces])
        up = np.where(above >= np.repeat([p.first for p in pieces], counts), row - place + above, row)
        self.lane, self.position, home, last, parent = self._put(
            np.stack([lane, position, cache.slots + place, held - 1, cache.slots + above])
        )
        self.home = home
        # the slot of the maximum before a row; `first`: it is not computed in this pass
        self.before = torch.where(parent >= cache.slots, parent, cache.slot(last.clamp_min(0)))
        self.first = self._put((up == row) & (position > 0))[:, None]
        # pointer doubling: the ancestor 1, 2, 4, ... levels up, but none before the first in the pass
        self.jumps: list[Tensor] = []
        while (up != row).any():
            self.jumps.append(self._put(up))
            up, row = up[up], up
        self.rotation = _rotation(tables, self.position)
        # of queries beyond the window, for the sinks; None if there are none
        self.sink_rotation = None
        if position.max() >= cache.window:
            self.sink_rotation = _rotation(tables, self.position.clamp_max(cache.window - 1))
        self.tasks: list[_Task] = []
        for count in np.unique(counts).tolist():
            alike = np.flatnonzero(counts == count)
            self.tasks += self._cut(int(starts[alike[0]]), [pieces[i] for i in alike.tolist()])

    def attention(self, layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Store keys and values (rows, kv heads, dim) of a layer, then compute attention, shaped like q."""
        cache, config = self.cache, self.config
        v_max = self._store(layer, rotate(k, *self.rotation), v)
        c = float(np.float32(LOG2E) / np.sqrt(np.float32(config.head_dim)))
        rotations = [self.rotation] if self.sink_rotation is None else [self.rotation, self.sink_rotation]
        queries = []
        for rotation in rotations:
            integers, scale = quantise(rotate(q, *rotation), INT8_MAX)
            queries.append((integers.double(), scale * c))
        out = torch.empty_like(q)
        for task in self.tasks:
            at = task.lanes, task.slots
            keys = [a[layer][at] for a in (cache.k, cache.v, cache.k_scale, cache.v_scale)]
            rows = [(integers[task.rows], factor[task.rows]) for integers, factor in queries]
            out[task.rows] = self._attend(task, rows, v_max[task.rows], *keys)
        return out

    def _attend(
        self,
        task: _Task,
        queries: list[tuple[Tensor, Tensor]],
        v_max: Tensor,
        k: Tensor,
        v: Tensor,
        k_scale: Tensor,
        v_scale: Tensor,
    ) -> Tensor:
        """Outputs (B * r, heads, dim). queries: integers and factors (B * r, heads, dim or 1), followed by
        those for the sinks if they differ; v_max (B * r, kv); k, v (B, n, kv, dim); scales (B, n, kv)."""
        lanes, _, _, rows, n = task.hidden.shape
        heads, kv, dim = self.config.heads, self.config.kv_heads, self.config.head_dim
        group = heads // kv

        def by_head(a: Tensor) -> Tensor:
            """(B * r, heads, x) -> (B, kv, group * r, x)."""
            split = a.view(lanes, rows, kv, group, a.shape[-1]).permute(0, 2, 3, 1, 4)
            return split.reshape(lanes, kv, group * rows, a.shape[-1])

        keys = k.permute(0, 2, 3, 1).double()
        k_scale = k_scale.permute(0, 2, 1)[:, :, None]  # (B, kv, 1, n)
        v_scale = v_scale.permute(0, 2, 1)[:, :, None]
        parts = []  # |q . k| <= 127^2 * dim < 2^24
        for (integers, factor), end in zip(queries, (n, task.sinks), strict=False):
            scores = (by_head(integers) @ keys[..., :end]).float()
            parts.append(scores.mul_(k_scale[..., :end]).mul_(by_head(factor)))
        t = parts[0]
        if len(parts) == 2:
            t[..., : task.sinks] = parts[1]
        t.view(lanes, kv, group, rows, n).masked_fill_(task.hidden, _MASKED)
        e = exp2(t.sub_(t.amax(-1, keepdim=True) - _PEAK)).round_()
        total = e.sum(-1, keepdim=True, dtype=torch.float64).float()  # of integers, below 2^53
        m = by_head(v_max.repeat_interleave(group, 1)[..., None])
        weights = e.mul_(v_scale).mul_(divide(_MASS, total * m)).round_()
        values = v.permute(0, 2, 1, 3).double()
        mixed = (weights.double() @ values).float().mul_(m * (1.0 / _MASS))  # |sum| <= 127 * 2^17
        mixed = mixed.view(lanes, kv, group, rows, dim).permute(0, 3, 1, 2, 4)
        return mixed.reshape(lanes * rows, heads, dim)

    def _store(self, layer: int, k: Tensor, v: Tensor) -> Tensor:
        """Store rotated keys and values; returns the running maximum (rows, kv) of the value scales."""
        cache, at = self.cache, (self.lane, self.home)
        for x, integers, scales in ((k, cache.k, cache.k_scale), (v, cache.v, cache.v_scale)):
            q, scale = quantise(x, INT8_MAX)
            integers[layer][at] = q.to(torch.int8)
            scales[layer][at] = scale[..., 0]
        before = cache.v_max[layer][self.lane, self.before]
        largest = torch.maximum(scale[..., 0], torch.where(self.first, before, 0.0))  # `scale` is that of v
        for up in self.jumps:
            largest = torch.maximum(largest, largest[up])
        cache.v_max[layer][at] = largest
        return largest

    def _cut(self, row: int, pieces: Sequence[Piece]) -> Iterator[_Task]:
        """The tasks of pieces of equal size that begin at `row`: several whole pieces, or parts of one."""
        count = pieces[0].size
        reach = min(max(self.cache.lengths[p.lane] for p in pieces), self.cache.window - SINKS)
        keys = reach + SINKS + max(p.first for p in pieces) + count
        most = max(1, _SCORES[self.device.type] // (keys * self.config.heads))  # rows
        if count <= most:
            step = most // count
            for i in range(0, len(pieces), step):
                yield self._task(row + i * count, pieces[i : i + step])
        else:
            for piece in pieces:
                for first in range(0, count, most):
                    rows = min(most, count - first)
                    yield self._task(row + first, [piece._replace(first=piece.first + first, size=rows)])
                row += count

    def _task(self, row: int, pieces: Sequence[Piece]) -> _Task:
        """The task of pieces of equal size whose rows begin at `row` of the pass."""
        cache, count, reach = self.cache, pieces[0].size, self.cache.window - SINKS
        lanes = np.array([p.lane for p in pieces])
        held = np.array([cache.lengths[lane] for lane in lanes])[:, None]
        place = np.array([p.first for p in pieces])[:, None] + np.arange(count)  # (B, r)
        # the trees: n places of each lane, of which a row sees itself and its ancestors
        ends = np.zeros((len(pieces), place.max() + 1), np.int64)
        depths = np.zeros_like(ends)
        for i, piece in enumerate(pieces):
            stored = piece.first + count
            ends[i, :stored] = piece.tree.ends[:stored]
            depths[i, :stored] = piece.tree.depths[:stored]
        position = held + np.take_along_axis(depths, place, 1)
        of_rows, of_keys = position[:, :, None], (held + depths)[:, None]
        path = (np.arange(ends.shape[1]) <= place[:, :, None]) & (place[:, :, None] < ends[:, None])
        near, near_homes = _columns(path & (of_keys < SINKS))
        far, far_homes = _columns(path & (of_keys >= SINKS) & (of_keys > of_rows - reach))
        # the lanes: the sinks, and the positions in the window of any row
        low = np.clip(position.min(1, keepdims=True) - reach + 1, SINKS, np.maximum(held, SINKS))
        width = max(0, int((held - low).max()))
        end, rows = self._put(held), self._put(position)[:, :, None]
        sinks = torch.arange(SINKS, device=self.device).expand(len(lanes), SINKS)
        others = self._put(low) + torch.arange(width, device=self.device)
        no_sink = (sinks >= end)[:, None].expand(-1, count, -1)
        no_other = (others >= end)[:, None] | (others[:, None] <= rows - reach)
        hidden = torch.cat([no_sink, ~self._put(near), ~self._put(far), no_other], 2)
        homes = self._put(cache.slots + np.concatenate([near_homes, far_homes])).expand(len(lanes), -1)
        others = torch.minimum(others, (end - 1).clamp_min(0))  # later positions may have no slot yet
        return _Task(
            slice(row, row + count * len(lanes)),
            self._put(lanes)[:, None],
            torch.cat([sinks, homes, cache.slot(others)], 1),
            SINKS + len(near_homes),
            hidden[:, None, None],
        )

    def _put(self, values: np.ndarray) -> Tensor:
        return torch.tensor(values, device=self.device)


def _columns(seen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The columns of `seen` (B, r, n) that any row sees, and their indices."""
    columns = np.flatnonzero(seen.any((0, 1)))
    return seen[:, :, columns], columns


def _rotation(tables: tuple[Tensor, Tensor], positions: Tensor) -> tuple[Tensor, Tensor]:
    """cos and sin (rows, 1, half) of positions, as rope.RopeTables.at; tables: fine and coarse."""
    fine, coarse = tables[0][:, positions % LOW], tables[1][:, positions // LOW]
    cos = coarse[0] * fine[0] - coarse[1] * fine[1]
    sin = coarse[1] * fine[0] + coarse[0] * fine[1]
    return cos.float()[:, None], sin.float()[:, None]
