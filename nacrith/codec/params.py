"""The codec's record in an archive: every parameter that changes the coded bits.

Layout (formats/coding-v1.md): version byte 1, predictor set byte, window as a LEB128 varint.
"""

from __future__ import annotations

from dataclasses import dataclass

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
        out = bytearray([CODING_VERSION, self.predictors])
        rest = self.window
        while rest >= 0x80:
            out.append(rest & 0x7F | 0x80)
            rest >>= 7
        out.append(rest)
        return bytes(out)

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
        window = 0
        for i, byte in enumerate(data[2:]):
            window |= (byte & 0x7F) << 7 * i
        if data[-1] & 0x80 or len(data) > 5 or not 16 <= window <= MAX_WINDOW:
            raise CorruptError("the archive's window length is out of range")
        return cls(window, data[1])
