"""Rotary position tables that are the same on every machine.

Angles are computed in integers of 160 fractional bits (Python ints, `decimal` for the power of theta),
so no libm takes part, and rounded once to binary64. A position p = 256 h + l is rotated by the product
of two table entries, exp(i f 256 h) * exp(i f l), in binary64: two small tables reach any position.

Rotary embedding: Su et al., RoFormer (2021); the frequency bands of Llama 3 as in its reference code.
"""

from __future__ import annotations

import decimal
from dataclasses import dataclass

import numpy as np

from nacrith.arith import F32, F64
from nacrith.errors import ModelError

LOW = 256
"""Positions of the fine table; the coarse one steps by this much."""

THETA = (1.0, 1e12)
FACTOR = (0.125, 2.0**20)
"""Least and largest. With these no angle per position exceeds 8, which is what `_cos_sin` is good for."""

_BITS = 160
_ONE = 1 << _BITS


@dataclass(frozen=True)
class RopeTables:
    """cos and sin, float64: fine (LOW, half) for p % LOW and coarse (n, half) for p // LOW."""

    fine: F64  # (2, LOW, half)
    coarse: F64  # (2, n, half)

    @property
    def limit(self) -> int:
        """First position that cannot be rotated."""
        return LOW * self.coarse.shape[1]

    def at(self, positions: np.ndarray) -> tuple[F32, F32]:
        """cos and sin of positions (int64, any shape), each of shape positions.shape + (half,)."""
        fine = self.fine[:, positions % LOW]
        coarse = self.coarse[:, positions // LOW]
        cos = coarse[0] * fine[0] - coarse[1] * fine[1]
        sin = coarse[1] * fine[0] + coarse[0] * fine[1]
        return cos.astype(np.float32), sin.astype(np.float32)


def rotate(x: F32, cos: F32, sin: F32) -> F32:
    """Rotate pairs (i, i + half) of the last axis of x; cos and sin broadcast against x's halves."""
    half = x.shape[-1] // 2
    a, b = x[..., :half], x[..., half:]
    out = np.empty_like(x)
    np.subtract(a * cos, b * sin, out=out[..., :half])
    np.add(b * cos, a * sin, out=out[..., half:])
    return out


def check(half: int, theta: float, factors: list[float] | None) -> None:
    """ModelError for a rotation that cannot be computed."""
    if not THETA[0] <= theta <= THETA[1]:
        raise ModelError(f"rotation of base {theta!r}; supported are {THETA[0]:g} to {THETA[1]:g}")
    if factors is not None and len(factors) != half:
        raise ModelError(f"{len(factors)} factors for {half} frequencies of rotation")
    if not all(FACTOR[0] <= f <= FACTOR[1] for f in factors or ()):
        raise ModelError(f"factors of rotation beyond {FACTOR[0]:g} to {FACTOR[1]:g}, which are supported")


def frequencies(half: int, theta: float, factors: list[float] | None = None) -> list[int]:
    """theta^(-i / half) / factors[i] for i < half, as integers of 160 fractional bits."""
    with decimal.localcontext() as context:
        context.prec = 80
        log_theta = decimal.Decimal(theta).ln()
        out = []
        for i in range(half):
            f = (-log_theta * i / half).exp()
            if factors is not None:
                f /= decimal.Decimal(factors[i])
            out.append(int((f * _ONE).to_integral_value()))
    return out


def llama3_factors(
    half: int, theta: float, factor: float, low: float, high: float, context: float
) -> list[float]:
    """Divisors of the frequencies, rounded to binary32: 1 for waves shorter than context / high,
    `factor` for those longer than context / low; between them the frequency is a blend of the two.
    """
    out = []
    for f in frequencies(half, theta):
        turns = context * (f / _ONE) / (2 * np.pi)  # of a wave within the original context
        keep = min(1.0, max(0.0, (turns - low) / (high - low)))
        out.append(float(np.float32(1.0 / ((1.0 - keep) / factor + keep))))
    return out


def tables(freqs: list[int], limit: int) -> RopeTables:
    """Tables for positions below `limit` (rounded up to a multiple of LOW)."""
    count = -(-limit // LOW)
    fine = np.empty((2, LOW, len(freqs)))
    coarse = np.empty((2, count, len(freqs)))
    for i, f in enumerate(freqs):
        step = _cos_sin(f)
        end = _powers(step, fine[:, :, i])
        _powers(end, coarse[:, :, i])
    return RopeTables(fine, coarse)


def _powers(step: tuple[int, int], out: F64) -> tuple[int, int]:
    """out[:, n] = cos, sin of n steps; returns the value after the last."""
    c, s = _ONE, 0
    cs, ss = step
    for n in range(out.shape[1]):
        out[0, n], out[1, n] = c / _ONE, s / _ONE  # int / int: correctly rounded
        c, s = (c * cs - s * ss) >> _BITS, (s * cs + c * ss) >> _BITS
    return c, s


def _cos_sin(angle: int) -> tuple[int, int]:
    """cos and sin of an angle of at most a few radians, by Taylor's series in fixed point."""
    total = [0, 0]
    term, k = _ONE, 0
    while term:
        total[k % 2] += -term if k % 4 >= 2 else term
        k += 1
        term = (term * angle >> _BITS) // k
    return total[0], total[1]
