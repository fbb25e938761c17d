"""Range coding of symbols with 24-bit counts: constriction's queue coder, with a stream that ends on a byte.

The coder uses integers only: 32-bit words and a 64-bit state (Martin 1979; Bamler, constriction, 2022). A
stream consists of the bytes of the words, big-endian, without trailing zero bytes; the decoder restores
these.
"""

from __future__ import annotations

from typing import Any

import constriction
import numpy as np
import numpy.typing as npt

from nacrith.arith import F32
from nacrith.coder.cdf import TOTAL
from nacrith.errors import CorruptError

Categorical = constriction.stream.model.Categorical
RangeEncoder = constriction.stream.queue.RangeEncoder
RangeDecoder = constriction.stream.queue.RangeDecoder

_WORD = 4
_STATE = 8  # bytes of the coder's interval


def _model(counts: npt.NDArray[Any]) -> Any:
    """An entropy model with exactly these counts, which are at least 1 and sum to TOTAL.

    constriction gives every symbol one count and distributes the rest in proportion to the given weights. The
    weights count - 1 sum to exactly this rest, so the shares are integers.
    """
    return Categorical(np.subtract(counts, 1, dtype=np.float64), perfect=False, lazy=True)


class Encoder:
    """Encodes symbols, each given by its interval [low, low + count) of [0, TOTAL)."""

    def __init__(self) -> None:
        self._coder = RangeEncoder()

    def encode(self, low: int, count: int) -> None:
        # An alphabet of three symbols (below, this one, above) gives the same interval as the whole one.
        above = TOTAL - low - count
        if count == TOTAL:
            return
        parts = [n for n in (low, count, above) if n]
        self._coder.encode(1 if low else 0, _model(np.array(parts)))

    def finish(self) -> bytes:
        """The shortest byte string that decodes to the encoded symbols."""
        words = self._coder.get_compressed()
        done, (lower, width) = self._coder.pos()
        # The sealed stream is one number in the final interval [first, first + width). Derive `first` from
        # the 64 bits that the state covers, then find the shortest number in the interval.
        size = (done + _STATE // _WORD) * _WORD
        sealed = int.from_bytes(words.astype(">u4").tobytes().ljust(size, b"\0")[:size], "big")
        first = sealed - ((sealed - lower) & ((1 << 8 * _STATE) - 1))
        for length in range(max(0, size - _STATE), size + 1):
            step = 1 << 8 * (size - length)
            number = -(-first // step) * step
            if number < first + width:
                return number.to_bytes(size, "big")[:length].rstrip(b"\0")
        raise AssertionError("the interval holds at least its first number")


class Decoder:
    """Decodes the symbols, given the same counts."""

    def __init__(self, data: bytes) -> None:
        padding = -len(data) % _WORD + _STATE
        self._coder = RangeDecoder(np.frombuffer(data + bytes(padding), ">u4").astype(np.uint32))

    def decode(self, counts: F32) -> int:
        try:
            return int(self._coder.decode(_model(counts)))
        except (AssertionError, ValueError) as error:
            raise CorruptError(f"the coded data is damaged: {error}") from None
