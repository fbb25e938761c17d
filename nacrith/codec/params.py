"""The codec's record in an archive: every parameter that changes the coded bits.

Layout (formats/coding-v1.md): version byte, predictor byte, window as a LEB128 varint. The predictor
byte holds the set's number below and, for sets 1 and 2, log2 of the n-grams' capacity less 8 above. Sets are
known by number here, so that `info` needs no predictors. Version 2 goes on with the binding of a model
that computes in floats.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from nacrith.errors import CorruptError, UnsupportedFormatError
from nacrith.varint import put_varint, read_varint

PORTABLE, BOUND = 1, 2
"""Versions: without a binding and with one."""

MAX_WINDOW = 1 << 16

SETS = (1, 2)
"""Of predictors, beside 0, which is the model alone."""

CAPACITY = range(8, 21)
"""log2 of the contexts that the n-grams keep of an order in one generation."""

_ENTRY = re.compile("([a-z0-9-]{1,32})=([ -~]{1,64})")


@dataclass(frozen=True)
class CodingParams:
    """window: tokens that the model attends to. predictors: the set that stands beside the model.
    capacity: log2, of the n-grams; 0 for set 0. binding: what else the rows of a model in floats depend
    on (models.floats.binding); empty for exact ones."""

    window: int
    predictors: int = 0
    capacity: int = 0
    binding: Mapping[str, str] = field(default_factory=dict)

    def to_bytes(self) -> bytes:
        capacity = (self.capacity - CAPACITY.start) << 4 if self.predictors else 0
        version = BOUND if self.binding else PORTABLE
        head = bytes([version, self.predictors | capacity]) + put_varint(self.window)
        return head + "\n".join(f"{name}={value}" for name, value in self.binding.items()).encode("ascii")

    @classmethod
    def from_bytes(cls, data: bytes) -> CodingParams:
        if len(data) < 3:
            raise CorruptError("the archive's coding parameters are cut short")
        if data[0] not in (PORTABLE, BOUND):
            raise UnsupportedFormatError(
                f"the archive uses coding version {data[0]}, this nacrith reads versions"
                f" {PORTABLE} and {BOUND}: update nacrith"
            )
        predictors, capacity = data[1] & 15, (data[1] >> 4) + CAPACITY.start
        if data[1] == 0:
            capacity = 0
        elif predictors not in SETS or capacity not in CAPACITY:
            raise UnsupportedFormatError(
                f"the archive uses predictors {data[1]:#04x}, which this nacrith lacks: update nacrith"
            )
        try:
            window, length = read_varint(data[2:5], 3)
        except ValueError:
            window = length = 0
        if not length or not 16 <= window <= MAX_WINDOW:
            raise CorruptError("the archive's window length is out of range")
        return cls(window, predictors, capacity, _binding(data[0], data[2 + length :]))


def _binding(version: int, data: bytes) -> dict[str, str]:
    if version == PORTABLE and not data:
        return {}
    entries = [_ENTRY.fullmatch(line) for line in data.decode("latin-1").split("\n")]
    found = {entry[1]: entry[2] for entry in entries if entry}
    if version == PORTABLE or len(found) < len(entries):
        raise CorruptError("the archive's coding parameters are damaged behind the window length")
    return found
