"""What an archive says about itself, without decoding it: all that `info` needs.

`Walker` goes over the records of every stream and checks that they agree with one another; the
streaming reader is built on it too, so there is one place that knows in what order records may
come. Nothing here grows with the number of streams or of groups.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
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
    KIND_NAMES,
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
"""In this order: a ShortHead; or Metadata, GroupHead any number of times, End."""

SHORT_CHECK = 4  # bytes behind the payload of a short stream

_NONE = Metadata()


@dataclass(frozen=True, slots=True)
class BlockInfo:
    """kind: one of raw, model, zstd, lzma, brotli, ppmd, bzip2. Sizes in bytes."""

    kind: str
    content_size: int
    payload_size: int


@dataclass(frozen=True, slots=True)
class StreamInfo:
    """One stream of an archive.

    form: "short" or "full". offset, size: where it lies in the archive. codec: None if no block is
    model-coded; in a short stream its fingerprint is the first 4 bytes and its name empty. digest:
    BLAKE2b-128 of the content, None in a short stream.
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
    """Goes over the records of an archive, holding little of what it has seen.

    Whoever is given a ShortHead (or GroupHead) must have moved the source over the payload and its
    check (or all payloads) before asking for more. streams: how many to visit; None for all, and
    then bytes behind the last are an error.
    """

    def __init__(self, source: Source, streams: int | None = None) -> None:
        self._source = source
        self._streams = streams
        self._count = 0  # streams begun
        self._index: bytearray | None = None  # of the groups so far; None between two streams
        self._groups = 0
        self._codec_group = 0

    def next(self) -> tuple[int, Record] | None:
        """Offset and record, with the source standing behind it; None at the end of the archive.

        After a TruncatedError it may be called again, once more of the archive has come and the source
        stands where the record begins.
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
            record = parse_short_head(self._source)
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
        head = parse_group(self._source, tag)
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


def walk(source: Source, streams: int | None = None) -> Iterator[tuple[int, Record]]:
    """What `Walker` gives, one after another."""
    walker = Walker(source, streams)
    while (found := walker.next()) is not None:
        yield found


@lru_cache(1 << 12)  # an archive of millions of blocks has few kinds of them: each is held once
def _block_info(kind: int, content_size: int, payload_size: int) -> BlockInfo:
    return BlockInfo(KIND_NAMES[kind], content_size, payload_size)


def _infos(blocks: Iterable[Block | ShortHead]) -> list[BlockInfo]:
    return [_block_info(block.kind, block.content_size, block.payload_size) for block in blocks]


def scan(fileobj: Readable, streams: int | None = None) -> list[StreamInfo]:
    """What each stream of an archive is made of, from where `fileobj` stands.

    Checks the structure and the checksums of all records, not the payloads, which a seekable file
    need not even read. Raises the errors that reading would. streams: how many to visit at most,
    None for all; `offset + size` of the last is where it ends.
    """
    return list(each_stream(fileobj, streams))


def each_stream(fileobj: Readable, streams: int | None = None) -> Iterator[StreamInfo]:
    """As `scan`, one stream at a time: an archive may hold millions."""
    source = Source(fileobj)
    start, metadata = 0, _NONE
    content_size = 0
    codec: CodecId | None = None
    blocks: list[BlockInfo] = []
    for offset, record in walk(source, streams):
        if isinstance(record, ShortHead):
            source.skip(record.payload_size + SHORT_CHECK, "the payload of a short stream")
            yield StreamInfo(
                "short", 1, offset, source.offset - offset, record.content_size,
                record.codec, _NONE, None, _infos([record]),
            )  # fmt: skip
        elif isinstance(record, Metadata):
            start, metadata, codec, blocks, content_size = offset, record, None, [], 0
        elif isinstance(record, GroupHead):
            codec = record.codec or codec
            content_size += record.content_size
            blocks += _infos(record.blocks)
            source.skip(record.payload_size, "the payloads of a group")
        else:
            yield StreamInfo(
                "full", FULL_VERSION, start, source.offset - start, content_size,
                codec, metadata, record.digest, blocks,
            )  # fmt: skip
