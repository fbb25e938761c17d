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


def archive_writer(
    level: int | None,
    model: str | LanguageModel | None,
    threads: int | None,
) -> Callable[[Writable], ArchiveWriter]:
    """Return a function that makes a writer into a file.

    All arguments are checked here, before a file is opened or emptied.
    """
    chosen = checked_level(level)
    _check_threads(threads)
    return writer_with(loaded.for_encoding(chosen, model, threads), chosen, threads)


def writer_with(
    codec: BlockCodec | None, level: int, threads: int | None, group_size: int | None = None
) -> Callable[..., ArchiveWriter]:
    """`ArchiveWriter` with all that follows from a codec, None for no model, and a level.

    threads: None for one per core. group_size: bytes to aim for in blocks of text; None for the level's.
    """
    from nacrith.cores import usable_cores

    return functools.partial(
        ArchiveWriter,
        codec=codec,
        fallback=CODECS,
        block_bytes=group_size or levels.LEVELS[level].group,
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
) -> ArchiveReader:
    """Return a reader of `file`. If `model` is None, it finds the model that the archive names."""
    _check_threads(threads)
    find = functools.partial(loaded.for_decoding, model=model, threads=threads)
    return ArchiveReader(file, find, CODECS, max_size=max_size, keep=keep)


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

    The archive's bytes do not depend on the lengths of the pieces.
    """

    def __init__(
        self,
        *,
        level: int | None = None,
        model: str | LanguageModel | None = None,
        threads: int | None = None,
    ) -> None:
        self._sink = _Sink()
        self._writer: ArchiveWriter | None = archive_writer(level, model, threads)(self._sink)

    def compress(self, data: ReadableBuffer) -> bytes:
        """Compress `data`. Returns the part of the archive that is finished, which is often empty."""
        self._open_writer().write(memoryview(data).tobytes())
        return self._sink.take()

    def flush(self) -> bytes:
        """Complete the archive and return the rest of it. Call it once, after the last `compress`."""
        self._open_writer().close()
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

    Content is available as soon as its group (16 MiB of content) has arrived and is verified; at most one
    group of compressed bytes is held. Bytes behind the stream are left in `unused_data`; another stream needs
    another object.
    """

    def __init__(
        self,
        *,
        model: str | LanguageModel | None = None,
        max_size: int | None = None,
        threads: int | None = None,
    ) -> None:
        _check_threads(threads)
        self._feed = _Feed()
        find = functools.partial(loaded.for_decoding, model=model, threads=threads)
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
