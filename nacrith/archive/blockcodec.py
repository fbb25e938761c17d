"""The protocols between the container and the codecs.

The archive layer cuts content into blocks and stores them; it knows neither models nor compression
libraries. A `BlockCodec` turns a block of text into a payload and back with a language model; `nacrith.codec`
provides the real one, and a reader is given a function that finds the codec for the `CodecId` in a header.
`FallbackCodecs` codes every other block; `nacrith.fallback` provides it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

Progress = Callable[[int], None]
"""Called with the number of further content bytes that are done."""


@dataclass(frozen=True)
class CodecId:
    """What a decoder must know to decode the model-coded blocks of a stream.

    fingerprint: 32 bytes, SHA-256 over everything in the model that changes a bit of its output.
    params: at most 255 bytes, opaque to the archive: the codec's own record of every parameter that
        changes the coded bits (arithmetic version, window, predictor set, ...).
    model_name: short human-readable name, at most 64 bytes of UTF-8; a hint, never trusted.
    """

    fingerprint: bytes
    params: bytes
    model_name: str


class BlockCodec(Protocol):
    """Codes blocks with a language model. Blocks are independent: any subset decodes alone."""

    @property
    def id(self) -> CodecId: ...

    @property
    def lanes(self) -> int:
        """How many blocks this codec likes to be given in one call; never changes the bytes."""
        ...

    def encode(self, blocks: Sequence[bytes], progress: Progress | None = None) -> list[bytes]:
        """Payload of each block. Any bytes are valid input, though text is what it is good at."""
        ...

    def decode(self, blocks: Sequence[tuple[bytes, int]], progress: Progress | None = None) -> list[bytes]:
        """Content of each (payload, content length).

        A damaged payload gives wrong bytes of some length or a `CorruptError`; it never raises
        anything else, never hangs and never makes more than the stated length. The caller checks.
        """
        ...

    def verify_source(self) -> None:
        """NacrithError if what it codes with has changed since it was loaded, so that nobody may be able to
        decode what it encoded. To be asked before anything is removed or replaced."""
        ...


@dataclass(frozen=True)
class FallbackBlock:
    """A block that a fallback codec has coded.

    kind: the block kind of the codec. tried: what has been tried on the content, for
    `FallbackCodecs.encode` to read.
    """

    kind: int
    payload: bytes
    tried: frozenset[object] = frozenset()


class FallbackCodecs(Protocol):
    """Codes blocks without a model."""

    @property
    def names(self) -> Mapping[int, str]:
        """Name of every block kind that it decodes, by the kind. Never empty: 0 (raw) is always there."""
        ...

    def encode(
        self,
        data: bytes,
        *,
        text: bool = False,
        quick: bool = False,
        threads: int = 1,
        made: FallbackBlock | None = None,
    ) -> FallbackBlock:
        """The smallest coding of `data`, never longer than `data`.

        text: `data` is text. quick: save time, since the model has coded `data` too. made: an earlier result
        for the same data: the result again unless something that was not tried then is smaller.
        """
        ...

    def decode(self, kind: int, payload: bytes, size: int) -> bytes:
        """The `size` bytes of content that `payload` stands for, else CorruptError. `kind` is in `names`."""
        ...
