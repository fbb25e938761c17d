"""Where content lies in a seekable archive: by the index at its end, else from group to group.

The index answers with one read for the usual archive of one full stream. For concatenated
streams, or if the index is damaged, every group head is visited, once per 16 MiB of content.
"""

from __future__ import annotations

from dataclasses import dataclass

from nacrith.archive.records import End, GroupHead, Metadata, ShortHead, parse_end
from nacrith.archive.records import parse_full_header as parse_header
from nacrith.archive.scan import SHORT_CHECK, walk
from nacrith.archive.wire import END_MAGIC, END_MAX, TAG_END, TRAILER_SIZE, Source, read_magic
from nacrith.errors import NacrithError


@dataclass(frozen=True)
class Extent:
    """A group, or a short stream, as a stretch of the content of the whole archive.

    offset: of the group's tag, or of the short stream's magic, in the archive. codec_offset: of the
    group that defines the codec of this stream, None if none does.
    """

    content_offset: int
    content_size: int
    offset: int
    short: bool
    codec_offset: int | None


@dataclass(frozen=True)
class Layout:
    """digest: hash of the content, where the archive is one full stream; else None."""

    extents: list[Extent]
    digest: bytes | None

    @property
    def size(self) -> int:
        """Content bytes of the whole archive."""
        last = self.extents[-1] if self.extents else None
        return last.content_offset + last.content_size if last else 0


def find_layout(source: Source) -> Layout:
    """By the index if there is a good one, else by the groups. Leaves `source` where it was."""
    before = source.offset
    try:
        return layout_by_index(source) or _layout_by_groups(source)
    finally:
        source.seek(before)


def layout_by_index(source: Source) -> Layout | None:
    """None unless the archive is one full stream with an undamaged header and end record."""
    assert source.size is not None
    try:
        source.seek(max(0, source.size - TRAILER_SIZE))
        trailer = source.read(TRAILER_SIZE, "the trailer")
        size = int.from_bytes(trailer[4:8], "little")
        if trailer[8:] != END_MAGIC or size > min(source.size, END_MAX + 64):
            return None
        source.seek(source.size - size)
        if source.byte("the end record") != TAG_END:
            return None
        end = parse_end(source)
        source.seek(0)
        if not read_magic(source, first=True):
            return None
        parse_header(source)
    except NacrithError:
        return None
    if source.offset + sum(stored for _, stored in end.groups) + size != source.size:
        return None  # an earlier stream stands before this one
    return Layout(_extents(end, 0, source.offset), end.digest)


def _extents(end: End, content_offset: int, offset: int) -> list[Extent]:
    """Extents of one stream, whose first group begins at `offset`."""
    offsets = [offset]
    for _, stored in end.groups:
        offsets.append(offsets[-1] + stored)
    codec_offset = offsets[end.codec_group - 1] if end.codec_group else None
    extents: list[Extent] = []
    for (content, _), at in zip(end.groups, offsets, strict=False):
        extents.append(Extent(content_offset, content, at, False, codec_offset))
        content_offset += content
    return extents


def _layout_by_groups(source: Source) -> Layout:
    source.seek(0)
    extents: list[Extent] = []
    content_offset = 0
    first_group = 0
    for offset, record in walk(source):
        if isinstance(record, ShortHead):
            extents.append(Extent(content_offset, record.content_size, offset, True, None))
            content_offset += record.content_size
            source.skip(record.payload_size + SHORT_CHECK, "the payload of a short stream")
        elif isinstance(record, Metadata):
            first_group = source.offset
        elif isinstance(record, GroupHead):
            source.skip(record.payload_size, "the payloads of a group")
        else:
            extents += _extents(record, content_offset, first_group)
            content_offset += sum(content for content, _ in record.groups)
    return Layout(extents, None)
