"""What an archive says about itself, without decoding it: all that `info` needs.

`walk` goes over the records of every stream and checks that they agree with one another; the
streaming reader is built on it too, so there is one place that knows in what order records may
come.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from nacrith.archive.blockcodec import CodecId
from nacrith.archive.records import (
    Block,
    End,
    GroupHead,
    Metadata,
    ShortHead,
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


@dataclass(frozen=True)
class BlockInfo:
    """kind: one of raw, model, zstd, lzma, brotli, ppmd, bzip2. Sizes in bytes."""

    kind: str
    content_size: int
    payload_size: int


@dataclass(frozen=True)
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


def walk(source: Source, streams: int | None = None) -> Iterator[tuple[int, Record]]:
    """(offset, record) of every record, each with its source standing behind it.

    Whoever takes a ShortHead (or GroupHead) must have moved the source over the payload and its
    check (or all payloads) before asking for more. streams: how many to visit; None for all, and
    then bytes behind the last are an error.
    """
    count = 0
    while True:
        start = source.offset
        if not read_magic(source, first=not count):
            yield start, parse_short_head(source)
        else:
            yield from _walk_full(source, start)
        count += 1
        if count == streams or source.at_end():
            return


def _walk_full(source: Source, start: int) -> Iterator[tuple[int, Record]]:
    yield start, parse_full_header(source)
    groups: list[tuple[int, int]] = []
    codec_group = 0
    while True:
        start = source.offset
        tag = source.byte("the records of a stream")
        if tag == TAG_END:
            end = parse_end(source)
            if end.groups != groups or end.codec_group != codec_group:
                raise CorruptError(f"byte {start}: the index does not agree with the groups")
            yield start, end
            return
        if tag not in (TAG_GROUP, TAG_CODEC_GROUP):
            raise CorruptError(f"byte {start}: {tag:#04x} begins no record; the archive is damaged")
        head = parse_group(source, tag)
        if len(groups) >= MAX_GROUPS:
            raise CorruptError(f"byte {start}: the stream has too many groups")
        if head.codec is not None:
            if codec_group:
                raise CorruptError(f"byte {start}: the stream defines a codec twice")
            codec_group = len(groups) + 1
        if not codec_group and any(block.kind == MODEL for block in head.blocks):
            raise CorruptError(f"byte {start}: a model-coded block comes before its codec")
        groups.append((head.content_size, head.size + head.payload_size))
        yield start, head


def _block_info(block: Block | ShortHead) -> BlockInfo:
    return BlockInfo(KIND_NAMES[block.kind], block.content_size, block.payload_size)


def scan(fileobj: Readable, streams: int | None = None) -> list[StreamInfo]:
    """What each stream of an archive is made of, from where `fileobj` stands.

    Checks the structure and the checksums of all records, not the payloads, which a seekable file
    need not even read. Raises the errors that reading would. streams: how many to visit at most,
    None for all; `offset + size` of the last is where it ends.
    """
    source = Source(fileobj)
    found: list[StreamInfo] = []
    start, metadata = 0, Metadata()
    codec: CodecId | None = None
    blocks: list[BlockInfo] = []
    for offset, record in walk(source, streams):
        if isinstance(record, ShortHead):
            source.skip(record.payload_size + SHORT_CHECK, "the payload of a short stream")
            found.append(
                StreamInfo(
                    "short", 1, offset, source.offset - offset, record.content_size,
                    record.codec, Metadata(), None, [_block_info(record)],
                )
            )  # fmt: skip
        elif isinstance(record, Metadata):
            start, metadata, codec, blocks = offset, record, None, []
        elif isinstance(record, GroupHead):
            codec = record.codec or codec
            blocks += map(_block_info, record.blocks)
            source.skip(record.payload_size, "the payloads of a group")
        else:
            content_size = sum(content for content, _ in record.groups)
            found.append(
                StreamInfo(
                    "full", FULL_VERSION, start, source.offset - start, content_size,
                    codec, metadata, record.digest, blocks,
                )
            )  # fmt: skip
    return found
