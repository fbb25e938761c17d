"""Range coding of symbols given by 24-bit counts: constriction's queue coder, ended on a byte.

The coder sees integers only. It works on 32-bit words with a 64-bit state (Martin 1979; Bamler,
constriction, 2022); a stream here is its bytes, big-endian, without the zero bytes at the end, which a
decoder puts back.
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
    """An entropy model with exactly these counts, each >= 1, which sum to TOTAL.

    constriction gives every symbol one count and shares out the rest in proportion to the weights
    given; weights count - 1 sum to just that rest, so the shares are whole numbers.
    """
    return Categorical(np.subtract(counts, 1, dtype=np.float64), perfect=False, lazy=True)


class Encoder:
    """Codes symbols, each as an interval [low, low + count) of [0, TOTAL)."""

    def __init__(self) -> None:
        self._coder = RangeEncoder()

    def encode(self, low: int, count: int) -> None:
        # Three symbols (below, it, above) give the same interval as the whole alphabet.
        above = TOTAL - low - count
        if count == TOTAL:
            return
        parts = [n for n in (low, count, above) if n]
        self._coder.encode(1 if low else 0, _model(np.array(parts)))

    def finish(self) -> bytes:
        """The shortest byte string that decodes to what was encoded."""
        words = self._coder.get_compressed()
        done, (lower, width) = self._coder.pos()
        # The sealed stream is one number of the final interval [first, first + width): find where in
        # the interval it lies from the 64 bits that the state covers, then the shortest number there.
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
    """Reads the symbols back, given the same counts."""

    def __init__(self, data: bytes) -> None:
        padding = -len(data) % _WORD + _STATE
        self._coder = RangeDecoder(np.frombuffer(data + bytes(padding), ">u4").astype(np.uint32))

    def decode(self, counts: F32) -> int:
        try:
            return int(self._coder.decode(_model(counts)))
        except (AssertionError, ValueError) as error:
            raise CorruptError(f"the coded data is damaged: {error}") from None
