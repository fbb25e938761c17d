"""The coding step, which encoder and decoder share.

    distribution of the model -> (predictors, mixer) -> counts -> range coder -> update

An ensemble takes a step: `counts` of a row, then `update` with the symbol. The decoder reads the symbol
between the two calls and takes one step at a time. The encoder knows its symbols, and the ensemble takes
many steps in one call (`Ensemble.intervals`), with the same results by contract.
"""

from __future__ import annotations

from collections.abc import Sequence

from nacrith.coder.range_coder import Decoder, Encoder
from nacrith.models.protocol import Logits
from nacrith.predictors.protocol import Ensemble


class EncodePort:
    """Writes symbols, given the model's rows and the ensemble of a block."""

    def __init__(self, ensemble: Ensemble) -> None:
        self._ensemble = ensemble
        self._encoder = Encoder()

    def steps(self, rows: Logits, symbols: Sequence[int]) -> None:
        """Encode n symbols. rows: (n, V)."""
        low, count = self._ensemble.intervals(rows, symbols)
        for interval in zip(low.tolist(), count.tolist(), strict=True):
            self._encoder.encode(*interval)

    def finish(self) -> bytes:
        return self._encoder.finish()


class DecodePort:
    """Reads the symbols that an EncodePort has written."""

    def __init__(self, ensemble: Ensemble, data: bytes) -> None:
        self._ensemble = ensemble
        self._decoder = Decoder(data)

    def step(self, row: Logits) -> int:
        """Decode one symbol. row: (V,)."""
        symbol = self._decoder.decode(self._ensemble.counts(row))
        self._ensemble.update(symbol)
        return symbol
