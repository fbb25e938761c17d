"""How one super-block of content becomes the blocks of a group: the encoder's decisions, all here.

Three plans are made and the cheapest is taken: model blocks for the text and fallback codecs for
the rest; a fallback block for each segment; one fallback block for everything. So neither the
model nor the segmentation can ever lose against the plain codecs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from zlib import crc32

from nacrith.archive import fallback, segment
from nacrith.archive.blockcodec import BlockCodec, Progress
from nacrith.archive.records import Block
from nacrith.archive.wire import MODEL, RAW

MIN_TARGET = 1024  # least target length of a model block
BLOCK_COST = 15  # bytes that an entry of a group head takes

Coded = tuple[Block, bytes]
"""A block with its payload."""

Cost = Callable[[Sequence[Coded]], int]
"""Bytes that a list of blocks takes in the archive, all that is written for them counted."""


def encode_super_block(
    data: bytes,
    codec: BlockCodec | None,
    block_bytes: Callable[[bytes], int],
    cost: Cost,
    progress: Progress | None = None,
    threads: int = 1,
) -> list[Coded]:
    """The blocks of `data` (1 byte to 16 MiB). `progress` is told of all its bytes, once each."""
    segments = segment.segment(data)
    whole_is_text = len(segments) == 1 and segments[0][2]
    whole = [_fallback(data, threads, text=whole_is_text)]
    parts = [(data[start:end], text) for start, end, text in segments]
    by_segment = whole
    if len(parts) > 1:
        by_segment = [_fallback(part, threads, text=text) for part, text in parts]
    plans = [whole, by_segment]
    told = _Told(progress)
    if codec is not None:
        tried = [
            text and _worth_a_model(part, block)
            for (part, text), block in zip(parts, by_segment, strict=True)
        ]
        cuts = _model_blocks(parts, tried, block_bytes)
        if any(cuts):
            plans.append(_with_model(cuts, by_segment, codec, told, threads))
    told(len(data) - told.total)
    return min(plans, key=cost)  # the first of equals


class _Told:
    """Passes progress on and adds it up, so that a super-block ends at its exact length."""

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


def _fallback(content: bytes, threads: int, *, text: bool, quick: bool = False) -> Coded:
    kind, payload = fallback.best(content, text=text, quick=quick, threads=threads)
    return _block(kind, content, payload)


def _worth_a_model(content: bytes, plain: Coded) -> bool:
    """False for what no model can better by much: printable noise and endless repetition."""
    size = len(plain[1])
    if len(content) < 4096:
        return True
    return len(content) // 256 < size < len(content) * 0.7


def _model_blocks(
    parts: list[tuple[bytes, bool]], tried: list[bool], block_bytes: Callable[[bytes], int]
) -> list[list[bytes]]:
    """For each segment the contents of its model blocks; none where the model is not tried."""
    text = b"".join(part for (part, _), yes in zip(parts, tried, strict=True) if yes)
    target = max(MIN_TARGET, block_bytes(text)) if text else MIN_TARGET
    return [segment.cut(part, target) if yes else [] for (part, _), yes in zip(parts, tried, strict=True)]


def _with_model(
    cuts: list[list[bytes]], by_segment: list[Coded], codec: BlockCodec, told: Progress, threads: int
) -> list[Coded]:
    """Each segment as model blocks, or as its one fallback block where that is smaller."""
    contents = [content for blocks in cuts for content in blocks]
    payloads = codec.encode(contents, told)
    if len(payloads) != len(contents):
        raise RuntimeError(f"codec made {len(payloads)} payloads of {len(contents)} blocks")
    coded = iter([_model_or_less(c, p, threads) for c, p in zip(contents, payloads, strict=True)])
    plan: list[Coded] = []
    for blocks, plain in zip(cuts, by_segment, strict=True):
        mixed = [next(coded) for _ in blocks]
        plan += mixed if mixed and _size(mixed) < _size([plain]) else [plain]
    return plan


def _model_or_less(content: bytes, payload: bytes, threads: int) -> Coded:
    """The model's payload, unless a fallback codec makes a smaller one of this block."""
    plain = _fallback(content, threads, text=True, quick=True)
    if len(plain[1]) <= len(payload) or len(payload) >= len(content):
        return plain
    return _block(MODEL, content, payload)


def _size(blocks: list[Coded]) -> int:
    return sum(len(payload) + BLOCK_COST for _, payload in blocks)
