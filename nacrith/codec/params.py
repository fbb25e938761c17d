"""The codec's record in an archive: every parameter that changes the coded bits.

Layout (formats/coding-v1.md): version byte 1, predictor set byte, window as a LEB128 varint.
"""

from __future__ import annotations

from dataclasses import dataclass

from nacrith.codec.varint import put_varint, read_varint
from nacrith.errors import CorruptError, UnsupportedFormatError

CODING_VERSION = 1
MAX_WINDOW = 1 << 16


@dataclass(frozen=True)
class CodingParams:
    """window: tokens that the model attends to. predictors: which ensemble stands beside the model
    (0: none)."""

    window: int
    predictors: int = 0

    def to_bytes(self) -> bytes:
        return bytes([CODING_VERSION, self.predictors]) + put_varint(self.window)

    @classmethod
    def from_bytes(cls, data: bytes) -> CodingParams:
        if len(data) < 3:
            raise CorruptError("the archive's coding parameters are cut short")
        if data[0] != CODING_VERSION:
            raise UnsupportedFormatError(
                f"the archive uses coding version {data[0]}, this nacrith reads version"
                f" {CODING_VERSION}: update nacrith"
            )
        if data[1] != 0:
            raise UnsupportedFormatError(
                f"the archive uses predictor set {data[1]}, which this nacrith lacks: update nacrith"
            )
        try:
            window, length = read_varint(data[2:])
        except ValueError:
            window = length = 0
        if length != len(data) - 2 or len(data) > 5 or not 16 <= window <= MAX_WINDOW:
            raise CorruptError("the archive's window length is out of range")
        return cls(window, data[1])
