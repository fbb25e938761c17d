"""Tables for rotary position embeddings that are the same on every machine.

Angles are computed as integers with 160 fractional bits (Python ints, and `decimal` for the power of theta),
without libm, and rounded once to binary64. The rotation of a position p = 256 h + l is the product of two
table entries in binary64, exp(i f 256 h) * exp(i f l), so two small tables cover all positions.

Rotary embedding: Su et al., RoFormer (2021); the frequency bands of Llama 3 as in its reference code.
"""

from __future__ import annotations

import decimal
from dataclasses import dataclass

import numpy as np

from nacrith.arith import F32, F64
from nacrith.errors import ModelError

LOW = 256
"""Entries of the fine table, and the step between entries of the coarse table."""

THETA = (1.0, 1e12)
FACTOR = (0.125, 2.0**20)
"""Smallest and largest values. Within them no angle per position exceeds 8, the range of `_cos_sin`."""

_BITS = 160
_ONE = 1 << _BITS


@dataclass(frozen=True)
class RopeTables:
    """cos and sin in binary64: fine (LOW, half) for p % LOW, and coarse (n, half) for p // LOW."""

    fine: F64  # (2, LOW, half)
    coarse: F64  # (2, n, half)

    @property
    def limit(self) -> int:
        """The number of positions that the tables cover."""
        return LOW * self.coarse.shape[1]

    def at(self, positions: np.ndarray) -> tuple[F32, F32]:
        """cos and sin of positions (int64, any shape), each of shape positions.shape + (half,)."""
        fine = self.fine[:, positions % LOW]
        coarse = self.coarse[:, positions // LOW]
        cos = coarse[0] * fine[0] - coarse[1] * fine[1]
        sin = coarse[1] * fine[0] + coarse[0] * fine[1]
        return cos.astype(np.float32), sin.astype(np.float32)


def rotate(x: F32, cos: F32, sin: F32) -> F32:
    """Rotate the pairs (i, i + half) of the last axis of x; cos and sin broadcast against its halves."""
    half = x.shape[-1] // 2
    a, b = x[..., :half], x[..., half:]
    out = np.empty_like(x)
    np.subtract(a * cos, b * sin, out=out[..., :half])
    np.add(b * cos, a * sin, out=out[..., half:])
    return out


def check(half: int, theta: float, factors: list[float] | None) -> None:
    """ModelError for rotation parameters that are not supported."""
    if not THETA[0] <= theta <= THETA[1]:
        raise ModelError(f"rotation of base {theta!r}; supported are {THETA[0]:g} to {THETA[1]:g}")
    if factors is not None and len(factors) != half:
        raise ModelError(f"{len(factors)} factors for {half} frequencies of rotation")
    if not all(FACTOR[0] <= f <= FACTOR[1] for f in factors or ()):
        raise ModelError(f"factors of rotation beyond {FACTOR[0]:g} to {FACTOR[1]:g}, which are supported")


def frequencies(half: int, theta: float, factors: list[float] | None = None) -> list[int]:
    """theta^(-i / half) / factors[i] for i < half, as integers with 160 fractional bits."""
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
    """The frequency divisors of Llama 3, rounded to binary32: 1 for wavelengths below context / high,
    `factor` for those above context / low, and an interpolation of the frequency in between.
    """
    out = []
    for f in frequencies(half, theta):
        turns = context * (f / _ONE) / (2 * np.pi)  # turns of the wave within the original context
        keep = min(1.0, max(0.0, (turns - low) / (high - low)))
        out.append(float(np.float32(1.0 / ((1.0 - keep) / factor + keep))))
    return out


def tables(freqs: list[int], limit: int) -> RopeTables:
    """The tables for positions below `limit`, rounded up to a multiple of LOW."""
    count = -(-limit // LOW)
    fine = np.empty((2, LOW, len(freqs)))
    coarse = np.empty((2, count, len(freqs)))
    for i, f in enumerate(freqs):
        step = _cos_sin(f)
        end = _powers(step, fine[:, :, i])
        _powers(end, coarse[:, :, i])
    return RopeTables(fine, coarse)


def _powers(step: tuple[int, int], out: F64) -> tuple[int, int]:
    """Set out[:, n] to cos and sin of n steps; returns the value that follows the last."""
    c, s = _ONE, 0
    cs, ss = step
    for n in range(out.shape[1]):
        out[0, n], out[1, n] = c / _ONE, s / _ONE  # int / int: correctly rounded
        c, s = (c * cs - s * ss) >> _BITS, (s * cs + c * ss) >> _BITS
    return c, s


def _cos_sin(angle: int) -> tuple[int, int]:
    """cos and sin of an angle of at most a few radians, by their Taylor series in fixed point."""
    total = [0, 0]
    term, k = _ONE, 0
    while term:
        total[k % 2] += -term if k % 4 >= 2 else term
        k += 1
        term = (term * angle >> _BITS) // k
    return total[0], total[1]
