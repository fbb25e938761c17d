"""The protocols between the container and the codecs.

The archive layer cuts content into blocks and stores them; it knows neither models nor compression
libraries. A `BlockCodec` turns a block of text into a payload and back with a language model; `nacrith.codec`
provides the real one, and a reader is given a function that finds the codec for the `CodecId` in a header.
`FallbackCodecs` codes every other block; `nacrith.fallback` provides it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Protocol

Progress = Callable[[int], None]
"""A callback that receives the number of content bytes finished since its last call."""


@dataclass(frozen=True)
class CodecId:
    """The parameters that a decoder needs for the model-coded blocks of a stream.

    fingerprint: the SHA-256 (32 bytes) of everything in the model that affects its output. A short stream
        stores only its first 4 bytes.
    params: at most 255 bytes that are opaque to the archive: the codec records here every parameter that
        affects the coded bits (arithmetic version, window, predictor set, ...).
    model_name: a short name for people, at most 64 bytes of UTF-8. It is a hint and never trusted.
    """

    fingerprint: bytes
    params: bytes
    model_name: str


class BlockCodec(Protocol):
    """Codes blocks with a language model. Blocks are independent: any subset of them can be decoded."""

    @property
    def id(self) -> CodecId: ...

    @property
    def batch(self) -> int:
        """Bytes of content that are worth decoding at a time. It never affects the bytes."""
        ...

    def encode(self, blocks: Sequence[bytes], progress: Progress | None = None) -> list[bytes]:
        """Return the payload of each block. Any bytes are valid, but only text compresses well."""
        ...

    def decode(self, blocks: Sequence[tuple[bytes, int]], progress: Progress | None = None) -> list[bytes]:
        """Return the content of each (payload, content length).

        For a damaged payload the result is wrong bytes of some length, or a `CorruptError` is raised. No
        payload causes another error, a hang or more output than the stated length. The caller compares
        checksums.
        """
        ...

    def verify_source(self) -> None:
        """Raise NacrithError if the model file has changed since it was loaded, so that what was encoded may
        not be decodable. Callers ask before they remove or replace a source file."""
        ...


class Effort(IntEnum):
    """How much time the fallback codecs may spend."""

    BESIDE = 0
    """The model has coded the block too: only what is fast and good at short text."""

    FAST = 1
    """Only what is fast both ways."""

    MEDIUM = 2
    """Everything, but the slow codecs in their fast form."""

    FULL = 3


@dataclass(frozen=True)
class FallbackBlock:
    """A block that a fallback codec has coded.

    kind: the block kind of the codec.
    """

    kind: int
    payload: bytes


class FallbackCodecs(Protocol):
    """Codes blocks without a model."""

    @property
    def names(self) -> Mapping[int, str]:
        """The names of all block kinds that it decodes, by kind. Kind 0 (raw) is always present."""
        ...

    def encode(
        self,
        data: bytes,
        *,
        text: bool = False,
        effort: Effort = Effort.FULL,
        threads: int = 1,
    ) -> FallbackBlock:
        """Return the smallest coding of `data`; it is never longer than `data`.

        text: `data` is text.
        """
        ...

    def decode(self, kind: int, payload: bytes, size: int) -> bytes:
        """Return the content, `size` bytes. Raises CorruptError if `payload` is damaged.

        kind: one of `names`.
        """
        ...
