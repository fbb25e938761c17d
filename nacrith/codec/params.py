"""The codec's record in an archive: every parameter that changes the coded bits.

Layout (formats/coding-v1.md): version byte 1, predictor byte, window as a LEB128 varint. The predictor
byte holds the set's number below and, for set 1, log2 of the n-grams' capacity less 8 above. Sets are
known by number here, so that `info` needs no predictors.
"""

from __future__ import annotations

from dataclasses import dataclass

from nacrith.codec.varint import put_varint, read_varint
from nacrith.errors import CorruptError, UnsupportedFormatError

CODING_VERSION = 1
MAX_WINDOW = 1 << 16

CAPACITY = range(8, 21)
"""log2 of the contexts that the n-grams keep of an order in one generation."""


@dataclass(frozen=True)
class CodingParams:
    """window: tokens that the model attends to. predictors: the set that stands beside the model.
    capacity: log2, of set 1's n-grams; 0 for set 0."""

    window: int
    predictors: int = 0
    capacity: int = 0

    def to_bytes(self) -> bytes:
        capacity = (self.capacity - CAPACITY.start) << 4 if self.predictors else 0
        return bytes([CODING_VERSION, self.predictors | capacity]) + put_varint(self.window)

    @classmethod
    def from_bytes(cls, data: bytes) -> CodingParams:
        if len(data) < 3:
            raise CorruptError("the archive's coding parameters are cut short")
        if data[0] != CODING_VERSION:
            raise UnsupportedFormatError(
                f"the archive uses coding version {data[0]}, this nacrith reads version"
                f" {CODING_VERSION}: update nacrith"
            )
        predictors, capacity = data[1] & 15, (data[1] >> 4) + CAPACITY.start
        if data[1] == 0:
            capacity = 0
        elif predictors != 1 or capacity not in CAPACITY:
            raise UnsupportedFormatError(
                f"the archive uses predictors {data[1]:#04x}, which this nacrith lacks: update nacrith"
            )
        try:
            window, length = read_varint(data[2:])
        except ValueError:
            window = length = 0
        if length != len(data) - 2 or len(data) > 5 or not 16 <= window <= MAX_WINDOW:
            raise CorruptError("the archive's window length is out of range")
        return cls(window, predictors, capacity)
