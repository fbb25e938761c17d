"""Reads the structure of an archive without decoding it, as `nacrith info` needs it.

`Walker` visits the records of every stream and checks that they agree with one another. The sequential
reader uses it too, so the order of records is defined in one place. Memory use is independent of the number
of streams and groups, except for the packed index of one stream.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from nacrith.archive.blockcodec import CodecId
from nacrith.archive.records import (
    Block,
    End,
    GroupHead,
    Metadata,
    ShortHead,
    index_entry,
    parse_end,
    parse_full_header,
    parse_group,
    parse_short_head,
)
from nacrith.archive.wire import (
    FULL_VERSION,
    MAX_GROUPS,
    MODEL,
    TAG_CODEC_GROUP,
    TAG_END,
    TAG_GROUP,
    Readable,
    Source,
    read_magic,
)
from nacrith.errors import CorruptError

Record = Metadata | ShortHead | GroupHead | End
"""A short stream has a ShortHead; a full one has Metadata, any number of GroupHeads and End."""

SHORT_CHECK = 4  # bytes of the checksum behind the payload of a short stream

_NONE = Metadata()

Kinds = Mapping[int, str]
"""Names of block kinds."""


@dataclass(frozen=True, slots=True)
class BlockInfo:
    """kind: "model" or the name of a fallback codec, such as raw, zstd, lzma. Sizes in bytes."""

    kind: str
    content_size: int
    payload_size: int


@dataclass(frozen=True, slots=True)
class StreamInfo:
    """One stream of an archive.

    form: "short" or "full". offset, size: its place in the archive, in bytes. codec: None if no block is
    model-coded; a short stream has only the first 4 bytes of its fingerprint and no name. digest: the
    BLAKE2b-128 of the content, None for a short stream.
    """

    form: str
    version: int
    offset: int
    size: int
    content_size: int
    codec: CodecId | None
    metadata: Metadata
    digest: bytes | None
    blocks: list[BlockInfo] = field(default_factory=list)


class Walker:
    """Visits the records of an archive one by one.

    After a ShortHead the caller must move the source behind the payload and its checksum before the next
    call, and after a GroupHead behind all payloads.

    fallback_kinds: names of the known block kinds except the model's. streams: how many streams to visit.
    None for all; then other bytes behind the last stream are an error.
    """

    def __init__(self, source: Source, fallback_kinds: Kinds, streams: int | None = None) -> None:
        self._source = source
        self._fallback_kinds = fallback_kinds
        self._streams = streams
        self._count = 0  # streams started
        self._index: bytearray | None = None  # entries of the groups so far; None between two streams
        self._groups = 0
        self._codec_group = 0

    def next(self) -> tuple[int, Record] | None:
        """Return offset and record and leave the source behind the record. None at the end of the archive.

        After a TruncatedError it can be called again once more of the archive is available; the caller moves
        the source back to the start of the record first.
        """
        start = self._source.offset
        if self._index is not None:
            return start, self._next_of_stream(self._index, start)
        if self._count == self._streams or (self._count and self._source.at_end()):
            return None
        record: Record
        if read_magic(self._source, first=not self._count):
            record = parse_full_header(self._source)
            self._index, self._groups, self._codec_group = bytearray(), 0, 0
        else:
            record = parse_short_head(self._source, self._fallback_kinds)
        self._count += 1
        return start, record

    def _next_of_stream(self, index: bytearray, start: int) -> Record:
        tag = self._source.byte("the records of a stream")
        if tag == TAG_END:
            end = parse_end(self._source)
            if end.index != index or end.codec_group != self._codec_group:
                raise CorruptError(f"byte {start}: the index does not agree with the groups")
            self._index = None
            return end
        if tag not in (TAG_GROUP, TAG_CODEC_GROUP):
            raise CorruptError(f"byte {start}: {tag:#04x} begins no record; the archive is damaged")
        head = parse_group(self._source, tag, self._fallback_kinds)
        if self._groups >= MAX_GROUPS:
            raise CorruptError(f"byte {start}: the stream has too many groups")
        if head.codec is not None:
            if self._codec_group:
                raise CorruptError(f"byte {start}: the stream defines a codec twice")
            self._codec_group = self._groups + 1
        if not self._codec_group and any(block.kind == MODEL for block in head.blocks):
            raise CorruptError(f"byte {start}: a model-coded block comes before its codec")
        self._groups += 1
        index += index_entry(head.content_size, head.size + head.payload_size)
        return head


def walk(source: Source, fallback_kinds: Kinds, streams: int | None = None) -> Iterator[tuple[int, Record]]:
    """Iterate over a `Walker`."""
    walker = Walker(source, fallback_kinds, streams)
    while (found := walker.next()) is not None:
        yield found


@lru_cache(1 << 12)  # equal blocks, of which there may be millions, share one object
def _block_info(kind: str, content_size: int, payload_size: int) -> BlockInfo:
    return BlockInfo(kind, content_size, payload_size)


def _infos(blocks: Iterable[Block | ShortHead], kinds: Kinds) -> list[BlockInfo]:
    return [_block_info(kinds[block.kind], block.content_size, block.payload_size) for block in blocks]


def scan(fileobj: Readable, fallback_kinds: Kinds, streams: int | None = None) -> list[StreamInfo]:
    """Describe each stream of an archive, from the current position of `fileobj` on.

    Checks the structure and the checksums of all records, and raises the errors that reading would. Payloads
    are not checked, and not even read if the file is seekable.

    fallback_kinds: names of the known block kinds except the model's. streams: how many streams to visit at
    most, None for all; the last one ends at its `offset + size`.
    """
    return list(each_stream(fileobj, fallback_kinds, streams))


def each_stream(fileobj: Readable, fallback_kinds: Kinds, streams: int | None = None) -> Iterator[StreamInfo]:
    """Like `scan`, but yields one stream at a time: an archive may hold millions."""
    source = Source(fileobj)
    names = {**fallback_kinds, MODEL: "model"}
    start, metadata = 0, _NONE
    content_size = 0
    codec: CodecId | None = None
    blocks: list[BlockInfo] = []
    for offset, record in walk(source, fallback_kinds, streams):
        if isinstance(record, ShortHead):
            source.skip(record.payload_size + SHORT_CHECK, "the payload of a short stream")
            yield StreamInfo(
                "short", 1, offset, source.offset - offset, record.content_size,
                record.codec, _NONE, None, _infos([record], names),
            )  # fmt: skip
        elif isinstance(record, Metadata):
            start, metadata, codec, blocks, content_size = offset, record, None, [], 0
        elif isinstance(record, GroupHead):
            codec = record.codec or codec
            content_size += record.content_size
            blocks += _infos(record.blocks, names)
            source.skip(record.payload_size, "the payloads of a group")
        else:
            yield StreamInfo(
                "full", FULL_VERSION, start, source.offset - start, content_size,
                codec, metadata, record.digest, blocks,
            )  # fmt: skip
