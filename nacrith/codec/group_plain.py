"""Until the coders of coding 2 are here: the model's counts alone, a token at a time, nothing learnt."""

from __future__ import annotations

from nacrith.codec.group import Numbers
from nacrith.coder.cdf import counts, interval
from nacrith.coder.range_coder import Decoder, Encoder
from nacrith.models.protocol import Logits


class PlainEncoder:
    def __init__(self) -> None:
        self._encoder = Encoder()

    def encode(self, rows: Logits, lanes: Numbers, at: Numbers, tokens: Numbers) -> None:
        for row, token in zip(at.tolist(), tokens.tolist(), strict=True):
            self._encoder.encode(*interval(counts(rows[row]), token))

    def finish(self) -> bytes:
        return self._encoder.finish()


class PlainDecoder:
    def __init__(self, payload: bytes) -> None:
        self._decoder = Decoder(payload)

    def decode(self, rows: Logits, lanes: Numbers, at: Numbers) -> list[int]:
        return [self._decoder.decode(counts(rows[row])) for row in at.tolist()]
