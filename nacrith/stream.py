"""`Compressor` and `Decompressor`: incremental compression without a file.

The interface follows `compression.zstd` (PEP 784). Each object holds a model and the state of one stream, and
must be used by one thread at a time.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING

from nacrith import loaded
from nacrith.archive import ArchiveReader, ArchiveWriter
from nacrith.archive.records import GroupHead, ShortHead
from nacrith.archive.scanner import SHORT_CHECK, Walker
from nacrith.archive.wire import Readable, Source, Writable
from nacrith.codec import levels
from nacrith.errors import NacrithError, TruncatedError
from nacrith.fallback import CODECS
from nacrith.stateful import Stateful

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

    from nacrith.archive.blockcodec import BlockCodec
    from nacrith.archive.blocks import FindCodec
    from nacrith.models.protocol import LanguageModel

MAX_THREADS = 1024


def checked_level(level: int | None) -> int:
    """Check a level and replace None by the default. Raises TypeError or ValueError."""
    if level is None:
        return levels.DEFAULT_LEVEL
    if not isinstance(level, int):
        raise TypeError(f"level is an int or None, not {type(level).__name__}")
    if not levels.MIN_LEVEL <= level <= levels.MAX_LEVEL:
        raise ValueError(f"level {level} is not from {levels.MIN_LEVEL} to {levels.MAX_LEVEL}")
    return level


def _check_threads(threads: int | None) -> None:
    if threads is None:
        return
    if not isinstance(threads, int):
        raise TypeError(f"threads is an int or None, not {type(threads).__name__}")
    if not 0 <= threads <= MAX_THREADS:
        raise ValueError(f"threads {threads} is not from 1 to {MAX_THREADS}")


def _check_group_size(group_size: int | None) -> None:
    if group_size is None:
        return
    if not isinstance(group_size, int):
        raise TypeError(f"group_size is an int or None, not {type(group_size).__name__}")
    if group_size < levels.LEAST_GROUP:
        raise ValueError(f"group_size {group_size} is less than {levels.LEAST_GROUP}, the least")


def _checked_prefix(prefix: ReadableBuffer | None) -> bytes:
    """The bytes of a prefix, b"" for none. Raises TypeError or ValueError."""
    if prefix is None:
        return b""
    content = memoryview(prefix).tobytes()
    if len(content) > levels.MOST_PREFIX:
        raise ValueError(f"a prefix of {len(content)} bytes, and {levels.MOST_PREFIX} is the most")
    return content


def archive_writer(
    level: int | None,
    model: str | LanguageModel | None,
    threads: int | None,
    group_size: int | None = None,
    prefix: ReadableBuffer | None = None,
) -> Callable[[Writable], ArchiveWriter]:
    """Return a function that makes a writer into a file.

    All arguments are checked here, before a file is opened or emptied.
    """
    chosen = checked_level(level)
    _check_threads(threads)
    _check_group_size(group_size)
    codec = loaded.for_encoding(chosen, model, threads, prefix=_checked_prefix(prefix))
    return writer_with(codec, chosen, threads, group_size)


def writer_with(
    codec: BlockCodec | None, level: int, threads: int | None, group_size: int | None = None
) -> Callable[..., ArchiveWriter]:
    """`ArchiveWriter` with all that follows from a codec, None for no model, and a level.

    threads: None for one per core. group_size: bytes to aim for in blocks; None for the level's in
    blocks of text, and for long ones of all else.
    """
    from nacrith.cores import usable_cores

    return functools.partial(
        ArchiveWriter,
        codec=codec,
        fallback=CODECS,
        block_bytes=group_size or levels.LEVELS[level].group,
        all_blocks=group_size is not None,
        threads=threads or usable_cores(),
        effort=levels.LEVELS[level].effort,
    )


def read_archive(
    file: Readable,
    *,
    model: str | LanguageModel | None,
    threads: int | None,
    max_size: int | None = None,
    keep: int = 0,
    prefix: ReadableBuffer | None = None,
) -> ArchiveReader:
    """Return a reader of `file`. If `model` is None, it finds the model that the archive names."""
    find = _finder(model, threads, prefix)
    return ArchiveReader(file, find, CODECS, max_size=max_size, keep=keep)


def _finder(
    model: str | LanguageModel | None, threads: int | None, prefix: ReadableBuffer | None
) -> FindCodec:
    _check_threads(threads)
    return functools.partial(
        loaded.for_decoding, model=model, threads=threads, prefix=_checked_prefix(prefix)
    )


class _Sink:
    """The file of a `Compressor`: collects the bytes that the writer writes."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def write(self, data: bytes, /) -> int:
        self._parts.append(data)
        return len(data)

    def take(self) -> bytes:
        parts, self._parts = self._parts, []
        return b"".join(parts)


