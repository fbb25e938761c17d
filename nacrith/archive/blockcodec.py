"""The seam between the container and the language model.

The archive layer cuts content into blocks and stores them; it knows no model. What turns a block of
text into a payload and back is a `BlockCodec`; `nacrith.codec` provides the real one, and a reader
is given a function that finds the codec for the `CodecId` that a header names.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
