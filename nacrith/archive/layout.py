"""Maps content offsets to archive offsets in a seekable archive.

For an archive of one full stream, the usual case, the index at its end is read. For concatenated streams, or
if the index is damaged, all group heads are visited: one per 16 MiB of content.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from nacrith.archive.records import End, GroupHead, Metadata, ShortHead, parse_end
from nacrith.archive.records import parse_full_header as parse_header
from nacrith.archive.scanner import SHORT_CHECK, Kinds, walk
from nacrith.archive.wire import END_MAGIC, END_MAX, TAG_END, TRAILER_SIZE, Source, read_magic
from nacrith.errors import NacrithError


@dataclass(frozen=True)
class Extent:
    """The range of content that a group or a short stream holds.

    content_offset: in the content of the whole archive. offset: of the group's tag, or of the short stream's
    magic bytes, in the archive. codec_offset: of the group that defines the codec of this stream, if any.
    """

    content_offset: int
    content_size: int
    offset: int
    short: bool
    codec_offset: int | None


class Layout:
    """All extents that have content, in order. They are stored in columns, as there may be millions.

    digest: the hash of the content if the archive is one full stream, else None. size: content bytes of the
    whole archive.
    """

    def __init__(self, digest: bytes | None = None) -> None:
        self.digest = digest
        self.size = 0
        self._ends = array("Q")  # content offset of the end of each extent
        self._offsets = array("Q")  # archive offset of each extent
        self._codecs = array("Q")  # 1 + codec_offset; 0 for None
        self._short = bytearray()

    def add(self, content_size: int, offset: int, *, short: bool, codec_offset: int | None = None) -> None:
        """Append an extent."""
        if not content_size:
            return
        self.size += content_size
        self._ends.append(self.size)
        self._offsets.append(offset)
        self._codecs.append(0 if codec_offset is None else 1 + codec_offset)
        self._short.append(short)

    def add_groups(self, end: End, offset: int) -> None:
        """Append the groups of a stream, the first of which begins at `offset`."""
        codec_offset = None
        if end.codec_group:
            before = islice(end.groups(), end.codec_group - 1)
            codec_offset = offset + sum(stored for _, stored in before)
        for content, stored in end.groups():
            self.add(content, offset, short=False, codec_offset=codec_offset)
            offset += stored

    def extents(self, low: int = 0, high: int | None = None) -> Iterator[Extent]:
        """Yield the extents that hold content bytes low..high; a `high` of None means the end."""
        at = bisect_right(self._ends, low)
        start = self._ends[at - 1] if at else 0
        while at < len(self._ends) and (high is None or start < high):
            size = self._ends[at] - start
            codec = self._codecs[at]
            yield Extent(start, size, self._offsets[at], bool(self._short[at]), codec - 1 if codec else None)
            start += size
            at += 1


def find_layout(source: Source, fallback_kinds: Kinds) -> Layout:
    """Read the layout from the index if that is intact, else from the groups.

    Restores the position of `source`. fallback_kinds: see `nacrith.archive.scanner`.
    """
    before = source.offset
    try:
        return layout_by_index(source) or _layout_by_groups(source, fallback_kinds)
    finally:
        source.seek(before)


def layout_by_index(source: Source) -> Layout | None:
    """Read the index. None unless the archive is one full stream with intact header and end record."""
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
    if source.offset + sum(stored for _, stored in end.groups()) + size != source.size:
        return None  # an earlier stream stands before this one
    layout = Layout(end.digest)
    layout.add_groups(end, source.offset)
    return layout


def _layout_by_groups(source: Source, fallback_kinds: Kinds) -> Layout:
    source.seek(0)
    layout = Layout()
    first_group = 0
    for offset, record in walk(source, fallback_kinds):
        if isinstance(record, ShortHead):
            layout.add(record.content_size, offset, short=True)
            source.skip(record.payload_size + SHORT_CHECK, "the payload of a short stream")
        elif isinstance(record, Metadata):
            first_group = source.offset
        elif isinstance(record, GroupHead):
            source.skip(record.payload_size, "the payloads of a group")
        else:
            layout.add_groups(record, first_group)
    return layout
