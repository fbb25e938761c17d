"""Attention of the torch engine: keys and values on the device, and one pass's rows over them.

The arithmetic is attention.py's, in tensors: integers of products in binary64, which no setting of torch
rounds more coarsely (torch_ops.py). The storage differs. Slots form a ring, because the order of keys
does not matter to exact sums; and each pass gathers the slots that its rows see.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from nacrith.models.exact.config import SINKS, ExactConfig
from nacrith.models.exact.ops import INT8_MAX
from nacrith.models.exact.rope import LOW
from nacrith.models.exact.torch_ops import LOG2E, divide, exp2, quantise, rotate

_PEAK, _MASS, _MASKED = 12.0, float(1 << 16), -1e30  # as in attention.py
_FIRST_SLOTS = 256
_SCORES = {"cpu": 1 << 20, "cuda": 1 << 24}
"""Most scores of one task: what a CPU's cache holds, and what keeps a GPU busy in half a gigabyte."""


class RingCache:
    """Keys and values of every lane; tensors are indexed [layer, lane, slot, kv head].

    Position p has slot p if it is a sink, else SINKS + (p - SINKS) % ring. `v_max` is the largest value
    scale of a head at this position or before it.
    """

    def __init__(
        self, config: ExactConfig, lanes: int, window: int, rollback: int, batch: int, device: torch.device
    ) -> None:
        self.window = window
        self.ring = window - SINKS + rollback + batch
        self.lengths = [0] * lanes
        self.ends = [0] * lanes  # one past the last position ever written since the lane was empty
        shape = (config.layers, lanes, 0, config.kv_heads)
        self.k, self.v = (
            torch.zeros((*shape, config.head_dim), dtype=torch.int8, device=device) for _ in range(2)
        )
        self.k_scale, self.v_scale, self.v_max = (
            torch.zeros(shape, dtype=torch.float32, device=device) for _ in range(3)
        )

    def slot(self, positions: Tensor) -> Tensor:
        return torch.where(positions < SINKS, positions, (positions - SINKS) % self.ring + SINKS)

    def reserve(self, lanes: np.ndarray, ends: np.ndarray) -> None:
        """Make room for positions below ends[i] of lanes[i], whose slots are now written."""
        for lane, end in zip(lanes.tolist(), ends.tolist(), strict=True):
            self.ends[lane] = max(self.ends[lane], end)
        held, most = self.k.shape[2], SINKS + self.ring
        need = min(int(ends.max()), most)
        if need > held:
            slots = min(max(need, 2 * held, _FIRST_SLOTS), most)
            for name in ("k", "v", "k_scale", "v_scale", "v_max"):
                old = getattr(self, name)
                new = old.new_zeros((*old.shape[:2], slots, *old.shape[3:]))  # finite, for what is hidden
                new[:, :, :held] = old
                setattr(self, name, new)

    def truncate(self, lane: int, length: int) -> None:
        """Forget what follows the first `length` tokens. ValueError if older ones would be needed that
        the lane no longer holds; the newest `rollback` of the tokens ever written, or all, can always go."""
        if not 0 <= lane < len(self.lengths):
            raise ValueError(f"there is no lane {lane}")
        if not 0 <= length <= self.lengths[lane]:
            raise ValueError(f"lane {lane} holds {self.lengths[lane]} tokens, not {length}")
        if length <= SINKS:
            self.ends[lane] = length
        elif max(SINKS, length - (self.window - SINKS) + 1) + self.ring < self.ends[lane]:
            raise ValueError(f"lane {lane} cannot go back to {length} tokens: the window has moved on")
        self.lengths[lane] = length


class _Group(NamedTuple):
    """Lanes that extend by equally many tokens: consecutive rows of the pass, lane after lane."""

    rows: slice
    lanes: Tensor  # (B,)
    starts: Tensor  # (B,), tokens held before


class _Task(NamedTuple):
    """r rows of each of B lanes, consecutive in the pass, that attend together to n slots of each."""

    rows: slice
    lanes: Tensor  # (B, 1)
    slots: Tensor  # (B, n), those of the sinks first
    hidden: Tensor  # (B, 1, 1, r, n), what a row does not see


