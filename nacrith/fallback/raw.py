"""Kind 0, raw: the content itself, for blocks that no codec makes smaller."""

from __future__ import annotations

from collections.abc import Sequence

from nacrith.archive.blockcodec import Effort
from nacrith.fallback.codec import Codec, Variant


class Raw(Codec):
    """Never a candidate: the registry stores a block raw if no candidate is smaller than the content."""

    kind = 0
    name = "raw"

    def variants(self, data: bytes, *, text: bool, effort: Effort) -> Sequence[Variant]:
        return ()

    def encode(self, data: bytes, variant: Variant = ()) -> bytes:
        return data

    def decode(self, payload: bytes, size: int) -> bytes:
        return payload
