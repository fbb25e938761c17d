"""Arithmetic version 1 in torch: row operations and matrix products, on any device that keeps to IEEE 754.

These are the operations of ops.py, rope.py and arith.py, one by one, as formats/arithmetic-v1.md specifies
them. The engine relies on the following, which `check` tests on the device before a model runs there:

- Every elementwise operation of eager torch is a kernel of its own, so no two are fused, and +, -, *,
  tensor / tensor, round and conversions round once. This is not true of a division by a Python number (CUDA
  multiplies by its reciprocal) or of a Python number (torch multiplies it by a reciprocal), so both operands
  of every division here are tensors on the device; nor of binary64 sqrt on the CPU, which may be MKL's.
- A product of binary64 matrices is exact if all partial sums are integers below 2^53. No setting of torch,
  cuBLAS or oneDNN (TF32, bf16, autocast) reduces the precision of binary64.
- torch._int_mm sums int8 products in int32, exactly below 2^31. It is used on CUDA only: on a CPU without
  VNNI its kernels may saturate intermediate sums, or take ten times as long as products in binary64.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from torch import Tensor

from nacrith import arith
from nacrith.errors import ModelError
from nacrith.models.exact import ops

LOG2E = float(ops.LOG2E)
_C0, _C1, _C2, _C3 = map(float, arith.EXP2_C)
_TINY = 2.0**-100

_COLUMNS = 1 << 16
"""Maximum columns of one int8 product: 128 * 128 * 2^16 < 2^31."""

_PAD = 32
"""Rows of int8 products are padded to a multiple of this, columns to one of its half: cuBLAS requires more
than 16 rows, and other dimensions that are multiples of 8, or of 16 to be fast."""


@cache
def constant(value: float, dtype: torch.dtype, device: torch.device) -> Tensor:
    """A number as a zero-dimensional tensor on the device, for use as an operand of a division."""
    return torch.tensor(value, dtype=dtype, device=device)


def divide(value: float, x: Tensor) -> Tensor:
    """value / x, rounded once; value is exact in x's type."""
    return constant(value, x.dtype, x.device) / x


def by(x: Tensor, value: float) -> Tensor:
    """x / value, rounded once; value is exact in x's type."""
    return x / constant(value, x.dtype, x.device)


def sqrt(x: Tensor) -> Tensor:
    """The square root in binary64, rounded once."""
    return torch.from_numpy(np.sqrt(x.numpy())) if x.device.type == "cpu" else x.sqrt()


def exp2(t: Tensor) -> Tensor:
    """arith.exp2; t <= 64."""
    t = t.clamp_min(float(arith.EXP2_MIN))
    n = t.round()
    t = t.sub_(n)
    y = (t * _C3).add_(_C2).mul_(t).add_(_C1).mul_(t).add_(_C0)
    return (y.view(torch.int32) + (n.to(torch.int32) << 23)).view(torch.float32)


def absmax(x: Tensor) -> Tensor:
    """The largest magnitude along the last axis (kept with length 1), at least 2^-100."""
    return x.abs().amax(-1, keepdim=True).clamp_min(_TINY)


def quantise(x: Tensor, limit: int) -> tuple[Tensor, Tensor]:
    """ops.quantise: integers in [-limit, limit] as binary32, and the scale, along the last axis."""
    a = absmax(x)
    return (x * divide(limit, a)).round_(), by(a, limit)


def rms_norm(x: Tensor, gain: Tensor, eps: float) -> Tensor:
    """ops.rms_norm: the squares are integers, and their sum is below 2^53, exact in binary64."""
    inverse = divide(ops.NORM_MAX, absmax(x))
    xi = (x * inverse).round_()
    wide = xi.double()
    mean = by((wide * wide).sum(-1, keepdim=True), x.shape[-1])
    step = inverse.double()
    root = divide(1.0, sqrt(mean + (step * step) * eps))
    return xi * root.float() * gain


def silu_product(gate: Tensor, up: Tensor) -> Tensor:
    """ops.silu_product: (gate * up) * sigmoid(gate)."""
    e = exp2(gate.abs() * -LOG2E)
    sigmoid = torch.where(gate >= 0, constant(1.0, e.dtype, e.device), e) / (e + 1.0)
    return gate * up * sigmoid


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """rope.rotate: pairs (i, i + half) of the last axis."""
    a, b = x.chunk(2, -1)
    return torch.cat([a * cos - b * sin, b * cos + a * sin], -1)


class Linear:
    """An int8 matrix (out, in) with a scale per row. product: multiplies it with inputs up to `limit`."""

    def __init__(self, scales: Tensor, product: Product, limit: int) -> None:
        self.scales = scales
        self.product = product
        self.limit = limit

    def __call__(self, x: Tensor) -> Tensor:
        """Rows x (rows, in), quantised, times the matrix: (f32(q . w) * w_scale) * scale."""
        q, scale = quantise(x, self.limit)
        return self.product(q).float().mul_(self.scales).mul_(scale)


