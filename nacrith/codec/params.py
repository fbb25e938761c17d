"""The codec's record in an archive: every parameter that changes the coded bits.

Layout (formats/coding-v1.md): version byte 1, predictor set byte, window as a LEB128 varint; for set 1
a byte more, log2 of the n-grams' capacity. Known by number here, so that `info` needs no predictors.
"""

from __future__ import annotations

from dataclasses import dataclass

from nacrith.codec.varint import put_varint, read_varint
from nacrith.errors import CorruptError, UnsupportedFormatError

CODING_VERSION = 1
MAX_WINDOW = 1 << 16

SETS = {0: "none", 1: "cascade"}
"""Predictor sets by number."""

CAPACITY = range(8, 21)
"""log2 of the contexts that the n-grams keep of an order in one generation."""


@dataclass(frozen=True)
class CodingParams:
    """window: tokens that the model attends to. predictors: the set that stands beside the model.
    capacity: log2, of set 1's n-grams."""

    window: int
    predictors: int = 0
    capacity: int = 0

    def to_bytes(self) -> bytes:
        more = bytes([self.capacity]) if self.predictors else b""
        return bytes([CODING_VERSION, self.predictors]) + put_varint(self.window) + more

    @classmethod
    def from_bytes(cls, data: bytes) -> CodingParams:
        if len(data) < 3:
            raise CorruptError("the archive's coding parameters are cut short")
        version, predictors = data[:2]
        if version != CODING_VERSION:
            raise UnsupportedFormatError(
                f"the archive uses coding version {version}, this nacrith reads version"
                f" {CODING_VERSION}: update nacrith"
            )
        if predictors not in SETS:
            raise UnsupportedFormatError(
                f"the archive uses predictor set {predictors}, which this nacrith lacks: update nacrith"
            )
        try:
            window, length = read_varint(data[2:5])
        except ValueError:
            window = length = 0
        if not 16 <= window <= MAX_WINDOW:
            raise CorruptError("the archive's window length is out of range")
        more = data[2 + length :]
        if predictors == 0 and not more:
            return cls(window)
        if predictors == 1 and len(more) == 1 and more[0] in CAPACITY:
            return cls(window, predictors, more[0])
        raise CorruptError("the archive's predictor parameters are out of range")