class Compressor(Stateful):
    """Compresses content that comes in pieces to one stream. Not thread-safe.

    The arguments are those of `nacrith.compress`. The archive's bytes do not depend on the lengths of the
    pieces.
    """

    FLUSH_BLOCK, FLUSH_FRAME = 1, 2  # as in compression.zstd

    def __init__(
        self,
        *,
        level: int | None = None,
        model: str | LanguageModel | None = None,
        threads: int | None = None,
        group_size: int | None = None,
        prefix: ReadableBuffer | None = None,
    ) -> None:
        self._sink = _Sink()
        make = archive_writer(level, model, threads, group_size, prefix)
        self._writer: ArchiveWriter | None = make(self._sink)

    def compress(self, data: ReadableBuffer) -> bytes:
        """Compress `data`. Returns the part of the archive that is finished, which is often empty."""
        self._open_writer().write(memoryview(data).tobytes())
        return self._sink.take()

    def flush(self, mode: int = FLUSH_FRAME) -> bytes:
        """Return the rest of the archive, which is then complete; call it once, after the last `compress`.

        mode: `FLUSH_BLOCK` ends the group instead, so that all content so far can be decompressed from the
        bytes returned so far; more may follow. Each such call costs some 30 bytes and a fresh start.
        """
        if mode not in (self.FLUSH_BLOCK, self.FLUSH_FRAME):
            raise ValueError(f"mode {mode!r} is neither FLUSH_BLOCK nor FLUSH_FRAME")
        writer = self._open_writer()
        if mode == self.FLUSH_BLOCK:
            writer.flush()
        else:
            writer.close()
            self._writer = None
        return self._sink.take()

    def _open_writer(self) -> ArchiveWriter:
        if self._writer is None:
            raise ValueError("the stream has been flushed; make a new Compressor")
        return self._writer


class _Feed:
    """The compressed bytes of a `Decompressor`, as a file that grows at its end.

    The archive reader reads it from the front, which frees the bytes that were read. `_Ahead` reads further
    ahead to find out how much has arrived.
    """

    def __init__(self) -> None:
        self._held = bytearray()
        self._first = 0  # offset of the first byte held, which is the next one to read
        self.size = 0  # bytes appended so far

    def append(self, data: bytes) -> None:
        self._held += data
        self.size += len(data)

    def read(self, size: int, /) -> bytes:
        data = bytes(self._held[:size])
        del self._held[:size]
        self._first += len(data)
        return data

    def rest(self, offset: int, size: int | None = None) -> bytes:
        """Return the bytes held from `offset` on, without freeing them."""
        start = offset - self._first
        return bytes(self._held[start : None if size is None else start + size])


class _Ahead:
    """A seekable view of a `_Feed`, for a `Source` that looks ahead of the reader."""

    def __init__(self, feed: _Feed) -> None:
        self._feed = feed
        self._position = 0

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = 0) -> int:
        self._position = offset + (self._feed.size if whence else 0)
        return self._position

    def read(self, size: int, /) -> bytes:
        data = self._feed.rest(self._position, size)
        self._position += len(data)
        return data


