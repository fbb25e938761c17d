"""Kind 3, LZMA: bare LZMA1 data behind one byte of properties and one that names a filter.

On binaries the ratio depends on the filter (x86 branch conversion, delta) and on the properties, so several
variants are tried. Specification: formats/archive-v1.md, section 6.
"""

from __future__ import annotations

from collections.abc import Sequence

from nacrith import cuts
from nacrith.archive.blockcodec import Effort
from nacrith.fallback.codec import Codec, Variant
from nacrith.fallback.shared import SAMPLE, bits, drain

# The filter before LZMA, as the second payload byte.
X86 = 1
DELTA = 0x10  # + distance - 1, distance 1..16

_FAST = 3  # the preset that ranks variants on a sample

_DEFAULT: Variant = (0, 3, 0, 2)
_FOR_TEXT: list[Variant] = [_DEFAULT, (0, 4, 0, 0)]
_FOR_BINARIES: list[Variant] = [
    (0, 4, 0, 0), (0, 0, 0, 0), (0, 0, 2, 2), (0, 1, 2, 2), (0, 0, 3, 3), (0, 0, 1, 1),
    (X86, 3, 0, 2), (DELTA, 3, 0, 0), (DELTA + 1, 0, 1, 1), (DELTA + 1, 3, 0, 1),
    (DELTA + 2, 3, 0, 0), (DELTA + 3, 0, 2, 2), (DELTA + 3, 3, 0, 2), (DELTA + 7, 0, 3, 3),
]  # fmt: skip


class Lzma(Codec):
    """By the standard library. Variant: (filter, lc, lp, pb)."""

    kind = 3
    name = "lzma"
    margin = 1.25  # distant repetition, which a trial on a part cannot show, helps it most

    def variants(self, data: bytes, *, text: bool, effort: Effort) -> Sequence[Variant]:
        """The default, which `xz -9e` uses, and for binaries the two others that are best on a sample."""
        if effort is Effort.FAST:
            return ()
        if text or effort is Effort.BESIDE:
            return _FOR_TEXT
        part = cuts.sample(data, SAMPLE)
        by_size = sorted(_FOR_BINARIES, key=lambda variant: len(_encode(part, variant, _FAST)))
        return [_DEFAULT, *by_size[:2]]

    def encode(self, data: bytes, variant: Variant) -> bytes:
        import lzma

        return _encode(data, variant, 9 | lzma.PRESET_EXTREME)

    def decode(self, payload: bytes, size: int) -> bytes:
        import lzma

        if len(payload) < 2:
            raise ValueError("the coded data ends early")
        packed, kind = payload[0], payload[1]
        variant = (kind, packed % 9, packed // 9 % 5, packed // 45)
        try:
            decoder = lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=_filters(size, variant))
            return drain(decoder, payload[2:], size)
        except (lzma.LZMAError, EOFError) as error:
            raise ValueError(str(error)) from error


def _filters(size: int, variant: Variant, **more: int) -> list[dict[str, int]]:
    import lzma

    kind, lc, lp, pb = variant
    main = {"id": lzma.FILTER_LZMA1, "dict_size": 1 << bits(size, 12, 24), **more}
    main |= {"lc": lc, "lp": lp, "pb": pb}
    if kind == X86:
        return [{"id": lzma.FILTER_X86}, main]
    if DELTA <= kind < DELTA + 16:
        return [{"id": lzma.FILTER_DELTA, "dist": kind - DELTA + 1}, main]
    if kind:
        raise ValueError(f"unknown LZMA filter {kind}")
    return [main]


def _encode(data: bytes, variant: Variant, preset: int) -> bytes:
    import lzma

    filters = _filters(len(data), variant, preset=preset)
    kind, lc, lp, pb = variant
    return bytes([lc + 9 * (lp + 5 * pb), kind]) + lzma.compress(data, lzma.FORMAT_RAW, filters=filters)
