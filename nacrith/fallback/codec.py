"""`Codec`, the base of every fallback codec, and `Cost`, the classes of their speed.

A codec compresses one block on its own. Its payload leaves out what the archive states already (magic
bytes, lengths, checksums) and begins with the parameters that its decoder needs;
`formats/archive-v1.md`, section 6, specifies each.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from enum import Enum
from typing import ClassVar

Variant = tuple[int, ...]
"""The parameters of one way to encode; their meaning is the codec's own. () where there is only one way."""

MAX_BLOCK = 1 << 24
"""Content bytes of a block, at most: the archive format's bound."""


class Cost(Enum):
    """How long encoding takes, and so how much evidence a codec must bring before it codes a whole block.

    A block of at least `least` bytes is coded in full only by the codecs that come close to the best one in
    a trial, on `part` bytes from the middle of the block. `part` is at most half of `least`.
    """

    NORMAL = (1 << 20, 1 << 19)
    """1 MB/s and more."""

    SLOW = (1 << 17, 1 << 15)
    """Less than 1 MB/s, such as a learner that predicts every bit."""

    def __init__(self, least: int, part: int) -> None:
        self.least = least
        self.part = part


class Codec(ABC):
    """One fallback codec.

    kind: its block kind in the archive: 0 for raw, else 2 to 15 (1 is the model; a short stream has 4 bits).
    name: how `nacrith info` calls it.
    cost: see `Cost`.
    margin: how much larger than the best result of a trial this codec's may be for it to code the whole
        block: 1.06 means 6 %.
    verify: decode a result before it is used. Only for a library that is known to lose bytes.
    """

    kind: ClassVar[int]
    name: ClassVar[str]
    cost: ClassVar[Cost] = Cost.NORMAL
    margin: ClassVar[float] = 1.06
    verify: ClassVar[bool] = False

    @abstractmethod
    def variants(self, data: bytes, *, text: bool, quick: bool) -> Sequence[Variant]:
        """The ways to encode `data` that are worth trying, the best default first; none if it cannot win.

        text: `data` is text. quick: `data` is a block of text that the model has coded already, and only a
        codec that is fast and good at short text should be tried.
        """

    @abstractmethod
    def encode(self, data: bytes, variant: Variant) -> bytes:
        """The payload for `data`, 1 to `MAX_BLOCK` bytes. A function of its arguments and of the version of
        the library alone. Called from several threads."""

    @abstractmethod
    def decode(self, payload: bytes, size: int) -> bytes:
        """The content, which should have `size` bytes. The caller compares its length.

        Makes at most `size` + 1 bytes, whatever the payload holds. Raises ValueError if the payload is
        damaged, and MemoryError if memory runs out, which is no damage.
        """

    def sees_gain(self, data: bytes) -> bool:
        """Whether a cheap test suggests that `data`, a block of 1 MiB or more, is not just noise. The block
        is stored raw without further trials if no codec says so."""
        return False
