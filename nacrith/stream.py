"""`Compressor` and `Decompressor`: compression in pieces, without a file.

After `compression.zstd` (PEP 784). Both hold a model and a state: one object serves one thread and
one stream.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING

from nacrith import loaded
from nacrith.archive import ArchiveReader, ArchiveWriter
from nacrith.archive.records import GroupHead, ShortHead
from nacrith.archive.scan import SHORT_CHECK, Walker
from nacrith.archive.wire import Readable, Source, Writable
from nacrith.codec import levels
from nacrith.errors import NacrithError, TruncatedError
from nacrith.stateful import Stateful

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

    from nacrith.models.protocol import LanguageModel

MAX_THREADS = 1024


def checked_level(level: int | None) -> int:
    """The level, None for the default; TypeError or ValueError if it is none."""
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
    """Makes a writer of `level` (None: the default) into a file. What can be wrong with these is wrong here,
    before there is a file."""
    from nacrith.cores import usable_cores

    chosen = checked_level(level)
    _check_threads(threads)
    codec = loaded.for_encoding(chosen, model, threads)
    return functools.partial(
        ArchiveWriter,
        codec=codec,
        block_bytes=levels.block_bytes(chosen),
        threads=threads or usable_cores(),
    )


def read_archive(
    file: Readable,
    *,
    model: str | LanguageModel | None,
    threads: int | None,
    max_size: int | None = None,
    keep: int = 0,
) -> ArchiveReader:
    """A reader of `file` that finds its model by itself where `model` is None."""
    _check_threads(threads)
    find = functools.partial(loaded.for_decoding, model=model, threads=threads)
    return ArchiveReader(file, find, max_size=max_size, keep=keep)


class _Sink:
    """The write side of a `Compressor`: collects what the writer has made."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def write(self, data: bytes, /) -> int:
        self._parts.append(data)
        return len(data)

    def take(self) -> bytes:
        parts, self._parts = self._parts, []
        return b"".join(parts)


class Compressor(Stateful):
    """Makes one stream out of content that comes in pieces. Not thread-safe.

    The archive's bytes do not depend on how the content was cut.
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
        """Take `data` in; return what is ready of the archive, often nothing."""
        self._open_writer().write(memoryview(data).tobytes())
        return self._sink.take()

    def flush(self) -> bytes:
        """The rest of the archive. Nothing can be compressed after it; it is called once."""
        self._open_writer().close()
        self._writer = None
        return self._sink.take()

    def _open_writer(self) -> ArchiveWriter:
        if self._writer is None:
            raise ValueError("the stream has been flushed; make a new Compressor")
        return self._writer


class _Feed:
    """The compressed bytes that a `Decompressor` was given: a file that grows at its end, read from its front
    by the reader, which lets go of what it has read, and ahead of it by whoever looks what has come."""

    def __init__(self) -> None:
        self._held = bytearray()
        self._first = 0  # offset of the first byte held, and of the next that is read
        self.size = 0  # bytes that were given

    def append(self, data: bytes) -> None:
        self._held += data
        self.size += len(data)

    def read(self, size: int, /) -> bytes:
        data = bytes(self._held[:size])
        del self._held[:size]
        self._first += len(data)
        return data

    def rest(self, offset: int, size: int | None = None) -> bytes:
        """What is held from `offset` on."""
        start = offset - self._first
        return bytes(self._held[start : None if size is None else start + size])


class _Ahead:
    """The same bytes for a `Source` that looks ahead."""

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
    """Decodes one stream that comes in pieces. Not thread-safe.

    Content is handed out as soon as the group of blocks that it lies in (16 MiB of content) has
    come and is verified; no more of the compressed bytes than that is held. What follows the stream is left
    in `unused_data`; a further stream needs a further object.
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
        self._pieces = iter(ArchiveReader(self._feed, find, max_size=max_size, streams=1))
        self._ahead = Source(_Ahead(self._feed))
        self._walker: Walker | None = Walker(self._ahead, streams=1)  # None once it has seen all it can
        self._next = 0  # where the record begins that it sees next
        self._wanted = 0  # so many bytes must have come before it can see more
        self._content = bytearray()  # decoded, not handed out yet
        self._decoded = 0  # content bytes that the reader has given
        self._arrived = 0  # content bytes whose groups have come as a whole
        self._coming = 0  # content bytes of the group that is coming
        self._end: int | None = None  # of the stream, once it has come as a whole
        self._finished = False
        self._error: BaseException | None = None

    @property
    def eof(self) -> bool:
        """Whether the end of the stream has been reached and all of its content handed out."""
        return self._finished and not self._content

    @property
    def needs_input(self) -> bool:
        """Whether `decompress` can give more only if it is given more."""
        return not self._finished and not self._content and not self._can_decode()

    @property
    def unused_data(self) -> bytes:
        """What was given beyond the end of the stream; empty before `eof`."""
        return self._feed.rest(self._end or 0) if self.eof else b""

    def decompress(self, data: ReadableBuffer, max_length: int = -1) -> bytes:
        """Take `data` in; return content, at most `max_length` bytes of it if that is not negative.

        Raises EOFError after the end, and after an error the same error again.
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
        except BaseException as error:  # after which the reader would pretend to be at the end
            ours = isinstance(error, Exception)
            self._error = error if ours else NacrithError("decoding was interrupted; begin the stream again")
            raise
        size = len(self._content) if max_length < 0 else max_length
        taken = bytes(self._content[:size])
        del self._content[:size]
        return taken

    def _look_ahead(self) -> None:
        """Find out how much of the stream has come, so that the reader never runs short. Goes over no bytes
        twice but those of the record that is coming."""
        while self._walker is not None and self._feed.size >= self._wanted:
            self._arrived += self._coming
            self._coming = 0
            self._ahead.seek(self._next)
            try:
                found = self._walker.next()
            except TruncatedError:
                self._wanted = self._ahead.wanted
                return
            except NacrithError:  # the reader will come upon it, after what comes before
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
