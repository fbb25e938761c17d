"""`ArchiveReader`: verified content out, front to back from a pipe, or from anywhere in a file.

Payload checks are compared before anything is decoded, content checks before anything is handed
out. No more than one group (16 MiB of content) is held in memory, whatever an archive claims.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from zlib import crc32

from nacrith.archive.blockcodec import BlockCodec, CodecId, Progress
from nacrith.archive.layout import Extent, Layout, find_layout, layout_by_index
from nacrith.archive.records import Block, GroupHead, Metadata, ShortHead, parse_group
from nacrith.archive.records import parse_short_head as parse_short
from nacrith.archive.scan import SHORT_CHECK, walk
from nacrith.archive.wire import (
    HASH_SIZE,
    MODEL,
    TAG_CODEC_GROUP,
    TAG_GROUP,
    Readable,
    Source,
    check_limit,
    read_magic,
    u32,
)
from nacrith.errors import CorruptError

FindCodec = Callable[[CodecId], BlockCodec]


@dataclass(frozen=True)
class Damage:
    """A stretch of content that could not be recovered.

    offset: where it begins in the content of the whole archive. size: its length in bytes, None if
    the damage hides how much is missing. error: what a strict reader would have raised.
    """

    offset: int
    size: int | None
    error: CorruptError


class ArchiveReader:
    """Reads the streams of an archive from where `fileobj` stands, as one content.

    Iterating gives the content in order, in verified pieces, and checks the whole-content hash at
    the end; an iteration begins at the front, so a pipe can be iterated once. Seekable files also
    have `size`, `read_range` and `pieces_from`.

    find_codec: called for the codec of model-coded blocks, when the first is met and before it or
        anything behind it is handed out.
    max_size: iterating raises NacrithError before more content than this is decoded.
    damaged: by default damage raises. If given, it is called for each damaged stretch, in order,
        which is then left out; all that can be verified is still handed out.
    streams: how many streams to read; None for all, and then other bytes behind them are an error.
    progress: told of content bytes that are decoded.

    Not thread-safe.
    """

    def __init__(
        self,
        fileobj: Readable,
        find_codec: FindCodec,
        *,
        max_size: int | None = None,
        damaged: Callable[[Damage], None] | None = None,
        streams: int | None = None,
        progress: Progress | None = None,
    ) -> None:
        self._source = Source(fileobj)
        self._find_codec = find_codec
        self._max_size = max_size
        self._damaged = damaged
        self._streams = streams
        self._progress = progress
        self._codecs: dict[tuple[bytes, bytes], BlockCodec] = {}
        self._known_layout: Layout | None = None
        self._intact = True  # no damage reported since this was last set

    # --- front to back ----------------------------------------------------------------------------

    def __iter__(self) -> Iterator[bytes]:
        if self._source.seekable:
            if self._damaged is not None and self._streams is None:
                layout = layout_by_index(self._source)
                if layout is not None:
                    yield from self._salvage(layout)
                    return
            self._source.seek(0)
        at = 0  # content bytes of the archive that are behind us, handed out or damaged
        digest = hashlib.blake2b(digest_size=HASH_SIZE)
        codec: BlockCodec | None = None
        try:
            for start, record in walk(self._source, self._streams):
                if isinstance(record, Metadata):
                    digest = hashlib.blake2b(digest_size=HASH_SIZE)
                    codec = None
                    self._intact = True
                elif isinstance(record, ShortHead):
                    check_limit(at + record.content_size, self._max_size)
                    yield from self._short(record, at)
                    at += record.content_size
                elif isinstance(record, GroupHead):
                    check_limit(at + record.content_size, self._max_size)
                    if record.codec is not None:
                        codec = self._codec(record.codec)
                    _, blocks = _overlapping(record, 0, record.content_size)
                    for _, piece in self._pieces(blocks, at, codec):
                        digest.update(piece)
                        yield piece
                    at += record.content_size
                elif self._intact and record.digest != digest.digest():
                    raise CorruptError(f"byte {start}: the content does not match its hash")
        except CorruptError as error:
            self._report(at, None, error)

    def _salvage(self, layout: Layout) -> Iterator[bytes]:
        """All content, found by the index, so that a damaged group head costs one group only."""
        check_limit(layout.size, self._max_size)
        self._intact = True
        digest = hashlib.blake2b(digest_size=HASH_SIZE)
        for extent in layout.extents:
            try:
                for piece in self._extent(extent, 0, extent.content_size):
                    digest.update(piece)
                    yield piece
            except CorruptError as error:
                self._report(extent.content_offset, extent.content_size, error)
        if self._intact and layout.digest != digest.digest():
            self._report(0, None, CorruptError("the content does not match its hash"))

    def _report(self, offset: int, size: int | None, error: CorruptError) -> None:
        """Raises `error`, unless damage is to be passed over."""
        if self._damaged is None:
            raise error
        self._intact = False
        self._damaged(Damage(offset, size, error))

    # --- from anywhere ----------------------------------------------------------------------------

    @property
    def size(self) -> int:
        """Content bytes of the whole archive. The file must be seekable."""
        return self._layout().size

    def read_range(self, offset: int, size: int) -> bytes:
        """Content bytes from `offset` on, fewer than `size` at the end of it.

        Decodes only the blocks that hold them, which are verified; the whole-content hash is not.
        The file must be seekable.
        """
        if offset < 0 or size < 0:
            raise ValueError("offset and size are not negative")
        before = self._source.offset
        try:
            return b"".join(self._range(offset, offset + size))
        finally:
            self._source.seek(before)

    def pieces_from(self, offset: int) -> Iterator[bytes]:
        """The content from `offset` to the end, in verified pieces. The file must be seekable.

        Only one of these or of plain iterations can go on at a time.
        """
        if offset < 0:
            raise ValueError("offset is not negative")
        return self._range(offset, self.size)

    def _layout(self) -> Layout:
        if not self._source.seekable:
            raise io.UnsupportedOperation("the archive's file cannot seek")
        if self._known_layout is None:
            self._known_layout = find_layout(self._source)
        return self._known_layout

    def _range(self, low: int, high: int) -> Iterator[bytes]:
        for extent in self._layout().extents:
            start = extent.content_offset
            if start < high and low < start + extent.content_size:
                yield from self._extent(extent, max(0, low - start), high - start)

    def _extent(self, extent: Extent, low: int, high: int) -> Iterator[bytes]:
        """Content bytes low..high of a group or short stream."""
        source = self._source
        source.seek(extent.offset)
        if extent.short:
            read_magic(source, first=True)
            for piece in self._short(parse_short(source), extent.content_offset):
                yield piece[low:high]
            return
        head = self._head_at(extent.offset)
        if head.content_size != extent.content_size:
            raise CorruptError(f"byte {extent.offset}: the index does not agree with the group")
        skipped, blocks = _overlapping(head, low, high)
        codec: BlockCodec | None = None
        if any(block.kind == MODEL for _, block in blocks):
            codec = self._codec_of(extent)
        source.seek(extent.offset + head.size + skipped)
        for start, piece in self._pieces(blocks, extent.content_offset, codec):
            yield piece[max(0, low - start) : high - start]

    def _head_at(self, offset: int) -> GroupHead:
        self._source.seek(offset)
        tag = self._source.byte("a group head")
        if tag not in (TAG_GROUP, TAG_CODEC_GROUP):
            raise CorruptError(f"byte {offset}: the index points to what is no group")
        return parse_group(self._source, tag)

    def _codec_of(self, extent: Extent) -> BlockCodec | None:
        if extent.codec_offset is None:
            return None
        head = self._head_at(extent.codec_offset)
        return None if head.codec is None else self._codec(head.codec)

    # --- blocks -----------------------------------------------------------------------------------

    def _codec(self, codec: CodecId) -> BlockCodec:
        key = (codec.fingerprint, codec.params)
        if key not in self._codecs:
            self._codecs[key] = self._find_codec(codec)
        return self._codecs[key]

    def _short(self, head: ShortHead, at: int) -> Iterator[bytes]:
        """The content of a short stream, whose payload comes next; nothing if it is damaged."""
        try:
            payload = self._source.read(head.payload_size, "the payload of a short stream")
            check = self._source.read(SHORT_CHECK, "the check of a short stream")
            if head.codec is None:
                content = _decode_plain(head.kind, payload, head.content_size)
            else:
                codec = self._codec(head.codec)
                (content,) = codec.decode([(payload, head.content_size)])
            if len(content) != head.content_size or check != u32(head.check(payload, content)):
                raise CorruptError(
                    f"content offset {at}: the short stream does not match its check; it is damaged"
                )
        except CorruptError as error:
            self._report(at, head.content_size, error)
            return
        self._tell(len(content))
        yield content

    def _tell(self, size: int) -> None:
        if self._progress is not None:
            self._progress(size)

    def _pieces(
        self, blocks: list[tuple[int, Block]], at: int, codec: BlockCodec | None
    ) -> Iterator[tuple[int, bytes]]:
        """(content offset within the group, content) of those blocks that can be verified.

        Their payloads come next in the source. at: content offset of the group in the archive.
        """
        loaded = [self._load(block, at + start) for start, block in blocks]
        decoded = self._decoded([block for _, block in blocks], loaded, codec)
        for (start, block), content in zip(blocks, decoded, strict=True):
            if isinstance(content, bytes) and (
                len(content) != block.content_size or crc32(content) != block.content_crc
            ):
                content = CorruptError(
                    f"content offset {at + start}: {block.kind_name} block of"
                    f" {block.content_size} bytes does not decode to what its check says"
                )
            if isinstance(content, CorruptError):
                self._report(at + start, block.content_size, content)
            else:
                yield start, content

    def _load(self, block: Block, at: int) -> bytes | CorruptError:
        """A verified payload; damage is raised, or returned if it is to be passed over."""
        try:
            payload = self._source.read(block.payload_size, "the payload of a block")
            if crc32(payload) != block.payload_crc:
                raise CorruptError(
                    f"content offset {at}: the payload of a {block.kind_name} block of"
                    f" {block.content_size} bytes is damaged (checksum mismatch)"
                )
        except CorruptError as error:
            if self._damaged is None:
                raise
            return error
        return payload

    def _decoded(
        self, blocks: list[Block], loaded: list[bytes | CorruptError], codec: BlockCodec | None
    ) -> Iterator[bytes | CorruptError]:
        """Content of each block in order, model blocks as many at a time as the codec has lanes."""
        ready: dict[int, bytes | CorruptError] = {}
        for i, (block, payload) in enumerate(zip(blocks, loaded, strict=True)):
            if isinstance(payload, CorruptError):
                yield payload
            elif block.kind != MODEL:
                yield self._fallback(block, payload)
            elif codec is None:
                yield CorruptError("a model-coded block has no codec in its stream")
            else:
                if i not in ready:
                    batch: dict[int, tuple[bytes, int]] = {}
                    for j in range(i, len(blocks)):
                        coded = loaded[j]
                        if blocks[j].kind == MODEL and isinstance(coded, bytes):
                            batch[j] = coded, blocks[j].content_size
                        if len(batch) >= max(1, codec.lanes):
                            break
                    ready = self._batch(batch, codec)
                yield ready.pop(i)

    def _fallback(self, block: Block, payload: bytes) -> bytes | CorruptError:
        try:
            content = _decode_plain(block.kind, payload, block.content_size)
        except CorruptError as error:
            return error
        self._tell(len(content))
        return content

    def _batch(
        self, batch: dict[int, tuple[bytes, int]], codec: BlockCodec
    ) -> dict[int, bytes | CorruptError]:
        """Contents of model blocks; if one cannot be decoded, they are tried one by one."""
        try:
            contents = codec.decode(list(batch.values()), self._progress)
        except CorruptError as error:
            if len(batch) == 1:
                return dict.fromkeys(batch, error)
            alone = [self._batch({i: coded}, codec) for i, coded in batch.items()]
            return {i: content for one in alone for i, content in one.items()}
        return dict(zip(batch, contents, strict=True))


def _overlapping(head: GroupHead, low: int, high: int) -> tuple[int, list[tuple[int, Block]]]:
    """The blocks that hold content bytes low..high of a group, each with its content offset in it.

    Also the bytes of the payloads that stand before theirs.
    """
    found: list[tuple[int, Block]] = []
    skipped = start = 0
    for block in head.blocks:
        if start < high and low < start + block.content_size:
            found.append((start, block))
        elif not found:
            skipped += block.payload_size
        start += block.content_size
    return skipped, found


def _decode_plain(kind: int, payload: bytes, size: int) -> bytes:
    # Here, for the libraries take a while to import, and `info` and `--help` need none of them.
    from nacrith.archive import fallback

    return fallback.decode(kind, payload, size)
