"""`ArchiveReader`: reads verified content, sequentially from a pipe or at random from a file.

The checksum of a payload is compared before the block is decoded, and that of its content before the content
is returned. Content before a damaged block is returned before the error is raised. At most one group (16 MiB
of content) is held in memory, whatever an archive claims, in addition to the cache that a caller asks for.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache

from nacrith.archive.blockcodec import BlockCodec, FallbackCodecs, Progress
from nacrith.archive.blocks import BlockDecoder, FindCodec
from nacrith.archive.layout import Extent, Layout, find_layout, layout_by_index
from nacrith.archive.records import Block, GroupHead, Metadata, ShortHead, parse_group
from nacrith.archive.records import parse_short_head as parse_short
from nacrith.archive.scanner import walk
from nacrith.archive.wire import (
    HASH_SIZE,
    MODEL,
    TAG_CODEC_GROUP,
    TAG_GROUP,
    Readable,
    Source,
    check_limit,
    read_magic,
)
from nacrith.errors import CorruptError
from nacrith.stateful import Stateful


@dataclass(frozen=True)
class Damage:
    """A range of content that could not be recovered.

    offset: its start in the content of the whole archive. size: its length in bytes, or None if the damage
    hides how much is missing. error: the error that a strict reader would have raised.
    """

    offset: int
    size: int | None
    error: CorruptError


_MANY_CODECS = 8  # size of the codec cache: each stream may name another codec


class ArchiveReader(Stateful):
    """Reads the streams of an archive, from the current position of `fileobj` on, as one content.

    Iteration yields the content in order, in verified pieces, and compares the hash of the whole content at
    the end. It begins at the start of the archive, so a pipe can be iterated once. `size`, `read_range` and
    `pieces_from` need a seekable file.

    find_codec: called at the first model-coded block of a stream, before that block or anything behind it is
        returned.
    fallback: decodes the other blocks.
    max_size: iteration raises NacrithError before it decodes more content than this.
    damaged: None to raise an error for damage. Otherwise it is called for each damaged range, in order; the
        range is left out, and all content that can be verified is still returned.
    streams: how many streams to read. None for all; then other bytes behind the last stream are an error.
    progress: receives the number of decoded bytes.
    keep: size of the cache of decoded blocks in bytes, so that seeking back a little decodes nothing again.

    Not thread-safe.
    """

    def __init__(
        self,
        fileobj: Readable,
        find_codec: FindCodec,
        fallback: FallbackCodecs,
        *,
        max_size: int | None = None,
        damaged: Callable[[Damage], None] | None = None,
        streams: int | None = None,
        progress: Progress | None = None,
        keep: int = 0,
    ) -> None:
        self._source = Source(fileobj)
        self._codec = lru_cache(_MANY_CODECS)(find_codec)
        self._kinds = fallback.names
        self._blocks = BlockDecoder(self._source, fallback, keep, progress)
        self._max_size = max_size
        self._damaged = damaged
        self._streams = streams
        self._known_layout: Layout | None = None
        self._intact = True  # no damage reported since this was last set

    # --- sequential reading -----------------------------------------------------------------------

    def __iter__(self) -> Iterator[bytes]:
        if self._source.seekable:
            if self._damaged is not None and self._streams is None:
                layout = layout_by_index(self._source)
                if layout is not None:
                    yield from self._salvage(layout)
                    return
            self._source.seek(0)
        at = 0  # content offset of the current record
        digest = hashlib.blake2b(digest_size=HASH_SIZE)
        codec: BlockCodec | None = None
        try:
            for start, record in walk(self._source, self._kinds, self._streams):
                if isinstance(record, Metadata):
                    digest = hashlib.blake2b(digest_size=HASH_SIZE)
                    codec = None
                    self._intact = True
                elif isinstance(record, ShortHead):
                    check_limit(at + record.content_size, self._max_size)
                    yield from self._short(record, at, start)
                    at += record.content_size
                elif isinstance(record, GroupHead):
                    check_limit(at + record.content_size, self._max_size)
                    if record.codec is not None:
                        codec = self._codec(record.codec)
                    _, blocks = _overlapping(record, 0, record.content_size)
                    for _, piece in self._verified(blocks, at, codec):
                        digest.update(piece)
                        yield piece
                    at += record.content_size
                elif self._intact and record.digest != digest.digest():
                    raise CorruptError(f"byte {start}: the content does not match its hash")
        except CorruptError as error:
            self._report(at, None, error)

    def _salvage(self, layout: Layout) -> Iterator[bytes]:
        """Yield all content, located by the index, so that a damaged group head loses only its group."""
        check_limit(layout.size, self._max_size)
        self._intact = True
        digest = hashlib.blake2b(digest_size=HASH_SIZE)
        for extent in layout.extents():
            try:
                for piece in self._extent(extent, 0, extent.content_size):
                    digest.update(piece)
                    yield piece
            except CorruptError as error:
                self._report(extent.content_offset, extent.content_size, error)
        if self._intact and layout.digest != digest.digest():
            self._report(0, None, CorruptError("the content does not match its hash"))

    def _report(self, offset: int, size: int | None, error: CorruptError) -> None:
        """Raise `error`, or pass it to `damaged` if the caller gave that."""
        if self._damaged is None:
            raise error
        self._intact = False
        self._damaged(Damage(offset, size, error))

    # --- random access ----------------------------------------------------------------------------

    @property
    def seekable(self) -> bool:
        """Whether the archive supports random access."""
        return self._source.seekable

    @property
    def size(self) -> int:
        """The length of the whole content in bytes. The file must be seekable."""
        return self._layout().size

    def read_range(self, offset: int, size: int) -> bytes:
        """Return `size` content bytes from `offset` on, fewer at the end.

        Decodes and verifies only the blocks that hold them, and does not compare the hash of the whole
        content. The file must be seekable.
        """
        if offset < 0 or size < 0:
            raise ValueError("offset and size are not negative")
        before = self._source.offset
        try:
            return b"".join(self._range(offset, offset + size))
        finally:
            self._source.seek(before)

    def pieces_from(self, offset: int) -> Iterator[bytes]:
        """Yield the content from `offset` to the end in verified pieces. The file must be seekable.

        Only one such iterator, or plain iteration, can be active at a time.
        """
        if offset < 0:
            raise ValueError("offset is not negative")
        self._blocks.at_random()
        return self._range(offset, self.size)

    def _layout(self) -> Layout:
        if not self._source.seekable:
            raise io.UnsupportedOperation("the archive's file cannot seek")
        if self._known_layout is None:
            self._known_layout = find_layout(self._source, self._kinds)
        return self._known_layout

    def _range(self, low: int, high: int) -> Iterator[bytes]:
        for extent in self._layout().extents(low, high):
            start = extent.content_offset
            yield from self._extent(extent, max(0, low - start), high - start)

    def _extent(self, extent: Extent, low: int, high: int) -> Iterator[bytes]:
        """Yield content bytes low..high of a group or short stream."""
        source = self._source
        source.seek(extent.offset)
        if extent.short:
            if (kept := self._blocks.kept(extent.offset)) is not None:
                yield kept[low:high]
                return
            read_magic(source, first=True)
            head = parse_short(source, self._kinds)
            for piece in self._short(head, extent.content_offset, extent.offset):
                yield piece[low:high]
            return
        group = self._head_at(extent.offset)
        if group.content_size != extent.content_size:
            raise CorruptError(f"byte {extent.offset}: the index does not agree with the group")
        skipped, blocks = _overlapping(group, low, high)
        codec: BlockCodec | None = None
        if any(block.kind == MODEL for _, block in blocks):
            codec = self._codec_of(extent)
        source.seek(extent.offset + group.size + skipped)
        for at, piece in self._verified(blocks, extent.content_offset, codec):
            start = at - extent.content_offset
            yield piece[max(0, low - start) : high - start]

    # --- verification ----------------------------------------------------------------------------

    def _verified(
        self, blocks: list[tuple[int, Block]], at: int, codec: BlockCodec | None
    ) -> Iterator[tuple[int, bytes]]:
        """Yield (content offset in the archive, content) of blocks of one group. Report the damaged blocks.

        at: the content offset of the group.
        """
        for start, block, content in self._blocks.group(blocks, at, codec):
            if isinstance(content, CorruptError):
                self._report(start, block.content_size, content)
            else:
                yield start, content

    def _short(self, head: ShortHead, at: int, key: int) -> Iterator[bytes]:
        try:
            content = self._blocks.short(head, at, key, self._codec)
        except CorruptError as error:
            self._report(at, head.content_size, error)
        else:
            yield content

    def _head_at(self, offset: int) -> GroupHead:
        self._source.seek(offset)
        tag = self._source.byte("a group head")
        if tag not in (TAG_GROUP, TAG_CODEC_GROUP):
            raise CorruptError(f"byte {offset}: the index points to what is no group")
        return parse_group(self._source, tag, self._kinds)

    def _codec_of(self, extent: Extent) -> BlockCodec | None:
        if extent.codec_offset is None:
            return None
        head = self._head_at(extent.codec_offset)
        return None if head.codec is None else self._codec(head.codec)


def _overlapping(head: GroupHead, low: int, high: int) -> tuple[int, list[tuple[int, Block]]]:
    """Find the blocks that hold content bytes low..high of a group.

    Returns the length of the payloads before theirs, and each block with its content offset in the group.
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