class DoubleProduct:
    """The integers q . w for each row of q and of the weights (out, in), exactly, in binary64.

    |sum| <= 16383 * 128 * in, at most 2^53 for any width up to 2^32.
    """

    def __init__(self, weights: np.ndarray, limit: int, device: torch.device) -> None:
        self.weights = torch.tensor(weights, device=device).double()

    def __call__(self, q: Tensor) -> Tensor:
        return q.double() @ self.weights.T


class Int8Product:
    """The same in int8. q, |q| <= limit, is one int8 plane or, if limit exceeds 127, two, stacked as rows.

    Two planes represent q = 256 high + low with low in -128..127, and |high| <= 64 for |q| <= 16383.
    """

    def __init__(self, weights: np.ndarray, limit: int, device: torch.device) -> None:
        self.out, width = weights.shape
        self.planes = 1 if limit <= ops.INT8_MAX else 2
        # this bounds all sums, and 256 times the sums over the high plane: |256 high| <= limit + 128
        narrow = (limit + 128) * 128 * width < 1 << 31
        self.total = torch.int32 if narrow else torch.int64
        self.pieces = []
        for columns in ops.near_equal(width, -(-width // _COLUMNS)):
            piece = torch.tensor(weights[:, columns], device=device)
            self.pieces.append((columns, _padded(piece, _PAD // 2, _PAD // 2)))

    def __call__(self, q: Tensor) -> Tensor:
        planes = q.to(torch.int16)
        if self.planes == 2:
            high = (planes + 128) >> 8
            planes = torch.cat([high, planes - (high << 8)])
        planes = planes.to(torch.int8)
        parts = []
        for columns, piece in self.pieces:
            part = self.multiply(_padded(planes[:, columns], _PAD, _PAD // 2), piece.T)
            part = part[: len(planes), : self.out].to(self.total)
            parts.append((part[: len(q)] << 8) + part[len(q) :] if self.planes == 2 else part)
        return sum(parts[1:], parts[0])

    @staticmethod
    def multiply(a: Tensor, b: Tensor) -> Tensor:
        """The int32 product of int8 matrices (m, k) and (k, n)."""
        return torch._int_mm(a, b)


Product = DoubleProduct | Int8Product


def _padded(x: Tensor, rows: int, columns: int) -> Tensor:
    """x padded with zeros to multiples of rows and columns, contiguous."""
    down, right = -len(x) % rows, -x.shape[1] % columns
    return torch.nn.functional.pad(x, (0, right, 0, down)).contiguous()


def product_type(device: torch.device) -> type[Product]:
    """Int8Product on CUDA devices that support it, else DoubleProduct."""
    return Int8Product if device.type == "cuda" and int8_is_exact(device) else DoubleProduct


def int8_is_exact(device: torch.device) -> bool:
    """Whether Int8Product is exact on the device, tested with extreme values."""
    rng = np.random.default_rng(0)
    weights = rng.choice(np.array([-128, -127, 1, 127], np.int8), (72, 1200))
    q = rng.choice(np.array([-16383, -511, 3, 511, 16383], np.float32), (37, 1200))
    weights[0], q[0] = 127, 16383
    try:
        sums = Int8Product(weights, 16383, device)(torch.tensor(q, device=device)).cpu().numpy()
    except RuntimeError:  # cuBLAS does not support this product on the device
        return False
    return np.array_equal(sums, q.astype(np.int64) @ weights.T.astype(np.int64))


def check(device: torch.device) -> None:
    """ModelError unless every kind of operation gives the numpy engine's results on the device."""
    rng = np.random.default_rng(0)
    scale = np.exp2(rng.integers(-40, 40, (64, 1)))
    x, y = ((rng.normal(0, 3, (64, 96)) * s).astype(np.float32) for s in (scale, 1.0))
    gain = rng.normal(1, 0.3, 96).astype(np.float32)
    wide = rng.integers(-(1 << 17), 1 << 17, (64, 96)).astype(np.float64)
    tx, ty, tgain, twide = (torch.tensor(a, device=device) for a in (x, y, gain, wide))
    pairs = [
        (ops.quantise(x, 511), quantise(tx, 511)),
        ([ops.rms_norm(x, gain, 1e-5).copy()], [rms_norm(tx, tgain, 1e-5)]),
        ([ops.silu_product(y, x).copy()], [silu_product(ty, tx)]),
        ([x * y - y * gain], [tx * ty - ty * tgain]),
        ([wide @ wide.T], [twide @ twide.T]),
    ]
    for wanted, found in pairs:
        for a, b in zip(wanted, found, strict=True):
            if not np.array_equal(a, b.cpu().numpy()):
                raise ModelError(
                    f"NACRITH_DEVICE={device}: torch does not round as IEEE 754 wants it there; use"
                    " NACRITH_DEVICE=cpu or NACRITH_ENGINE=native"
                )
