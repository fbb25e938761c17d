"""Several models as one, whatever their vocabularies: their distributions of the next byte are joined.

"product": logistic mixing, p ~ product of p_i^w_i, the weights learnt online by the gradient of the cost
(Mattern, "Mixing Strategies in Data Compression", 2012). "mixture": p = sum of w_i p_i with the weights of
Bayes' rule, a part of which is given out again as the shares have been so far on average: a member that has
been good can come back, one that never was gets nothing (Bousquet and Warmuth, "Tracking a Small Set of
Experts by Mixing Past Posteriors", 2002). "both", the default: the mixture of the learnt product, of one
product for each member that leans to it, and of the members, which is never much worse than the best of them.
The leaning products are there because exponents take hundreds of bytes to be learnt, and shares a dozen.

Only single IEEE operations in a fixed order decide a result, so it is portable when the members are.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from nacrith.arith import exp2
from nacrith.bytelevel.rows import F64, log2
from nacrith.bytelevel.state import HISTORY, counts_of
from nacrith.errors import ModelError

KINDS = ("both", "product", "mixture")

_LEAST = 2.0**-60
_RATE, _LEAST_RATE, _SLOWER = 0.015, 0.003, 100.0  # of the exponents: the first, the last, half way in bytes
_AGAIN, _LEAST_AGAIN = 0.02, 0.002  # of the shares: given out again at first, and always
_SETTLED = 100.0  # bytes after which what is above the least is half
_FIRST = 15  # bytes for which the shares of the beginning count in the average
_LEANT, _REST = 0.9, 0.2  # exponents in a leaning product: of its member, of all others together


class Reader(Protocol):
    """What a byte model's state can do: `ByteState` is one."""

    def push(self, byte: int) -> None: ...

    def extend(self, data: bytes) -> None: ...

    def next_byte(self) -> F64: ...

    def score(self, data: bytes) -> float: ...

    def distributions(self, data: bytes) -> F64: ...

    def rollback(self, count: int = 1) -> None: ...

    def fork(self) -> Reader: ...


class Source(Protocol):
    """What makes such states: `ByteModel`, or an ensemble."""

    def start(self) -> Reader: ...


class ByteEnsemble:
    """Byte models as one. ValueError for none, or for a kind outside KINDS."""

    def __init__(self, members: Sequence[Source], kind: str = "both") -> None:
        if not members or kind not in KINDS:
            raise ValueError(f"an ensemble needs members and one of the kinds {', '.join(KINDS)}")
        self.members, self.kind = list(members), kind

    def start(self) -> EnsembleState:
        """The state before the first byte."""
        return EnsembleState([m.start() for m in self.members], self.kind)

    def score(self, data: bytes) -> float:
        """The bits of `data` from its beginning on."""
        return float(self.start().profile(data).sum())


class _Learnt(NamedTuple):
    """exponents: of the members in the learnt product. shares: of what is mixed, which is the products, the
    members, or both in this order. average: of all shares so far."""

    exponents: F64
    shares: F64
    average: F64


class _Told(NamedTuple):
    """p: the joint distribution. mixed, logs: what it was made of; logs are the members', and the first that
    is mixed is the learnt product if there is one."""

    p: F64
    mixed: F64
    logs: F64


