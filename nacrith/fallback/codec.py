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

from nacrith.archive.blockcodec import Effort

Variant = tuple[int, ...]
"""The parameters of one way to encode; their meaning is the codec's own. () where there is only one way."""

MAX_BLOCK = 1 << 24
"""Content bytes of a block, at most: the archive format's bound."""


class Cost(Enum):
    """The class of a codec's encoding speed, which decides when it must pass a trial.

    On a block of `least` bytes or more, a codec encodes the whole block only if it came close to the best
    codec in a trial on `part` bytes from the middle of the block. `part` is at most half of `least`. Of the
    variants of a codec, `kept` remain at most: the default and the best of the others, or only the best one.
    """

    NORMAL = (1 << 20, 1 << 18, 2)
    """Faster than about 0.5 MB/s."""

    SLOW = (1 << 16, 1 << 15, 1)
    """Slower, such as a learner that predicts every bit."""

    def __init__(self, least: int, part: int, kept: int) -> None:
        self.least = least
        self.part = part
        self.kept = kept


class Codec(ABC):
    """One fallback codec.

    kind: its block kind in the archive: 0 for raw, else 2 to 15 (1 is the model; a short stream has 4 bits).
    name: its name in the output of `nacrith info`.
    cost: see `Cost`.
    margin: in a trial, the largest acceptable ratio of this codec's result to the best one.
    """

    kind: ClassVar[int]
    name: ClassVar[str]
    cost: ClassVar[Cost] = Cost.NORMAL
    margin: ClassVar[float] = 1.06

    @abstractmethod
    def variants(self, data: bytes, *, text: bool, effort: Effort) -> Sequence[Variant]:
        """Return the variants worth trying on `data`, the default first; none if this codec cannot win.

        text: `data` is text.
        """

    @abstractmethod
    def encode(self, data: bytes, variant: Variant) -> bytes:
        """Return the payload for `data`, 1 to `MAX_BLOCK` bytes.

        It must depend only on the arguments and the version of the library. Several threads call this method.
        """

    @abstractmethod
    def decode(self, payload: bytes, size: int) -> bytes:
        """Return the content, which should have `size` bytes; the caller compares its length.

        The result has at most `size` + 1 bytes, whatever the payload holds. Raises ValueError if the payload
        is damaged, and MemoryError if memory runs out, which is not damage.
        """

    def sees_gain(self, data: bytes) -> bool:
        """Test cheaply whether `data`, a block of 1 MiB or more, may be compressible.

        If no codec expects a gain, the block is stored raw without a trial. So at least one codec must notice
        distant repetition, and one contexts that predict the next byte.
        """
        return False
