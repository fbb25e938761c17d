"""Encodes one super-block of content as the blocks of a group. All decisions of the encoder are here.

A model takes seconds where a fallback codec takes milliseconds, so a sample of each segment of text decides
first whether the model is worth it. Then the cheapest of these plans is taken: model blocks for the text and
fallback codecs for the rest; one fallback block per segment; one fallback block for everything. A model that
makes a sample much smaller may yet lose: the longer the content, the more a fallback codec learns of it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from zlib import crc32

from nacrith import cuts
from nacrith.archive import segment
from nacrith.archive.blockcodec import BlockCodec, Effort, FallbackBlock, FallbackCodecs, Progress
from nacrith.archive.records import Block
from nacrith.archive.wire import MODEL, RAW
from nacrith.lazy import lazy

MIN_TARGET = 1024  # minimum of the target length of a model block
BLOCK_COST = 15  # bytes that an entry of a group head takes
_SAMPLE = 4096  # bytes of a segment that decide whether the model is worth it


Coded = tuple[Block, bytes]
"""A block with its payload."""

Cost = Callable[[Sequence[Coded]], int]
"""Bytes that a list of blocks takes in the archive, including every record that is written for them."""

Encode = Callable[..., FallbackBlock]
"""`FallbackCodecs.encode` with the number of threads and the effort filled in."""


class _Part:
    """A segment of the content, and `worth`: whether a model may make it smaller, by a sample."""

    def __init__(self, content: bytes, text: bool, encode: Encode, codec: BlockCodec | None) -> None:
        self.content = content
        self.text = text
        self._encode = encode
        self.worth = codec is not None and text and _worth(content, codec, encode)

    def pieces(self, target: int) -> list[_Part]:
        """The same as parts of about `target` bytes, all of the same worth."""
        size = len(self.content)
        even = [self.content[at : at + target] for at in range(0, size, target)]
        made = []
        for content in segment.cut(self.content, target) if self.text else even:
            made.append(_Part(content, self.text, self._encode, None))
            made[-1].worth = self.worth
        return made

    @lazy
    def plain(self) -> Coded:
        """The block that a fallback codec makes of it."""
        made = self._encode(self.content, text=self.text)
        return _block(made.kind, self.content, made.payload)


def encode_super_block(
    data: bytes,
    codec: BlockCodec | None,
    fallback: FallbackCodecs,
    block_bytes: int,
    cost: Cost,
    progress: Progress | None = None,
    threads: int = 1,
    effort: Effort = Effort.FULL,
    all_blocks: bool = False,
) -> list[Coded]:
    """Encode `data`, 1 byte to 16 MiB. The numbers given to `progress` add up to its length.

    all_blocks: whether `block_bytes` is the length of all blocks, and not only of those that a model codes.
    """
    encode = partial(fallback.encode, threads=threads, effort=effort)
    parts = [_Part(data[a:b], text, encode, codec) for a, b, text in segment.segment(data)]
    target = max(MIN_TARGET, block_bytes)
    if all_blocks:
        parts = [piece for part in parts for piece in part.pieces(target)]
    told = _Told(progress)
    plans: list[list[Coded]] = []
    if codec is not None and any(part.worth for part in parts):
        cuts = [segment.cut(part.content, target) if part.worth else [] for part in parts]
        plans.append(_with_model(parts, cuts, codec, encode, told))
    by_segment = [part.plain for part in parts]
    whole = by_segment
    if len(parts) > 1 and not all_blocks:
        whole = [_Part(data, False, encode, None).plain]
    plans = [whole, by_segment, *plans]
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


def _worth(content: bytes, codec: BlockCodec, encode: Encode) -> bool:
    """Whether a model may make this text smaller, by a sample of it that both code.

    It makes nothing of printable noise, such as random digits, of which a fallback codec sees as much, and of
    endless repetition, which needs no model.
    """
    if len(content) < _SAMPLE * 2:
        return True
    sample = cuts.sample(content, _SAMPLE)
    plain = len(encode(sample, text=True).payload)
    if not len(sample) // 64 <= plain <= 0.8 * len(sample):
        return False
    (payload,) = codec.encode([sample])
    return len(payload) <= 0.97 * plain


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
        # A block that is the whole segment is coded once by the fallback codecs.
        plain = part.plain if len(blocks) == 1 else None
        mixed = [_model_or_less(content, next(payloads), encode, plain) for content in blocks]
        if not mixed or _size([part.plain]) <= _size(mixed):
            mixed = [part.plain]
        plan += mixed
    return plan


def _model_or_less(content: bytes, payload: bytes, encode: Encode, plain: Coded | None) -> Coded:
    """Return a block with the model's payload, or a fallback block, `plain` if given, that is not larger."""
    if plain is None:
        made = encode(content, text=True, effort=Effort.BESIDE)
        plain = _block(made.kind, content, made.payload)
    if len(plain[1]) <= len(payload) or len(payload) >= len(content):
        return plain
    return _block(MODEL, content, payload)


def _size(blocks: list[Coded]) -> int:
    return sum(len(payload) + BLOCK_COST for _, payload in blocks)
