"""Orthogonal Hadamard matrices, and multiplying by them in a way that rounds equally on every machine.

A Hadamard matrix has entries 1 and -1 and orthogonal rows; divided by the root of its order it rotates.
Rotating a row with a few large values spreads them evenly over all values, which then round to few bits with
little error. Sylvester (1867): H(2n) = [[H, H], [H, -H]]. Paley (1933): from the squares modulo a prime q,
one of order q + 1 if q mod 4 is 3, one of order 2 (q + 1) if it is 1.

The product is a fixed sequence of elementwise sums in binary64: no BLAS, no reduction.
"""

from __future__ import annotations

from functools import cache
from math import isqrt

import numpy as np
import numpy.typing as npt

from nacrith.arith import F32

Signs = npt.NDArray[np.int8]

_ROWS = 128
"""Rows that are transformed at a time, so that they stay in the processor's cache."""


@cache
def order(size: int) -> int:
    """The largest order of a Hadamard matrix built here that divides `size`."""
    return max(n for n in range(1, size + 1) if size % n == 0 and _split(n))


def _split(n: int) -> tuple[int, int] | None:
    """(a, b) with n = a * b, a a power of 2, b the smallest order of a Paley matrix or 1; None if there are
    none."""
    power = n & -n
    while power:
        if n == power or _prime_of(n // power):
            return power, n // power
        power //= 2
    return None


def _prime_of(n: int) -> int:
    """The prime from which Paley's construction makes a matrix of order n; 0 if there is none."""
    for q, remainder in ((n - 1, 3), (n // 2 - 1, 1)):
        if n % 4 == 0 and q % 4 == remainder and all(q % d for d in range(2, isqrt(q) + 1)):
            return q
    return 0


@cache
def paley(n: int) -> Signs:
    """The Hadamard matrix of order n, one of those that `order` names without factors of 2."""
    if n == 1:
        return np.ones((1, 1), np.int8)
    q = _prime_of(n)
    squares = {i * i % q for i in range(1, q)}
    character = np.array([0] + [1 if i in squares else -1 for i in range(1, q)], np.int8)
    jacobsthal = character[(np.arange(q)[:, None] - np.arange(q)) % q]
    conference = np.zeros((q + 1, q + 1), np.int8)
    conference[0, 1:] = 1
    conference[1:, 0] = 1 if q % 4 == 1 else -1
    conference[1:, 1:] = jacobsthal
    one = np.eye(q + 1, dtype=np.int8)
    if q % 4 == 3:
        return conference + one
    return np.block([[conference + one, conference - one], [conference - one, -conference - one]])


def matrix(n: int) -> Signs:
    """The Hadamard matrix of order n, which is one that `order` names."""
    found = _split(n)
    assert found
    power, rest = found
    made = np.ones((1, 1), np.int8)
    while len(made) < power:
        made = np.block([[made, made], [made, -made]])
    return np.kron(made, paley(rest))


def rotate(x: F32, size: int) -> F32:
    """Each row of x (rows, columns) in pieces of `size` columns, each multiplied by the Hadamard matrix of
    that order (or, block by block, by the largest that divides it), divided by the root of the order.

    columns: a multiple of `size`. Computed in binary64 and rounded once to binary32.
    """
    n = order(size)
    found = _split(n)
    assert found
    power, rest = found
    signs = paley(rest).astype(np.float64)
    root = np.sqrt(np.float64(n))
    out = np.empty_like(x)
    for begin in range(0, len(x), _ROWS):
        part = x[begin : begin + _ROWS].astype(np.float64).reshape(-1, power, rest)
        if rest > 1:
            total = part[..., :1] * signs[:, 0]
            for j in range(1, rest):
                total += part[..., j : j + 1] * signs[:, j]
            part = total
        half = 1
        while half < power:
            pairs = part.reshape(-1, power // (2 * half), 2, half, rest)
            part = np.stack([pairs[:, :, 0] + pairs[:, :, 1], pairs[:, :, 0] - pairs[:, :, 1]], axis=2)
            half *= 2
        np.divide(part, root, out=part)
        out[begin : begin + _ROWS] = part.reshape(-1, x.shape[1])
    return out
