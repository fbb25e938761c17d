"""The reference engine: arithmetic version 1 in numpy. All other exact engines must return equal integers.

Integers are held in binary32 and multiplied exactly by BLAS (see arith.py). A pass evaluates a batch of rows,
one per token, of any lanes; only attention distinguishes lanes. BLAS runs single-threaded; our own threads
share matrix products by output columns, and everything else by rows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from nacrith import scratch
from nacrith.arith import F32
from nacrith.models.exact.attention import attend
from nacrith.models.exact.config import SINKS
from nacrith.models.exact.kvcache import KVCache, Piece
from nacrith.models.exact.modelfile import ModelFile
from nacrith.models.exact.ops import (
    INT8_MAX,
    LOG2E,
    exact_splits,
    near_equal,
    quantise,
    rms_norm,
    silu_product,
)
from nacrith.models.exact.rope import RopeTables, rotate
from nacrith.models.exact.tree import NONE, Tree, TreeSession
from nacrith.models.protocol import LOGIT_BITS, Logits
from nacrith.workers import Workers

BATCH = 512
"""Maximum rows of one pass through the layers."""

ROLLBACK = 256
_ATTENTION_ROWS = 128  # rows of one attention task
_TILE = 128  # rows of one elementwise task: more miss the CPU cache, fewer contend for the GIL
_HEAD_ROWS = 128  # rows of one product with the output head, which takes 200 KB per row
_LOGIT_MAX = np.float32(1 << 30)


def by_rows(workers: Workers, rows: int, task: Callable[[slice], None]) -> None:
    """Call task(slice) for all rows in tiles, in parallel if there are enough rows."""

    def share(begin: int, end: int) -> None:
        for row in range(begin, end, _TILE):
            task(slice(row, min(row + _TILE, end)))

    parts = workers.threads if rows >= 2 * _TILE else 1
    workers.run(partial(share, part.start, part.stop) for part in near_equal(rows, parts))


class Linear:
    """An int8 matrix (out, in) with a scale per row, as binary32 pieces whose products are exact."""

    def __init__(self, weights: np.ndarray, scales: np.ndarray, limit: int, workers: Workers) -> None:
        self.limit = limit
        self.scales = scales.astype(np.float32)
        self.width = len(weights)
        self.workers = workers
        self.pieces = [
            (columns, np.ascontiguousarray(weights[:, columns], dtype=np.float32))
            for columns in exact_splits(weights, limit)
        ]

    def __call__(self, q: F32, scale: F32) -> F32:
        """Quantised rows q (rows, in) with scale (rows, 1) -> (f32(q . w) * w_scale) * scale.

        f32(q . w) is the integer product rounded once to binary32, which is exact up to 2^24.
        """
        out = np.empty((len(q), self.width), np.float32)
        self.workers.run(
            partial(self._columns, q, scale, out[:, part], part)
            for part in near_equal(self.width, self.workers.threads)
        )
        return out

    def _columns(self, q: F32, scale: F32, out: F32, part: slice) -> None:
        columns, piece = self.pieces[0]
        np.matmul(q[:, columns], piece[part].T, out=out)
        if len(self.pieces) == 2:  # the sum of two exact terms is rounded once
            columns, piece = self.pieces[1]
            more = scratch.empty("linear", *out.shape)
            np.matmul(q[:, columns], piece[part].T, out=more)
            np.add(out, more, out=out)
        elif len(self.pieces) > 2:
            wide = out.astype(np.float64)
            for columns, piece in self.pieces[1:]:
                wide += q[:, columns] @ piece[part].T
            np.copyto(out, wide, casting="same_kind")
        for row in range(0, len(out), _TILE):
            tile = out[row : row + _TILE]
            np.multiply(tile, self.scales[part], out=tile)
            np.multiply(tile, scale[row : row + _TILE], out=tile)


class NumpyEngine:
    """The weights of one model, prepared for computing. Stateless: sessions hold the lanes."""

    def __init__(self, file: ModelFile, threads: int = 1) -> None:
        config, tensors = file.config, file.tensors
        self.config = config
        self.workers = Workers(threads)
        from threadpoolctl import ThreadpoolController  # which training elsewhere does without

        self.blas = ThreadpoolController()

        def linear(name: str, kind: str) -> Linear:
            q, s = tensors[f"{name}.q"], tensors[f"{name}.s"]
            return Linear(q, s, config.act_limits[kind], self.workers)

        layers = range(config.layers)
        self.embed_q, self.embed_s = tensors["embed.q"], tensors["embed.s"]
        self.qkv = [linear(f"layers.{i}.qkv", "qkv") for i in layers]
        self.o = [linear(f"layers.{i}.o", "o") for i in layers]
        self.mlp = [linear(f"layers.{i}.mlp", "mlp") for i in layers]
        self.down = [linear(f"layers.{i}.down", "down") for i in layers]
        self.attn_norm = [tensors[f"layers.{i}.attn_norm"] for i in layers]
        self.mlp_norm = [tensors[f"layers.{i}.mlp_norm"] for i in layers]
        self.final_norm = tensors["final_norm"]
        self.head = linear("embed" if config.tied_head else "head", "head")
        self.rope = RopeTables(tensors["rope.fine"], tensors["rope.coarse"])

    def session(self, lanes: int, window: int) -> NumpySession:
        return NumpySession(self, lanes, window)

    def normalised(self, x: F32, gain: F32, linear: Linear) -> F32:
        """linear(rms_norm(x) * gain)."""
        return self._quantised(x.shape, lambda rows: rms_norm(x[rows], gain, self.config.rms_eps), linear)

    def activated(self, gate_up: F32, linear: Linear) -> F32:
        """linear(silu(gate) * up)."""
        ffn = self.config.ffn
        gate, up = gate_up[:, :ffn], gate_up[:, ffn:]
        return self._quantised(gate.shape, lambda rows: silu_product(gate[rows], up[rows]), linear)

    def plain(self, x: F32, linear: Linear) -> F32:
        return self._quantised(x.shape, lambda rows: x[rows], linear)

    def _quantised(self, shape: tuple[int, ...], make: Callable[[slice], F32], linear: Linear) -> F32:
        q = np.empty(shape, np.float32)
        scale = np.empty((shape[0], 1), np.float32)

        def tile(rows: slice) -> None:
            scale[rows] = quantise(make(rows), linear.limit, out=q[rows])[1]

        by_rows(self.workers, shape[0], tile)
        return linear(q, scale)

    def logits(self, x: F32, out: Sequence[Logits]) -> None:
        """Write the fixed-point log2 weights of each row of x (rows, width) to out[row], clipped to 2^30."""
        unit = LOG2E * np.float32(1 << LOGIT_BITS)
        for begin in range(0, len(x), _HEAD_ROWS):
            y = self.normalised(x[begin : begin + _HEAD_ROWS], self.final_norm, self.head)
            part = out[begin : begin + _HEAD_ROWS]

            def tile(rows: slice, y: F32 = y, part: Sequence[Logits] = part) -> None:
                for row in range(rows.start, rows.stop):
                    t = np.multiply(y[row], unit, out=y[row])
                    np.rint(t, out=t)
                    if max(float(t.max()), -float(t.min())) > float(_LOGIT_MAX):
                        np.clip(t, -_LOGIT_MAX, _LOGIT_MAX, out=t)
                    np.copyto(part[row], t, casting="unsafe")

            by_rows(self.workers, len(y), tile)


class NumpySession(TreeSession):
    """Lanes over one engine; implements models.protocol.Session."""

    cache: KVCache

    def __init__(self, engine: NumpyEngine, lanes: int, window: int) -> None:
        self.engine = engine
        self.window = window
        self.cache = KVCache(engine.config, lanes, window, ROLLBACK, BATCH)
        self.trees = [NONE] * lanes

    def extend(self, tokens: Sequence[Sequence[int]]) -> list[Logits]:
        return self._extend([np.asarray(t, dtype=np.int64) for t in tokens], None)

    def _append(self, lane: int, places: np.ndarray) -> None:
        self.cache.append(lane, self.trees[lane], places)

    def _extend(self, ids: list[np.ndarray], trees: list[Tree] | None) -> list[Logits]:
        cache, engine = self.cache, self.engine
        growth = [len(t) for t in ids] if trees is None else [tree.levels for tree in trees]
        if any(a + b > engine.rope.limit for a, b in zip(cache.lengths, growth, strict=True)):
            raise ValueError(f"a lane holds at most {engine.rope.limit} tokens")
        for lane in [i for i, n in enumerate(growth) if n]:
            self.trees[lane] = NONE if trees is None else trees[lane]
            if trees is not None:
                cache.reserve_tree(lane, trees[lane])
        out = [np.empty((len(t), engine.config.vocab), np.int32) for t in ids]
        done = [0] * len(ids)
        with engine.blas.limit(limits=1, user_api="blas"):
            while active := [i for i, t in enumerate(ids) if done[i] < len(t)]:
                share = max(1, BATCH // len(active))
                pieces: list[Piece] = []
                rows: list[Logits] = []
                tokens = []
                for lane in active[:BATCH]:
                    part = np.arange(done[lane], min(done[lane] + share, len(ids[lane])))
                    if trees is None:
                        cache.reserve(lane, len(part))
                        pieces.append(cache.piece(lane, len(rows), cache.lengths[lane] + part - part[0]))
                    else:
                        pieces += cache.tree_pieces(lane, len(rows), trees[lane], part)
                    tokens.append(ids[lane][part])
                    rows += [out[lane][n] for n in part]
                    done[lane] += len(part)
                x = self._layers(np.concatenate(tokens), pieces)
                engine.logits(x, rows)
                if trees is None:
                    for piece in pieces:
                        cache.lengths[piece.lane] += len(piece.positions)
        return out

    def _layers(self, ids: np.ndarray, pieces: list[Piece]) -> F32:
        """The hidden rows (len(ids), width) after the last layer."""
        engine, config = self.engine, self.engine.config
        plan = _AttentionPlan(self, pieces)
        x = engine.embed_q[ids].astype(np.float32) * engine.embed_s[ids][:, None]
        heads, kv, dim = config.heads, config.kv_heads, config.head_dim
        for layer in range(config.layers):
            qkv = engine.normalised(x, engine.attn_norm[layer], engine.qkv[layer])
            qkv = qkv.reshape(len(ids), heads + 2 * kv, dim)
            mixed = plan.attention(layer, qkv[:, :heads], qkv[:, heads : heads + kv], qkv[:, heads + kv :])
            x += engine.plain(mixed.reshape(len(ids), heads * dim), engine.o[layer])
            gate_up = engine.normalised(x, engine.mlp_norm[layer], engine.mlp[layer])
            x += engine.activated(gate_up, engine.down[layer])
        return x


class _AttentionPlan:
    """What all layers of one pass have in common: rotations, KV slots, and the division into tasks."""

    def __init__(self, session: NumpySession, pieces: list[Piece]) -> None:
        self.session = session
        self.cache = session.cache
        self.pieces = pieces
        self.positions = np.concatenate([p.positions for p in pieces])
        rope = session.engine.rope
        edge = session.window - 1
        self.cos, self.sin = (a[:, None] for a in rope.at(self.positions))
        self.sink_rotation: tuple[F32, F32] | None = None
        if self.positions.max() > edge:
            cos, sin = rope.at(np.minimum(self.positions, edge))
            self.sink_rotation = cos[:, None], sin[:, None]
        self.turns = [(turn, list(self._cut(turn))) for turn in self._turns()]

    def _turns(self) -> list[list[Piece]]:
        """Groups of pieces to evaluate in turn, each with at most one piece of a lane."""
        turns: list[list[Piece]] = []
        seen = Counter[int]()
        for piece in self.pieces:
            if seen[piece.lane] == len(turns):
                turns.append([])
            turns[seen[piece.lane]].append(piece)
            seen[piece.lane] += 1
        return turns

    def _cut(self, pieces: list[Piece]) -> Iterator[tuple[list[int], np.ndarray]]:
        """Tasks (lanes, rows (lanes, n)): pieces of one row are batched, long pieces are split."""
        singles = [p for p in pieces if len(p.positions) == 1]
        for part in near_equal(len(singles), min(len(singles), self.session.engine.workers.threads) or 1):
            if singles:
                yield [p.lane for p in singles[part]], np.array([[p.row] for p in singles[part]])
        for piece in pieces:
            if len(piece.positions) > 1:
                end = piece.row + len(piece.positions)
                for row in range(piece.row, end, _ATTENTION_ROWS):
                    yield [piece.lane], np.arange(row, min(row + _ATTENTION_ROWS, end))[None]

    def attention(self, layer: int, q: F32, k: F32, v: F32) -> F32:
        """Store the keys and values of a layer, then compute attention: (rows, heads, dim)."""
        self._store(layer, rotate(k, self.cos, self.sin), v)
        rotated = rotate(q, self.cos, self.sin)
        for_sinks = None if self.sink_rotation is None else rotate(q, *self.sink_rotation)
        out = np.empty_like(rotated)

        def run(lanes: list[int], rows: np.ndarray) -> None:
            positions = self.positions[rows]
            low, slots = self._visible(lanes, positions)
            k, v, k_scale, v_scale = self._gather(layer, lanes, low, slots)
            slot = positions - np.array([self.cache.base[i] for i in lanes])[:, None]
            slot = np.where(positions < SINKS, positions, slot)
            last = slot + 1 - (low - SINKS)[:, None]
            first = last - (self.session.window - SINKS)
            v_max = np.stack([self.cache.v_max[layer][lane][:, slot[b]].T for b, lane in enumerate(lanes)])
            sink_q = for_sinks[rows] if for_sinks is not None else None
            out[rows] = attend(rotated[rows], sink_q, k, v, k_scale, v_scale, v_max, first, last)

        for pieces, tasks in self.turns:
            for piece in pieces:
                self.cache.settle(layer, piece)
            self.session.engine.workers.run(partial(run, *task) for task in tasks)
        return out

    def _store(self, layer: int, k: F32, v: F32) -> None:
        cache = self.cache
        kq, k_scale = quantise(k, INT8_MAX)
        vq, v_scale = quantise(v, INT8_MAX)
        for piece in self.pieces:
            lane, slots = piece.lane, piece.homes
            rows = slice(piece.row, piece.row + len(slots))
            cache.k[layer][lane, :, slots] = kq[rows].astype(np.int8)
            cache.v[layer][lane, :, slots] = vq[rows].astype(np.int8)
            cache.k_scale[layer][lane, :, slots] = k_scale[rows, :, 0]
            cache.v_scale[layer][lane, :, slots] = v_scale[rows, :, 0]

    def _visible(self, lanes: list[int], positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """For each lane, the first slot after the sinks that a row sees, and one past the last slot."""
        base = np.array([self.cache.base[i] for i in lanes])
        oldest = positions[:, 0] - (self.session.window - SINKS) + 1
        low = np.maximum(oldest - base, SINKS)
        newest = positions[:, -1]
        return low, np.where(newest < SINKS, newest, newest - base) + 1

    def _gather(
        self, layer: int, lanes: list[int], low: np.ndarray, end: np.ndarray
    ) -> tuple[F32, F32, F32, F32]:
        """The sinks and the slots low..end of each lane in binary32; shorter lanes are padded with zeros."""
        cache = self.cache
        width = int((end - low).max()) + SINKS
        sources: tuple[npt.NDArray[Any], ...] = (
            cache.k[layer],
            cache.v[layer],
            cache.k_scale[layer],
            cache.v_scale[layer],
        )
        out = []
        for purpose, source in zip(("k", "v", "k_scale", "v_scale"), sources, strict=True):
            a = scratch.empty(purpose, len(lanes), source.shape[1], width, *source.shape[3:])
            if (end - low != width - SINKS).any():
                a.fill(0.0)
            for b, lane in enumerate(lanes):
                n = int(end[b] - low[b]) + SINKS
                if low[b] == SINKS:
                    a[b, :, :n] = source[lane, :, :n]
                else:
                    a[b, :, :SINKS] = source[lane, :, :SINKS]
                    a[b, :, SINKS:n] = source[lane, :, low[b] : end[b]]
            out.append(a)
        return out[0], out[1], out[2], out[3]
