"""Encodes one super-block of content as the blocks of a group. All decisions of the encoder are here.

Three plans are made and the cheapest is taken: model blocks for the text and fallback codecs for
the rest; one fallback block per segment; one fallback block for everything. So neither the model nor
the segmentation can do worse than the fallback codecs alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple
from zlib import crc32

from nacrith.archive import segment
from nacrith.archive.blockcodec import BlockCodec, FallbackBlock, FallbackCodecs, Progress
from nacrith.archive.records import Block
from nacrith.archive.wire import MODEL, RAW

MIN_TARGET = 1024  # minimum of the target length of a model block
BLOCK_COST = 15  # bytes that an entry of a group head takes

Coded = tuple[Block, bytes]
"""A block with its payload."""

Cost = Callable[[Sequence[Coded]], int]
"""Bytes that a list of blocks takes in the archive, including every record that is written for them."""

Encode = Callable[..., FallbackBlock]
"""`FallbackCodecs.encode` with the number of threads filled in."""


class _Part(NamedTuple):
    """A segment of the content. made: its coding by the fallback codecs. plain: the block made of that."""

    content: bytes
    text: bool
    made: FallbackBlock
    plain: Coded


def encode_super_block(
    data: bytes,
    codec: BlockCodec | None,
    fallback: FallbackCodecs,
    block_bytes: int,
    cost: Cost,
    progress: Progress | None = None,
    threads: int = 1,
) -> list[Coded]:
    """Encode `data`, 1 byte to 16 MiB. The numbers given to `progress` add up to its length."""
    encode = partial(fallback.encode, threads=threads)
    segments = segment.segment(data)
    parts = [_part(data[start:end], text, encode) for start, end, text in segments]
    by_segment = [part.plain for part in parts]
    whole = by_segment if len(parts) == 1 else [_part(data, False, encode).plain]
    plans = [whole, by_segment]
    told = _Told(progress)
    if codec is not None:
        cuts = _model_blocks(parts, block_bytes)
        if any(cuts):
            plans.append(_with_model(parts, cuts, codec, encode, told))
    told(len(data) - told.total)
    return min(plans, key=cost)  # the first one of those that cost the same


class _Told:
    """Passes progress on and sums it, so that the rest of a super-block can be reported at its end."""

    def __init__(self, progress: Progress | None) -> None:
        self._progress = progress
        self.total = 0

    def __call__(self, size: int) -> None:
        self.total += size
        if self._progress is not None and size:
            self._progress(size)


def _block(kind: int, content: bytes, payload: bytes) -> Coded:
    check = crc32(content)
    payload_check = check if kind == RAW else crc32(payload)
    return Block(kind, len(content), len(payload), payload_check, check), payload


def _part(content: bytes, text: bool, encode: Encode) -> _Part:
    made = encode(content, text=text)
    return _Part(content, text, made, _block(made.kind, content, made.payload))


def _worth_a_model(part: _Part) -> bool:
    """False for binaries, and for text that no model compresses much better: printable noise and endless
    repetition."""
    if not part.text or len(part.content) < 4096:
        return part.text
    return len(part.content) // 256 < len(part.made.payload) < len(part.content) * 0.7


def _model_blocks(parts: list[_Part], block_bytes: int) -> list[list[bytes]]:
    """Cut each segment into the contents of its model blocks; there are none if the model is not tried."""
    target = max(MIN_TARGET, block_bytes)
    return [segment.cut(part.content, target) if _worth_a_model(part) else [] for part in parts]


def _with_model(
    parts: list[_Part], cuts: list[list[bytes]], codec: BlockCodec, encode: Encode, told: Progress
) -> list[Coded]:
    """Code each segment as model blocks, or as one fallback block if that is smaller."""
    contents = [content for blocks in cuts for content in blocks]
    made = codec.encode(contents, told)
    if len(made) != len(contents):
        raise RuntimeError(f"codec made {len(made)} payloads of {len(contents)} blocks")
    payloads = iter(made)
    plan: list[Coded] = []
    for part, blocks in zip(parts, cuts, strict=True):
        # A block that is the whole segment has been coded by the fallback codecs already.
        earlier = part.made if len(blocks) == 1 else None
        mixed = [_model_or_less(content, next(payloads), encode, earlier) for content in blocks]
        plan += mixed if mixed and _size(mixed) < _size([part.plain]) else [part.plain]
    return plan


def _model_or_less(content: bytes, payload: bytes, encode: Encode, earlier: FallbackBlock | None) -> Coded:
    """Return a block with the model's payload, or a fallback block if that is not larger."""
    plain = earlier or encode(content, text=True, quick=True)
    if len(plain.payload) <= len(payload) or len(payload) >= len(content):
        return _block(plain.kind, content, plain.payload)
    return _block(MODEL, content, payload)


def _size(blocks: list[Coded]) -> int:
    return sum(len(payload) + BLOCK_COST for _, payload in blocks)
