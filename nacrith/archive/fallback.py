"""The codecs for what is not text, or what the model cannot beat: the best of a well-kept set.

`best` tries them and takes the smallest result; `decode` is its inverse. Each is stripped of what
the container says already (magic, lengths, checks), and what its decoder must know stands in the
first bytes of the payload; `formats/archive-v1.md` lists them. The choice is a function of the
data and the library versions alone. Decoders never make more than the stated length.
"""

from __future__ import annotations

import bz2
import lzma
from collections.abc import Callable
from functools import partial

import brotli
import pyppmd
import zstandard

from nacrith.archive.together import run_all
from nacrith.archive.wire import BROTLI, BZIP2, LZMA, PPMD, RAW, SUPER_BLOCK, ZSTD
from nacrith.errors import CorruptError

Coded = tuple[int, bytes]
"""(kind, payload)."""

Try = tuple[int, Callable[[bytes], bytes]]
"""(kind, encoder)."""

LARGE = 1 << 20  # from here on, what is tried is chosen on a part of the data
PART = 1 << 19
SAMPLE = 1 << 17
STEP = 1 << 14  # bytes given to a PPMd encoder at a time
MOST_THREADS = 4  # an encoder may take 700 MB, whatever the number of cores
FEED = 1 << 16  # zero bytes given to a PPMd decoder that asks for more

# What precedes LZMA, by the second payload byte.
X86 = 1
DELTA = 0x10  # + distance - 1, distance 1..16

Variant = tuple[int, int, int, int]
"""LZMA: (filter byte, lc, lp, pb)."""

_LZMA_DEFAULT: Variant = (0, 3, 0, 2)
_LZMA_TEXT: list[Variant] = [_LZMA_DEFAULT, (0, 4, 0, 0)]
_LZMA_OTHER: list[Variant] = [
    (0, 4, 0, 0), (0, 0, 0, 0), (0, 0, 2, 2), (0, 1, 2, 2), (0, 0, 3, 3), (0, 0, 1, 1),
    (X86, 3, 0, 2), (DELTA, 3, 0, 0), (DELTA + 1, 0, 1, 1), (DELTA + 1, 3, 0, 1),
    (DELTA + 2, 3, 0, 0), (DELTA + 3, 0, 2, 2), (DELTA + 3, 3, 0, 2), (DELTA + 7, 0, 3, 3),
]  # fmt: skip

# PPMd: the payload's first byte, order in the low 7 bits, the high bit for variant I.
VARIANT_I = 0x80
_PPMD_ALL = (VARIANT_I | 6, VARIANT_I | 16, VARIANT_I | 3, 64)


def best(data: bytes, *, text: bool = False, quick: bool = False, threads: int = 1) -> Coded:
    """The smallest of all codings of `data`, at most 16 MiB; raw if none is smaller than the data.

    text: leave out what only pays for binaries. quick: only what is fast and good at short text.
    threads: how many may be tried at a time; four at most are.
    """
    if len(data) > SUPER_BLOCK:
        raise ValueError(f"a block has at most {SUPER_BLOCK} bytes, not {len(data)}")
    if _hopeless(data):
        return RAW, data
    tries: list[Try] = []
    for order in (VARIANT_I | 6, 32) if quick else _PPMD_ALL:
        tries.append((PPMD, partial(_ppmd_encode, order=order)))
    for variant in _lzma_variants(data, text or quick):
        tries.append((LZMA, partial(_lzma_encode, variant=variant)))
    if not quick or len(data) <= 1 << 14:  # its dictionary makes it good at short text
        tries.append((BROTLI, partial(_brotli_encode, text=text)))
    if not quick:
        tries += [(ZSTD, _zstd_encode), (BZIP2, _bzip2_encode)]
    if len(data) >= LARGE:
        tries = _promising(data, tries, threads)
    results = _run(data, tries, threads)
    results = [(kind, payload) for kind, payload in results if len(payload) < len(data)]
    for kind, payload in sorted(results, key=lambda result: len(result[1])):
        # Costs little, and no flaw of a library can ever lose data.
        if _decodes_to(kind, payload, data):
            return kind, payload
    return RAW, data


def decode(kind: int, payload: bytes, size: int) -> bytes:
    """The `size` bytes that `payload` stands for, else CorruptError, whatever the payload holds."""
    try:
        data = _DECODERS[kind](payload, size)
    except (ValueError, OSError, EOFError, MemoryError, IndexError, *_LIBRARY_ERRORS) as error:
        raise CorruptError(f"payload does not decode: {error}") from error
    if len(data) != size:
        raise CorruptError(f"payload decodes to {len(data)} bytes, not to the stated {size}")
    return data


def _decodes_to(kind: int, payload: bytes, data: bytes) -> bool:
    try:
        return decode(kind, payload, len(data)) == data
    except CorruptError:
        return False


