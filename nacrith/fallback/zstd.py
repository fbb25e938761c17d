"""Kind 2, zstd: one frame (RFC 8878) without magic bytes and without all optional fields."""

from __future__ import annotations

from collections.abc import Sequence

from nacrith.archive.blockcodec import Effort
from nacrith.fallback.codec import Codec, Variant

MAX_WINDOW = 1 << 25


class Zstd(Codec):
    """Level 22, by the `zstandard` package."""

    kind = 2
    name = "zstd"

    def variants(self, data: bytes, *, text: bool, effort: Effort) -> Sequence[Variant]:
        return () if effort is Effort.BESIDE else ((),)

    def encode(self, data: bytes, variant: Variant = ()) -> bytes:
        import zstandard

        parameters = zstandard.ZstdCompressionParameters.from_level(
            22,
            source_size=len(data),
            format=zstandard.FORMAT_ZSTD1_MAGICLESS,
            write_content_size=0,
            write_checksum=0,
            write_dict_id=0,
        )
        return zstandard.ZstdCompressor(compression_params=parameters).compress(data)

    def decode(self, payload: bytes, size: int) -> bytes:
        import zstandard

        try:
            if _frame_size(payload) != len(payload):
                raise ValueError("the coded data does not end where the payload does")
            magicless = zstandard.FORMAT_ZSTD1_MAGICLESS
            decoder = zstandard.ZstdDecompressor(format=magicless, max_window_size=MAX_WINDOW)
            with decoder.stream_reader(payload) as reader:
                return reader.read(size + 1)
        except zstandard.ZstdError as error:
            if "Allocation error" in str(error):  # how the library reports that memory ran out
                raise MemoryError(str(error)) from error
            raise ValueError(str(error)) from error

    def sees_gain(self, data: bytes) -> bool:
        """Encode at level 5 with long-distance matching, which finds repetition anywhere in the block."""
        import zstandard

        fast = zstandard.ZstdCompressionParameters.from_level(5, window_log=24, enable_ldm=True)
        return len(zstandard.ZstdCompressor(compression_params=fast).compress(data)) < 0.99 * len(data)


def _frame_size(payload: bytes) -> int:
    """The length of the frame at the start of `payload`. ValueError if the frame is cut short.

    The library reports bytes behind a frame only after it has decoded the frame without a bound. RFC 8878,
    3.1.1: a header; blocks, each with a head of 3 bytes; a checksum.
    """
    import zstandard

    at = zstandard.frame_header_size(zstandard.FRAME_HEADER + payload) - len(zstandard.FRAME_HEADER)
    last = False
    while not last:
        if at + 3 > len(payload):
            raise ValueError("the coded data ends early")
        head = int.from_bytes(payload[at : at + 3], "little")
        last = bool(head & 1)
        at += 3 + (1 if head >> 1 & 3 == 1 else head >> 3)  # a run stores one byte, whatever its length
    return at + (4 if payload[0] & 4 else 0)
