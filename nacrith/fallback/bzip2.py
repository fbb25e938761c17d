"""Kind 6, bzip2: a complete bzip2 stream. The Burrows-Wheeler transform wins on some tables and images."""

from __future__ import annotations

from collections.abc import Sequence

from nacrith.archive.blockcodec import Effort
from nacrith.fallback.codec import Codec, Variant
from nacrith.fallback.shared import drain


class Bzip2(Codec):
    """`bzip2 -9`, by the standard library."""

    kind = 6
    name = "bzip2"

    def variants(self, data: bytes, *, text: bool, effort: Effort) -> Sequence[Variant]:
        return () if effort < Effort.MEDIUM else ((),)

    def encode(self, data: bytes, variant: Variant = ()) -> bytes:
        import bz2

        return bz2.compress(data, 9)

    def decode(self, payload: bytes, size: int) -> bytes:
        import bz2

        decoder = bz2.BZ2Decompressor()
        try:
            return drain(decoder, payload, size)
        except (OSError, EOFError) as error:  # OSError: how bz2 reports invalid data
            raise ValueError(str(error)) from error