class Pass:
    """What all layers of one pass share; `lanes` extend by `counts` tokens, which must ascend."""

    def __init__(
        self,
        cache: RingCache,
        config: ExactConfig,
        tables: tuple[Tensor, Tensor],
        lanes: np.ndarray,
        counts: np.ndarray,
    ) -> None:
        self.cache = cache
        self.config = config
        self.device = tables[0].device
        starts = np.array([cache.lengths[lane] for lane in lanes])
        cache.reserve(lanes, starts + counts)
        self.lane = self._put(np.repeat(lanes, counts))  # of each row
        positions = np.concatenate([s + np.arange(n) for s, n in zip(starts, counts, strict=True)])
        self.position = self._put(positions)
        self.slot = cache.slot(self.position)
        self.rotation = _rotation(tables, self.position)
        # of queries that see the sinks from the window's edge; None where all see them as they are
        self.sink_rotation = None
        if (starts + counts).max() > cache.window:
            self.sink_rotation = _rotation(tables, self.position.clamp_max(cache.window - 1))
        self.groups: list[_Group] = []
        self.tasks: list[_Task] = []
        row = 0
        for count in np.unique(counts).tolist():
            alike = counts == count
            begin, row = row, row + count * int(alike.sum())
            group = _Group(slice(begin, row), self._put(lanes[alike]), self._put(starts[alike]))
            self.groups.append(group)
            self.tasks += self._cut(begin, count, lanes[alike], starts[alike])

    def attention(self, layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Store this layer's keys and values (rows, kv heads, dim), then attend: shaped like q."""
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
        """Outputs (B * r, heads, dim). queries: integers and factors (B * r, heads, dim or 1), and the
        same for the sinks if those differ; v_max (B * r, kv); k, v (B, n, kv, dim); scales (B, n, kv)."""
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
        for (integers, factor), end in zip(queries, (n, SINKS), strict=False):
            scores = (by_head(integers) @ keys[..., :end]).float()
            parts.append(scores.mul_(k_scale[..., :end]).mul_(by_head(factor)))
        t = parts[0]
        if len(parts) == 2:
            t[..., :SINKS] = parts[1]
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
        """Store rotated keys and values; the largest value scale so far of each row, (rows, kv)."""
        cache, at = self.cache, (self.lane, self.slot)
        for x, integers, scales in ((k, cache.k, cache.k_scale), (v, cache.v, cache.v_scale)):
            q, scale = quantise(x, INT8_MAX)
            integers[layer][at] = q.to(torch.int8)
            scales[layer][at] = scale[..., 0]
        largest = torch.empty_like(scale[..., 0])  # of v, the last of the two
        for group in self.groups:
            lanes, starts = group.lanes, group.starts
            before = cache.v_max[layer][lanes, cache.slot((starts - 1).clamp_min(0))]
            before = torch.where(starts[:, None] > 0, before, 0.0)[:, None]
            new = scale[group.rows, :, 0].view(len(lanes), -1, self.config.kv_heads)
            high = torch.cat([before, new], 1).cummax(1).values[:, 1:]
            largest[group.rows] = high.reshape(-1, self.config.kv_heads)
        cache.v_max[layer][at] = largest
        return largest

    def _cut(self, row: int, count: int, lanes: np.ndarray, starts: np.ndarray) -> Iterator[_Task]:
        """Tasks of a group from this row on: of several lanes whole, or of parts of one lane."""
        reach = min(int(starts.max()), self.cache.window - SINKS) + count + SINKS
        most = max(1, _SCORES[self.device.type] // (reach * self.config.heads))  # rows
        if count <= most:
            step = most // count
            for i in range(0, len(lanes), step):
                yield self._task(row + i * count, count, lanes[i : i + step], starts[i : i + step])
        else:
            for i in range(len(lanes)):
                for first in range(0, count, most):
                    rows = min(most, count - first)
                    part = slice(i, i + 1)
                    yield self._task(row + i * count + first, rows, lanes[part], starts[part] + first)

    def _task(self, row: int, count: int, lanes: np.ndarray, first: np.ndarray) -> _Task:
        """`count` rows each of lanes, from positions `first` on."""
        reach = self.cache.window - SINKS
        low = np.maximum(first - reach + 1, SINKS)
        width = max(0, int((first + count - low).max()))
        device = self.device
        sinks = torch.arange(SINKS, device=device).expand(len(lanes), SINKS)
        others = self._put(low)[:, None] + torch.arange(width, device=device)
        seen = torch.cat([sinks, others], 1)  # (B, n) positions; a lane's last may lie ahead of it
        of_rows = (self._put(first)[:, None] + torch.arange(count, device=device))[:, :, None]
        keys = seen[:, None]
        hidden = (keys > of_rows) | ((keys >= SINKS) & (keys <= of_rows - reach))
        rows = slice(row, row + count * len(lanes))
        return _Task(rows, self._put(lanes)[:, None], self.cache.slot(seen), hidden[:, None, None])

    def _put(self, integers: np.ndarray) -> Tensor:
        return torch.tensor(integers, dtype=torch.int64, device=self.device)


def _rotation(tables: tuple[Tensor, Tensor], positions: Tensor) -> tuple[Tensor, Tensor]:
    """cos and sin (rows, 1, half) of positions, as rope.RopeTables.at; tables: fine and coarse."""
    fine, coarse = tables[0][:, positions % LOW], tables[1][:, positions // LOW]
    cos = coarse[0] * fine[0] - coarse[1] * fine[1]
    sin = coarse[1] * fine[0] + coarse[0] * fine[1]
    return cos.float()[:, None], sin.float()[:, None]