class EnsembleState:
    """The states of the members after the same bytes, and what has been learnt of them."""

    def __init__(self, states: Sequence[Reader], kind: str = KINDS[0]) -> None:
        self._states, self._kind = list(states), kind
        count = len(self._states)
        self._leaning = _leaning(count) if kind == "both" else []
        products = 0 if kind == "mixture" else 1 + len(self._leaning)
        members = 0 if kind == "product" else count
        shares = np.repeat([_half(products, members), _half(members, products)], [products, members])
        self._learnt = _Learnt(np.full(count, 1.0 / count), shares, shares)
        self._past: deque[_Learnt] = deque(maxlen=HISTORY)
        self._length = 0
        self._told: _Told | None = None

    def __len__(self) -> int:
        """How many bytes have been read."""
        return self._length

    @property
    def exponents(self) -> F64:
        """float64 (members,): the weights in the product."""
        return self._learnt.exponents

    def fork(self) -> EnsembleState:
        twin = EnsembleState([s.fork() for s in self._states], self._kind)
        twin._learnt, twin._past, twin._told = self._learnt, self._past.copy(), self._told
        twin._length = self._length
        return twin

    def rollback(self, count: int = 1) -> None:
        """Forget the last `count` bytes, and what was learnt from them."""
        for state in self._states:
            state.rollback(count)
        for _ in range(count):
            self._learnt, self._told = self._past.pop(), None
        self._length -= count

    def push(self, byte: int) -> None:
        """Read one byte, and learn from how well each member had predicted it. ModelError if a member cannot
        read it; then none has."""
        told = self._joined()
        for i, state in enumerate(self._states):
            try:
                state.push(byte)
            except ModelError:
                for earlier in self._states[:i]:
                    earlier.rollback()
                raise
        self._learn(told, byte)

    def extend(self, data: bytes) -> None:
        """Read bytes, and learn from them."""
        self.distributions(data)

    def next_byte(self) -> F64:
        """float64 (257,): as of `ByteState`."""
        return self._joined().p

    def counts(self) -> npt.NDArray[np.int64]:
        """As of `ByteState`."""
        return counts_of(self.next_byte())

    def distributions(self, data: bytes) -> F64:
        """float64 (len(data), 257): `next_byte` before each byte of `data`, which the state reads."""
        rows = np.stack([s.distributions(data) for s in self._states])
        out = np.empty(rows.shape[1:])
        for i, byte in enumerate(data):
            told = self._join(rows[:, i])
            out[i] = told.p
            self._learn(told, byte)
        return out

    def profile(self, data: bytes) -> F64:
        """float64 (len(data),): the bits of each byte of `data`, which the state reads."""
        return -np.log2(self.distributions(data)[np.arange(len(data)), list(data)])

    def score(self, data: bytes) -> float:
        """The bits that `data` costs after the bytes read. The state does not change."""
        return float(self.fork().profile(data).sum())

    def _joined(self) -> _Told:
        if self._told is None:
            self._told = self._join(np.stack([s.next_byte() for s in self._states]))
        return self._told

    def _join(self, rows: F64) -> _Told:
        """The joint distribution of rows (members, 257)."""
        exponents, shares, _ = self._learnt
        logs = log2(np.maximum(rows, _LEAST))
        products = [] if self._kind == "mixture" else [_product(e, logs) for e in (exponents, *self._leaning)]
        mixed = np.vstack([*products, *(() if self._kind == "product" else rows)])
        p = _weighted(shares, mixed)
        return _Told(p / float(p.cumsum()[-1]), mixed, logs)

    def _learn(self, told: _Told, byte: int) -> None:
        self._past.append(self._learnt)
        self._length += 1
        exponents, shares, average = self._learnt
        read = self._length
        rate = _LEAST_RATE + _RATE / (1 + read / _SLOWER)
        again = _LEAST_AGAIN + _AGAIN / (1 + read / _SETTLED)
        expected = np.cumsum(told.mixed[0] * told.logs, axis=1)[:, -1]
        posterior = shares * told.mixed[:, byte]
        total = float(posterior.cumsum()[-1])
        if total > 0:
            posterior = posterior / total
            average = average + (posterior - average) / (read + _FIRST)
            shares = posterior * (1 - again) + average * again
        self._learnt = _Learnt(exponents + rate * (told.logs[:, byte] - expected), shares, average)
        self._told = None


def _leaning(count: int) -> list[F64]:
    """The exponents of the products of `count` members that lean to each of them."""
    rest = _REST / (count - 1) if count > 1 else 0.0
    return [np.where(np.arange(count) == i, _LEANT, rest) for i in range(count)]


def _half(mine: int, others: int) -> float:
    """The first share of each of `mine`: together they have half, or everything if there are no others."""
    return (0.5 if others else 1.0) / mine if mine else 0.0


def _product(exponents: F64, logs: F64) -> F64:
    """The product of the members, as a distribution."""
    weighted = _weighted(exponents, logs)
    powers = exp2((weighted - weighted.max()).astype(np.float32)).astype(np.float64)
    product: F64 = powers / float(powers.cumsum()[-1])
    return product


def _weighted(weights: F64, rows: F64) -> F64:
    """The weighted sum of rows, added up in order."""
    result = np.zeros(rows.shape[1])
    for weight, row in zip(weights.tolist(), rows, strict=True):
        result += weight * row
    return result