def _hopeless(data: bytes) -> bool:
    """True if a large block is noise, as all of an encrypted file is: saves a minute of trying."""
    if len(data) < LARGE:
        return not data
    fast = zstandard.ZstdCompressionParameters.from_level(5, window_log=24, enable_ldm=True)
    if len(zstandard.ZstdCompressor(compression_params=fast).compress(data)) < 0.99 * len(data):
        return False
    sample = _sample(data)
    return len(_ppmd_encode(sample, VARIANT_I | 3)) > 0.995 * len(sample)


def _run(data: bytes, tries: list[Try], threads: int) -> list[Coded]:
    """What each makes of `data`, in order."""
    if len(data) < 1 << 12:
        threads = 1
    payloads = run_all([partial(encode, data) for _, encode in tries], min(threads, MOST_THREADS))
    return [(kind, payload) for (kind, _), payload in zip(tries, payloads, strict=True)]


def _promising(data: bytes, tries: list[Try], threads: int) -> list[Try]:
    """Those worth the time on a large block, by what they make of a stretch from its middle.

    Of each kind the first, which is a good default, and the best other one, if they come within 6 %
    of the best of all; LZMA, which gains most from what the stretch cannot show, within 25 %.
    """
    middle = len(data) // 2
    coded = _run(data[middle - PART // 2 : middle + PART // 2], tries, threads)
    sizes = [len(payload) for _, payload in coded]
    kept: list[Try] = []
    for kind in dict.fromkeys(kind for kind, _ in tries):
        first, *others = (i for i, (of_kind, _) in enumerate(tries) if of_kind == kind)
        chosen = [first, *sorted(others, key=sizes.__getitem__)[:1]]
        limit = min(sizes) * (1.25 if kind == LZMA else 1.06)
        kept += [tries[i] for i in chosen if sizes[i] <= limit]
    return kept


def _sample(data: bytes) -> bytes:
    """Four stretches, evenly spread, of a large block; a small block as it is."""
    if len(data) <= SAMPLE:
        return data
    part = SAMPLE // 4
    step = (len(data) - part) // 3
    return b"".join(data[i * step : i * step + part] for i in range(4))


def _bits(size: int, low: int, high: int) -> int:
    """Smallest k in low..high with 2^k >= size, or high."""
    return min(max((max(size, 1) - 1).bit_length(), low), high)


# --- raw, zstd, bzip2, brotli ---------------------------------------------------------------------


def _raw_decode(payload: bytes, size: int) -> bytes:
    return payload


def _zstd_encode(data: bytes) -> bytes:
    parameters = zstandard.ZstdCompressionParameters.from_level(
        22,
        source_size=len(data),
        format=zstandard.FORMAT_ZSTD1_MAGICLESS,
        write_content_size=0,
        write_checksum=0,
        write_dict_id=0,
    )
    return zstandard.ZstdCompressor(compression_params=parameters).compress(data)


def _zstd_decode(payload: bytes, size: int) -> bytes:
    if _zstd_frame_size(payload) != len(payload):
        raise ValueError("the coded data does not end where the payload does")
    decoder = zstandard.ZstdDecompressor(format=zstandard.FORMAT_ZSTD1_MAGICLESS, max_window_size=1 << 25)
    with decoder.stream_reader(payload) as reader:
        return reader.read(size + 1)


def _zstd_frame_size(payload: bytes) -> int:
    """Bytes of the frame at the start of `payload`: the library tells of what follows it only after it has
    decoded without a bound. RFC 8878, 3.1.1: header; blocks of 3 bytes and their content; checksum."""
    at = zstandard.frame_header_size(zstandard.FRAME_HEADER + payload) - len(zstandard.FRAME_HEADER)
    last = False
    while not last:
        if at + 3 > len(payload):
            raise ValueError("the coded data ends early")
        head = int.from_bytes(payload[at : at + 3], "little")
        last = bool(head & 1)
        at += 3 + (1 if head >> 1 & 3 == 1 else head >> 3)  # one byte of a run, else as many as it says
    return at + (4 if payload[0] & 4 else 0)


def _bzip2_encode(data: bytes) -> bytes:
    return bz2.compress(data, 9)


def _bzip2_decode(payload: bytes, size: int) -> bytes:
    decoder = bz2.BZ2Decompressor()
    return _drain(decoder, payload, size)


def _drain(decoder: bz2.BZ2Decompressor | lzma.LZMADecompressor, payload: bytes, size: int) -> bytes:
    """All that `decoder` makes of one complete payload; one byte past `size` is enough to know."""
    data = decoder.decompress(payload, size + 1)
    if not decoder.eof and len(data) <= size:
        data += decoder.decompress(b"", size + 1 - len(data))
    if not decoder.eof or decoder.unused_data:
        raise ValueError("the coded data does not end where the payload does")
    return data


def _brotli_encode(data: bytes, text: bool) -> bytes:
    mode = brotli.MODE_TEXT if text else brotli.MODE_GENERIC
    packed: bytes = brotli.compress(data, mode=mode, quality=11, lgwin=_bits(len(data), 16, 24))
    return packed


def _brotli_decode(payload: bytes, size: int) -> bytes:
    decoder = brotli.Decompressor()
    parts: list[bytes] = []
    left = size + 1
    feed = payload
    while left > 0 and not decoder.is_finished():
        part = decoder.process(feed, output_buffer_limit=left)
        if not part and (not feed or decoder.can_accept_more_data()):
            break
        feed = b""
        parts.append(part)
        left -= len(part)
    if not decoder.is_finished():
        raise ValueError("the coded data does not end where the payload does")
    return b"".join(parts)


# --- LZMA -----------------------------------------------------------------------------------------


def _lzma_filters(size: int, variant: Variant, **more: int) -> list[dict[str, int]]:
    kind, lc, lp, pb = variant
    main = {"id": lzma.FILTER_LZMA1, "dict_size": 1 << _bits(size, 12, 24), **more}
    main |= {"lc": lc, "lp": lp, "pb": pb}
    if kind == X86:
        return [{"id": lzma.FILTER_X86}, main]
    if DELTA <= kind < DELTA + 16:
        return [{"id": lzma.FILTER_DELTA, "dist": kind - DELTA + 1}, main]
    if kind:
        raise ValueError(f"unknown LZMA filter {kind}")
    return [main]


def _lzma_encode(data: bytes, variant: Variant, preset: int = 9 | lzma.PRESET_EXTREME) -> bytes:
    filters = _lzma_filters(len(data), variant, preset=preset)
    kind, lc, lp, pb = variant
    return bytes([lc + 9 * (lp + 5 * pb), kind]) + lzma.compress(data, lzma.FORMAT_RAW, filters=filters)


def _lzma_decode(payload: bytes, size: int) -> bytes:
    packed, kind = payload[0], payload[1]
    variant = (kind, packed % 9, packed // 9 % 5, packed // 45)
    decoder = lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=_lzma_filters(size, variant))
    return _drain(decoder, payload[2:], size)


def _lzma_variants(data: bytes, text: bool) -> list[Variant]:
    """The default, which is what `xz -9e` does, and those two that are best on a sample."""
    if text:
        return _LZMA_TEXT
    sample = _sample(data)
    by_size = sorted(_LZMA_OTHER, key=lambda variant: len(_lzma_encode(sample, variant, 3)))
    return [_LZMA_DEFAULT, *by_size[:2]]


# --- PPMd -----------------------------------------------------------------------------------------


def _ppmd_memory(size: int) -> int:
    """Model memory in bytes: 16 times the content, rounded up to a power of two, 1..128 MiB."""
    return 1 << _bits(16 * size, 20, 27)


def _ppmd_encode(data: bytes, order: int) -> bytes:
    """Without the 0 that variant H begins with, and without zeros at the end: both are implied."""
    make = pyppmd.Ppmd8Encoder if order & VARIANT_I else pyppmd.Ppmd7Encoder
    encoder = make(order & 0x7F, _ppmd_memory(len(data)))
    # In small steps: the library now and then loses a byte where one call's output outgrows 32 KiB.
    parts = [encoder.encode(data[i : i + STEP]) for i in range(0, len(data), STEP)]
    packed: bytes = b"".join(parts) + encoder.flush()
    start = 0 if order & VARIANT_I else 1
    return bytes([order]) + packed[start:].rstrip(b"\0")


def _ppmd_decode(payload: bytes, size: int) -> bytes:
    """The library's decoders corrupt memory if one is dropped while it waits for input.

    So a decoder is always fed zeros until it has made `size` bytes or has failed.
    """
    order = payload[0]
    if not 2 <= order & 0x7F <= (16 if order & VARIANT_I else 64):
        raise ValueError(f"impossible PPMd order {order & 0x7F}")
    make = pyppmd.Ppmd8Decoder if order & VARIANT_I else pyppmd.Ppmd7Decoder
    coded = payload[1:] if order & VARIANT_I else b"\0" + payload[1:]
    if coded.startswith(b"\0\xff\xff\xff\xff") and not order & VARIANT_I:
        raise ValueError("impossible PPMd range coder state")
    if not size:
        return b""
    decoder = make(order & 0x7F, _ppmd_memory(size))
    data: bytes = decoder.decode(coded + bytes(FEED), size)
    while len(data) < size and decoder.needs_input and not decoder.eof:
        data += decoder.decode(bytes(FEED), size - len(data))
    return data


_DECODERS: dict[int, Callable[[bytes, int], bytes]] = {
    RAW: _raw_decode,
    ZSTD: _zstd_decode,
    LZMA: _lzma_decode,
    BROTLI: _brotli_decode,
    PPMD: _ppmd_decode,
    BZIP2: _bzip2_decode,
}
_LIBRARY_ERRORS = (lzma.LZMAError, zstandard.ZstdError, brotli.error, pyppmd.PpmdError, SystemError)
