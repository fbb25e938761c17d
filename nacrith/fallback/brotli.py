"""Kind 4, brotli: a complete brotli stream (RFC 7932). Its built-in dictionary helps with short text."""

from __future__ import annotations

from collections.abc import Sequence

from nacrith.archive.blockcodec import Effort
from nacrith.fallback.codec import Codec, Variant
from nacrith.fallback.shared import bits

_GENERIC, _TEXT = 0, 1
_SHORT = 1 << 14  # bytes; the built-in dictionary does not help with longer text


class Brotli(Codec):
    """Quality 11, by the `brotli` package. Variant: (mode,)."""

    kind = 4
    name = "brotli"

    def variants(self, data: bytes, *, text: bool, effort: Effort) -> Sequence[Variant]:
        if effort < Effort.MEDIUM and len(data) > _SHORT:
            return ()
        return ((_TEXT if text else _GENERIC,),)

    def encode(self, data: bytes, variant: Variant) -> bytes:
        import brotli

        mode = brotli.MODE_TEXT if variant == (_TEXT,) else brotli.MODE_GENERIC
        packed: bytes = brotli.compress(data, mode=mode, quality=11, lgwin=bits(len(data), 16, 24))
        return packed

    def decode(self, payload: bytes, size: int) -> bytes:
        import brotli

        decoder = brotli.Decompressor()
        parts: list[bytes] = []
        left = size + 1
        feed = payload
        try:
            while left > 0 and not decoder.is_finished():
                part = decoder.process(feed, output_buffer_limit=left)
                if not part and (not feed or decoder.can_accept_more_data()):
                    break
                feed = b""
                parts.append(part)
                left -= len(part)
        except brotli.error as error:
            raise ValueError(str(error)) from error
        if not decoder.is_finished():
            raise ValueError("the coded data does not end where the payload does")
        return b"".join(parts)
