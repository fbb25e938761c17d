"""One step of coding: the same function for encoder and decoder.

    distribution of the model -> (predictors, mixer) -> counts -> symbol through the range coder

The only difference between the two directions is the port: an `EncodePort` is told the symbols and
writes them, a `DecodePort` reads them. Whatever a step computes, both sides therefore compute.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from nacrith.arith import F32
from nacrith.coder.cdf import interval
from nacrith.coder.range_coder import Decoder, Encoder
from nacrith.models.protocol import Logits
from nacrith.predictors import Ensemble


class Port(Protocol):
    """Where a symbol comes from."""

    def code(self, c: F32) -> int:
        """The next symbol, coded under counts c."""
        ...


class EncodePort:
    """Symbols come from a list and go into the coder."""

    def __init__(self, symbols: Sequence[int]) -> None:
        self._symbols = iter(symbols)
        self._encoder = Encoder()

    def code(self, c: F32) -> int:
        symbol = next(self._symbols)
        self._encoder.encode(*interval(c, symbol))
        return symbol

    def finish(self) -> bytes:
        return self._encoder.finish()


class DecodePort:
    """Symbols come out of the coder."""

    def __init__(self, data: bytes) -> None:
        self._decoder = Decoder(data)

    def code(self, c: F32) -> int:
        return self._decoder.decode(c)


def step(logits: Logits, ensemble: Ensemble, port: Port) -> int:
    """Code one symbol given the model's row (V,) and what the predictors know; they learn from it."""
    symbol = port.code(ensemble.counts(logits))
    ensemble.update(symbol)
    return symbol
