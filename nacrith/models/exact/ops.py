"""The row operations of the exact engine: quantisation, normalisation, activation (see nacrith.arith).

Integer inference with per-row scales follows Dettmers et al., LLM.int8() (2022), and Xiao et al.,
SmoothQuant (2022); carrying the rest of the network on integers too follows I-BERT (Kim et al., 2021).
"""

from __future__ import annotations

import itertools

import numpy as np
import numpy.typing as npt

from nacrith import scratch
from nacrith.arith import EXACT_MAX, F32, exp2

INT8_MAX = 127
"""Weights, queries, keys and values lie in [-127, 127]."""

NORM_MAX = 32767
"""Rows are rounded to this many steps either side of zero before their squares are summed."""

LOG2E = np.float32(1.4426950408889634)

_TINY = np.float32(2.0**-100)  # stands for an all-zero row's largest magnitude: no division by zero


def absmax(x: F32) -> F32:
    """Largest magnitude along the last axis (kept as length 1), at least 2^-100."""
    high = x.max(axis=-1, keepdims=True)
    low = x.min(axis=-1, keepdims=True)
    return np.maximum(np.maximum(high, -low), _TINY)


def quantise(x: F32, limit: int, out: F32 | None = None) -> tuple[F32, F32]:
    """Integers q in [-limit, limit], as binary32, and scale s along the last axis: x ~ q * s.

    q = rint(x * (limit / a)), s = a / limit with a = absmax(x). |x * (limit / a)| exceeds `limit` by
    at most a relative 2^-22, so rint cannot reach limit + 1.
    """
    a = absmax(x)
    q = np.multiply(x, np.float32(limit) / a, out=out)
    np.rint(q, out=q)
    return q, a / np.float32(limit)


def rms_norm(x: F32, gain: F32, eps: float) -> F32:
    """RMSNorm of each row of x (rows, width) times gain (width,). The result is scratch memory.

    The row is first rounded to integers of 16 bits, so that the sum of squares is a sum of integers:
    at most 32767^2 * width < 2^53 for any width below 2^23, exact in binary64 in any order.
    """
    inverse = np.float32(NORM_MAX) / absmax(x)
    xi = np.multiply(x, inverse, out=scratch.empty("rms_norm", *x.shape))
    np.rint(xi, out=xi)
    wide = xi.astype(np.float64)
    mean = np.einsum("rk,rk->r", wide, wide)[:, None] / np.float64(x.shape[-1])
    step = inverse.astype(np.float64)
    root = np.float64(1.0) / np.sqrt(mean + (step * step) * np.float64(eps))
    np.multiply(xi, root.astype(np.float32), out=xi)
    np.multiply(xi, gain, out=xi)
    return xi


def silu_product(gate: F32, up: F32) -> F32:
    """silu(gate) * up = (gate * up) * sigmoid(gate), elementwise. The result is scratch memory.

    With e = 2^(-|gate| * log2 e): sigmoid is 1 / (1 + e) for gate >= 0 and e / (1 + e) below.
    """
    e = np.abs(gate, out=scratch.empty("silu", *gate.shape))
    np.multiply(e, -LOG2E, out=e)
    exp2(e)
    sigmoid = scratch.empty("sigmoid", *gate.shape)
    np.copyto(sigmoid, e)
    np.copyto(sigmoid, np.float32(1.0), where=gate >= 0)
    np.add(e, np.float32(1.0), out=e)
    np.divide(sigmoid, e, out=sigmoid)
    product = np.multiply(gate, up, out=e)
    np.multiply(product, sigmoid, out=product)
    return product


def near_equal(size: int, parts: int) -> list[slice]:
    """range(size) cut into `parts` pieces whose lengths differ by at most one."""
    edges = [size * i // parts for i in range(parts + 1)]
    return [slice(a, b) for a, b in itertools.pairwise(edges)]


def exact_splits(weights: npt.NDArray[np.int8], limit: int) -> list[slice]:
    """Cuts of the columns of `weights` (rows, K) such that a product with |q| <= limit is exact.

    Each piece keeps sum(|w|) * limit <= 2^24 in every row: then every partial sum of the piece, in any
    order, is an integer that binary32 holds. Pieces are of near-equal width.
    """
    width = weights.shape[1]
    magnitude = np.abs(weights.astype(np.int16))
    for count in range(1, width + 1):
        pieces = near_equal(width, count)
        worst = max(int(magnitude[:, p].sum(axis=1, dtype=np.int64).max()) for p in pieces)
        if worst * limit <= EXACT_MAX:
            return pieces
    raise AssertionError("a single column always fits: 127 * limit <= 2^24")