class Decompressor(Stateful):
    """Decompresses one stream that comes in pieces. Not thread-safe.

    Content is available as soon as its group (at most 16 MiB of content) has arrived and is verified; at most
    one group of compressed bytes is held. Bytes behind the stream are left in `unused_data`; another stream
    needs another object.
    """

    def __init__(
        self,
        *,
        model: str | LanguageModel | None = None,
        max_size: int | None = None,
        threads: int | None = None,
        prefix: ReadableBuffer | None = None,
    ) -> None:
        find = _finder(model, threads, prefix)
        self._feed = _Feed()
        self._pieces = iter(ArchiveReader(self._feed, find, CODECS, max_size=max_size, streams=1))
        self._ahead = Source(_Ahead(self._feed))
        self._walker: Walker | None = Walker(self._ahead, CODECS.names, 1)  # None at its end
        self._next = 0  # offset of the record that it visits next
        self._wanted = 0  # bytes that must have arrived before it can continue
        self._content = bytearray()  # decoded, not returned yet
        self._decoded = 0  # content bytes that the reader has returned
        self._arrived = 0  # content bytes of the groups that have arrived completely
        self._coming = 0  # content bytes of the group that is arriving
        self._end: int | None = None  # offset of the end of the stream, once all of it has arrived
        self._finished = False
        self._error: BaseException | None = None

    @property
    def eof(self) -> bool:
        """Whether the end of the stream has been reached and all of its content returned."""
        return self._finished and not self._content

    @property
    def needs_input(self) -> bool:
        """Whether `decompress` needs more input before it can return more content."""
        return not self._finished and not self._content and not self._can_decode()

    @property
    def unused_data(self) -> bytes:
        """Input behind the end of the stream. Empty before `eof`."""
        return self._feed.rest(self._end or 0) if self.eof else b""

    def decompress(self, data: ReadableBuffer, max_length: int = -1) -> bytes:
        """Decompress `data`. Returns at most `max_length` bytes of content unless that is negative.

        Raises EOFError after the end of the stream. After an error every call raises it again.
        """
        given = memoryview(data).tobytes()
        if self._error is not None:
            raise self._error
        if self.eof:
            raise EOFError("the stream has ended; what follows it is in unused_data")
        self._feed.append(given)
        try:
            self._look_ahead()
            while self._can_decode() and not 0 <= max_length <= len(self._content):
                self._decode()
        except BaseException as error:  # the generator is finished now and would report the end
            ours = isinstance(error, Exception)
            self._error = error if ours else NacrithError("decoding was interrupted; begin the stream again")
            raise
        size = len(self._content) if max_length < 0 else max_length
        taken = bytes(self._content[:size])
        del self._content[:size]
        return taken

    def _look_ahead(self) -> None:
        """Determine how much of the stream has arrived, so that the reader never runs out of bytes.

        Parses no record twice except the one that is arriving.
        """
        while self._walker is not None and self._feed.size >= self._wanted:
            self._arrived += self._coming
            self._coming = 0
            self._ahead.seek(self._next)
            try:
                found = self._walker.next()
            except TruncatedError:
                self._wanted = self._ahead.wanted
                return
            except NacrithError:  # the reader will raise it after the content before it
                found = None
            if found is None:
                self._walker = None
                self._end = self._next
                return
            self._next = self._ahead.offset
            record = found[1]
            if isinstance(record, ShortHead | GroupHead):
                check = SHORT_CHECK if isinstance(record, ShortHead) else 0
                self._next += record.payload_size + check
                self._coming = record.content_size
            self._wanted = self._next

    def _can_decode(self) -> bool:
        return not self._finished and (self._decoded < self._arrived or self._end is not None)

    def _decode(self) -> None:
        piece = next(self._pieces, None)
        if piece is None:
            self._finished = True
        else:
            self._decoded += len(piece)
            self._content += piece
