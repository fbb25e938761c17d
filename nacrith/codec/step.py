"""The steps of coding: the same for encoder and decoder.

    distribution of the model -> (predictors, mixer) -> counts -> symbol through the range coder -> update

A step is the ensemble's: `counts` of a row, then `update` with the symbol. The decoder reads the symbol
between the two and takes steps one by one; the encoder knows its symbols and has the ensemble take many
steps in one call (`Ensemble.intervals`), which by contract is the same. Whatever a step computes, both
sides therefore compute.
"""

from __future__ import annotations

from collections.abc import Sequence

from nacrith.coder.range_coder import Decoder, Encoder
from nacrith.models.protocol import Logits
from nacrith.predictors import Ensemble


class EncodePort:
    """Writes symbols, given the model's rows and what the predictors of a block know."""

    def __init__(self, ensemble: Ensemble) -> None:
        self._ensemble = ensemble
        self._encoder = Encoder()

    def steps(self, rows: Logits, symbols: Sequence[int]) -> None:
        """rows: (n, V), of n symbols."""
        low, count = self._ensemble.intervals(rows, symbols)
        for interval in zip(low.tolist(), count.tolist(), strict=True):
            self._encoder.encode(*interval)

    def finish(self) -> bytes:
        return self._encoder.finish()


class DecodePort:
    """Reads them back."""

    def __init__(self, ensemble: Ensemble, data: bytes) -> None:
        self._ensemble = ensemble
        self._decoder = Decoder(data)

    def step(self, row: Logits) -> int:
        """row: (V,). The symbol."""
        symbol = self._decoder.decode(self._ensemble.counts(row))
        self._ensemble.update(symbol)
        return symbol
