"""Attention on integers: int8 queries, keys and values, fixed-point softmax (arithmetic version 1).

For a query at position p and each visible position j, with head-wise scales sq, sk, sv:

    s_j = q . k_j                              integer, |s| <= 127^2 * head_dim < 2^24
    t_j = (s_j * sk_j) * (sq * c)              log2 units, c = log2(e) / sqrt(head_dim)
    e_j = rint(2^(t_j - (max t - 12)))         integer, at most 2^12
    Z   = sum e_j                              exact: binary32 per 4096 keys, binary64 above
    w_j = rint((e_j * sv_j) * (2^16 / (Z * M)))  integer; M = largest sv at or before p
    o   = (sum w_j v_j) * (M * 2^-16)          sum w_j <= 2^16 + keys / 2, times 127 stays below 2^24

Because the weights are normalised before the product with the values, that product stays within 24 bits for
any number of keys, and is a single exact binary32 matrix product.

A query attends to the sinks (positions below SINKS) and to the last window - SINKS positions, including p
itself. Beyond the window, the scores of the sinks use the query rotated for position window - 1
(StreamingLLM, Xiao et al. 2023).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from nacrith import scratch
from nacrith.arith import F32, exp2
from nacrith.models.exact.config import SINKS
from nacrith.models.exact.ops import INT8_MAX, LOG2E, quantise

_MASKED = np.float32(-1e30)
_PEAK = np.float32(12.0)  # log2 of the largest e
_MASS = np.float32(1 << 16)
_TILE = 1 << 17  # scores per tile: larger tiles exceed the CPU cache, smaller ones contend for the GIL
_SUM_KEYS = 4096  # e <= 2^12, so sums over this many keys stay within 2^24


def attend(
    q: F32,
    q_sink: F32 | None,
    k: F32,
    v: F32,
    k_scale: F32,
    v_scale: F32,
    v_max: F32,
    first: np.ndarray,
    last: np.ndarray,
) -> F32:
    """Attention outputs (B, rows, heads, dim) for rotated queries of the same shape.

    k, v: (B, kv heads, slots, dim) integers as binary32; k_scale, v_scale: (B, kv heads, slots).
    v_max: (B, rows, kv heads), M at each row's own position.
    first, last: (B, rows); a row sees the sinks, whose slots come first, and the slots first <= s < last.
    q_sink: the queries rotated for the sinks; None if they equal q.
    """
    batch, rows, heads, dim = q.shape
    kv = k.shape[1]
    c = LOG2E / np.sqrt(np.float32(dim))
    grouped, factor = _group(q, kv, c)
    t = scratch.empty("scores", batch, kv, heads // kv * rows, k.shape[2])
    np.matmul(grouped, k.transpose(0, 1, 3, 2), out=t)
    np.multiply(t, k_scale[:, :, None, :], out=t)
    np.multiply(t, factor, out=t)
    if q_sink is not None:
        sink_grouped, sink_factor = _group(q_sink, kv, c)
        sinks = np.matmul(sink_grouped, k[:, :, :SINKS].transpose(0, 1, 3, 2))
        np.multiply(sinks, k_scale[:, :, None, :SINKS], out=sinks)
        np.multiply(sinks, sink_factor, out=t[..., :SINKS])
    _mask(t.reshape(batch, kv, heads // kv, rows, -1), first, last)
    # (B, kv, group * rows, 1) <- (B, rows, kv)
    m = np.broadcast_to(v_max.transpose(0, 2, 1)[:, :, None, :], (batch, kv, heads // kv, rows)).reshape(
        batch, kv, -1, 1
    )
    for tile in _tiles(t.shape):
        _soften(t[tile], v_scale[tile[:2]][:, :, None, :], m[tile])
    out = np.matmul(t, v)
    np.multiply(out, m * (np.float32(1.0) / _MASS), out=out)
    return out.reshape(batch, heads, rows, dim).transpose(0, 2, 1, 3)


def _soften(t: F32, v_scale: F32, m: F32) -> None:
    """Turn scores t into weights w, in place."""
    np.subtract(t, t.max(axis=-1, keepdims=True) - _PEAK, out=t)
    exp2(t)
    np.rint(t, out=t)
    total = _row_sums(t)
    np.multiply(t, v_scale, out=t)
    np.multiply(t, _MASS / (total * m), out=t)
    np.rint(t, out=t)


def _tiles(shape: tuple[int, ...]) -> Iterator[tuple[slice, slice, slice]]:
    """Divide scores (B, kv, rows, slots) along the first three axes into tiles that fit the CPU cache."""
    batch, kv, rows, slots = shape
    per_lane = max(1, _TILE // (kv * rows * slots))
    kv_step = kv if kv * rows * slots <= _TILE else 1
    row_step = rows if rows * slots <= _TILE else max(1, _TILE // slots)
    for b in range(0, batch, per_lane):
        for h in range(0, kv, kv_step):
            for r in range(0, rows, row_step):
                yield slice(b, b + per_lane), slice(h, h + kv_step), slice(r, r + row_step)


def _group(q: F32, kv: int, c: np.float32) -> tuple[F32, F32]:
    """The quantised queries as (B, kv, group * rows, dim), and the factor sq * c of each row."""
    batch, rows, heads, dim = q.shape
    integers, scale = quantise(q, INT8_MAX)
    shape = (batch, kv, heads // kv * rows)
    return (
        integers.transpose(0, 2, 1, 3).reshape(*shape, dim),
        (scale * c).transpose(0, 2, 1, 3).reshape(*shape, 1),
    )


def _mask(t: F32, first: np.ndarray, last: np.ndarray) -> None:
    """Mask the slots that a row must not see. Slots that all rows see are not visited."""
    low, high = SINKS, int(first.max())
    if low < high:
        hidden = np.arange(low, high) < first[..., None]
        np.copyto(t[..., low:high], _MASKED, where=hidden[:, None, None])
    low, high = int(last.min()), t.shape[-1]
    if low < high:
        hidden = np.arange(low, high) >= last[..., None]
        np.copyto(t[..., low:high], _MASKED, where=hidden[:, None, None])


def _row_sums(e: F32) -> F32:
    """Sums of integers of at most 2^12 along the last axis, correctly rounded to binary32."""
    keys = e.shape[-1]
    if keys <= _SUM_KEYS:
        return e.sum(axis=-1, keepdims=True)
    total = np.zeros((*e.shape[:-1], 1), np.float64)
    for i in range(0, keys, _SUM_KEYS):
        total += e[..., i : i + _SUM_KEYS].sum(axis=-1, keepdims=True)
    return total.astype(np.float32)
