"""The coding parameters that an archive records: every parameter that changes the coded bits.

Layout (formats/coding-v1.md): version byte, predictor byte, window as a LEB128 varint. The low four bits of
the predictor byte are the number of the predictor set; for sets 1 and 2, the high four bits are log2 of the
n-grams' capacity, minus 8. Version 2 appends the binding of a floating-point model.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from nacrith.errors import CorruptError, UnsupportedFormatError
from nacrith.predictors.registry import ALONE, SETS
from nacrith.varint import put_varint, read_varint

PORTABLE, BOUND = 1, 2
"""Versions of the layout: without a binding, and with one."""

MAX_WINDOW = 1 << 16

CAPACITY = range(8, 21)
"""log2 of the number of contexts of one order that a generation of the n-grams holds."""

_ENTRY = re.compile("([a-z0-9-]{1,32})=([ -~]{1,64})")


@dataclass(frozen=True)
class CodingParams:
    """window: tokens that the model attends to. predictors: number of the predictor set. capacity: log2 of
    the n-grams' capacity; 0 for set 0. binding: everything else that the rows of a floating-point model
    depend on (models.floats.binding); empty for exact models."""

    window: int
    predictors: int = ALONE
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
        if data[1] == ALONE:
            capacity = 0
        elif predictors == ALONE or predictors not in SETS or capacity not in CAPACITY:
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
        raise CorruptError("the archive's coding parameters are damaged after the window length")
    return found
