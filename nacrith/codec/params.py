"""The coding parameters that an archive records: every parameter that changes the coded bits.

Layout: version byte, predictor byte, learner byte, window as a LEB128 varint, the name of a prefix where
there is one, and what the version has more: in coding 2 the binding of a floating-point model, empty for an
exact one; in coding 3, that of an ensemble, the first 4 bytes of the fingerprint of each member. The low four
bits of the predictor byte are the number of the predictor set; except for set 0, the high four bits are log2
of the n-grams' capacity, minus 8. The learner byte is log2 of the bytes of its histories; bit 7 says
that the name of a prefix stands behind the window.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from nacrith.errors import CorruptError, UnsupportedFormatError
from nacrith.predictors.registry import ALONE, SETS
from nacrith.varint import put_varint, read_varint

VERSION, ENSEMBLE = 2, 3

MAX_WINDOW = 1 << 16

CAPACITY = range(8, 21)
"""log2 of the number of contexts of one order that a generation of the n-grams holds."""

BITS = range(16, 27)
"""log2 of the bytes of the learner's histories."""

NAMED = 8
"""Bytes of the SHA-256 of a prefix. They find mistakes; the archive's checks find the rest
(formats/coding-v2.md, section 4)."""

_ROOM = 1 << 12  # bytes of histories for each token of a block, at most
_PREFIX = 0x80  # in the learner byte

MEMBER = 4
"""Bytes of the fingerprint of each member of an ensemble."""

MEMBERS = range(2, 9)
"""How many members an ensemble has."""

_HEAD = 3  # bytes before the window
_ENTRY = re.compile("([a-z0-9-]{1,32})=([ -~]{1,64})")


@dataclass(frozen=True)
class CodingParams:
    """window: tokens that the model attends to. predictors: number of the predictor set. capacity: log2 of
    the n-grams' capacity; 0 for set 0. bits: log2 of the bytes of the learner's histories. binding:
    everything else that the rows of a floating-point model depend on (models.floats.binding); empty for exact
    models. members: of an ensemble, what its fingerprints begin with; none for a single model. prefix: what
    `prefix.name_of` calls the prefix of all blocks; b"" for none."""

    window: int
    predictors: int = ALONE
    capacity: int = 0
    bits: int = 18
    binding: Mapping[str, str] = field(default_factory=dict)
    members: tuple[bytes, ...] = ()
    prefix: bytes = b""

    def bits_for(self, tokens: int) -> int:
        """log2 of the bytes of histories of a block with so many tokens: a short one needs few, and damaged
        parameters get no more."""
        return min(self.bits, max(BITS.start, (_ROOM * tokens - 1).bit_length()))

    def to_bytes(self) -> bytes:
        capacity = (self.capacity - CAPACITY.start) << 4 if self.predictors else 0
        version = ENSEMBLE if self.members else VERSION
        bits = self.bits | (_PREFIX if self.prefix else 0)
        head = bytes([version, self.predictors | capacity, bits]) + put_varint(self.window) + self.prefix
        if self.members:
            return head + b"".join(self.members)
        return head + "\n".join(f"{name}={value}" for name, value in self.binding.items()).encode("ascii")

    @classmethod
    def from_bytes(cls, data: bytes) -> CodingParams:
        version = data[0] if data else VERSION
        if version not in (VERSION, ENSEMBLE):  # before the length, which other versions may have another of
            raise UnsupportedFormatError(
                f"the archive uses coding version {version}, this nacrith reads {VERSION} and {ENSEMBLE}:"
                f" {'update nacrith' if version > ENSEMBLE else 'it was made before the first release'}"
            )
        if len(data) <= _HEAD:
            raise CorruptError("the archive's coding parameters are cut short")
        made_of, bits = data[1], data[2] & ~_PREFIX
        predictors, capacity = made_of & 15, (made_of >> 4) + CAPACITY.start
        if made_of == ALONE:
            capacity = 0
        elif predictors == ALONE or predictors not in SETS or capacity not in CAPACITY:
            raise UnsupportedFormatError(
                f"the archive uses predictors {made_of:#04x}, which this nacrith lacks: update nacrith"
            )
        if bits not in BITS:
            raise CorruptError("the archive's learner has a size that is out of range")
        try:
            window, length = read_varint(data[_HEAD : _HEAD + 3], 3)
        except ValueError:
            window = length = 0
        if not length or not 16 <= window <= MAX_WINDOW:
            raise CorruptError("the archive's window length is out of range")
        prefix, rest = b"", data[_HEAD + length :]
        if data[2] & _PREFIX:
            prefix, rest = rest[:NAMED], rest[NAMED:]
            if len(prefix) < NAMED:
                raise CorruptError("the archive's coding parameters are cut short in the hash of a prefix")
        if version == ENSEMBLE:
            return cls(window, predictors, capacity, bits, members=_members(rest), prefix=prefix)
        return cls(window, predictors, capacity, bits, _binding(rest), prefix=prefix)


def _members(data: bytes) -> tuple[bytes, ...]:
    if len(data) % MEMBER or len(data) // MEMBER not in MEMBERS:
        raise CorruptError("the archive's coding parameters do not name the models of an ensemble")
    return tuple(data[i : i + MEMBER] for i in range(0, len(data), MEMBER))


def _binding(data: bytes) -> dict[str, str]:
    if not data:
        return {}
    entries = [_ENTRY.fullmatch(line) for line in data.decode("latin-1").split("\n")]
    found = {entry[1]: entry[2] for entry in entries if entry}
    if len(found) < len(entries):
        raise CorruptError("the archive's coding parameters are damaged after the window length")
    return found
