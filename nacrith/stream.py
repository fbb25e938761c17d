"""`Compressor` and `Decompressor`: compression in pieces, without a file.

After `compression.zstd` (PEP 784). Both hold a model and a state: one object serves one thread and
one stream.
"""

from __future__ import annotations

import functools
import io
from typing import TYPE_CHECKING

from nacrith import loaded
from nacrith.archive import ArchiveReader, ArchiveWriter
from nacrith.archive.records import GroupHead, ShortHead
from nacrith.archive.scan import SHORT_CHECK, walk
from nacrith.archive.wire import Readable, Source, Writable
from nacrith.codec import levels
from nacrith.errors import NacrithError, TruncatedError

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

    from nacrith.models.protocol import LanguageModel


def archive_writer(
    file: Writable,
    level: int | None,
    model: str | LanguageModel | None,
    threads: int | None,
) -> ArchiveWriter:
    """A writer of `level` (None: the default) into `file`."""
    if level is None:
        level = levels.DEFAULT_LEVEL
    if not isinstance(level, int):
        raise TypeError(f"level is an int or None, not {type(level).__name__}")
    if not levels.MIN_LEVEL <= level <= levels.MAX_LEVEL:
        raise ValueError(f"level {level} is not from {levels.MIN_LEVEL} to {levels.MAX_LEVEL}")
    codec = loaded.for_encoding(level, model, threads)
    return ArchiveWriter(file, codec, block_bytes=levels.block_bytes(level))


def read_archive(
    file: Readable,
    *,
    model: str | LanguageModel | None,
    threads: int | None,
    max_size: int | None = None,
) -> ArchiveReader:
    """A reader of `file` that finds its model by itself where `model` is None."""
    find = functools.partial(loaded.for_decoding, model=model, threads=threads)
    return ArchiveReader(file, find, max_size=max_size)


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


class Compressor:
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
        self._writer: ArchiveWriter | None = archive_writer(self._sink, level, model, threads)

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
    """The compressed bytes that a `Decompressor` was given, as a file that grows at its end."""

    def __init__(self) -> None:
        self.held = io.BytesIO()
        self._position = 0  # of the reader

    def append(self, data: bytes) -> None:
        self.held.seek(0, io.SEEK_END)
        self.held.write(data)

    def read(self, size: int, /) -> bytes:
        self.held.seek(self._position)
        data = self.held.read(size)
        self._position += len(data)
        return data


class Decompressor:
    """Decodes one stream that comes in pieces. Not thread-safe.

    Content is handed out as soon as the group of blocks that it lies in (16 MiB of content) has
    come and is verified. What follows the stream is left in `unused_data`; a further stream needs a
    further object. The compressed bytes of the stream are held in memory until the object goes.
    """

    def __init__(
        self,
        *,
        model: str | LanguageModel | None = None,
        max_size: int | None = None,
        threads: int | None = None,
    ) -> None:
        self._feed = _Feed()
        find = functools.partial(loaded.for_decoding, model=model, threads=threads)
        self._pieces = iter(ArchiveReader(self._feed, find, max_size=max_size, streams=1))
        self._content = bytearray()  # decoded, not handed out yet
        self._decoded = 0  # content bytes that the reader has given
        self._arrived = 0  # content bytes whose groups have come as a whole
        self._end: int | None = None  # of the stream in the feed, once it has come as a whole
        self._finished = False
        self._error: NacrithError | None = None

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
        return bytes(self._feed.held.getbuffer()[self._end :]) if self.eof else b""

    def decompress(self, data: ReadableBuffer, max_length: int = -1) -> bytes:
        """Take `data` in; return content, at most `max_length` bytes of it if that is not negative.

        Raises EOFError after the end, and after an error the same error again.
        """
        given = memoryview(data).tobytes()
        if self._error is not None:
            raise self._error
        if self.eof:
            raise EOFError("the stream has ended; what follows it is in unused_data")
        try:
            if given:
                self._feed.append(given)
                self._look_ahead()
            while self._can_decode() and not 0 <= max_length <= len(self._content):
                self._decode()
        except NacrithError as error:
            self._error = error
            raise
        size = len(self._content) if max_length < 0 else max_length
        taken = bytes(self._content[:size])
        del self._content[:size]
        return taken

    def _look_ahead(self) -> None:
        """Find out how much of the stream has come, so that the reader never runs short."""
        if self._end is not None:
            return
        self._feed.held.seek(0)
        source = Source(self._feed.held)
        arrived = 0
        try:
            for _, record in walk(source, streams=1):
                if isinstance(record, ShortHead):
                    source.skip(record.payload_size + SHORT_CHECK, "the payload of a short stream")
                    arrived += record.content_size
                elif isinstance(record, GroupHead):
                    source.skip(record.payload_size, "the payloads of a group")
                    arrived += record.content_size
                self._arrived = arrived
            self._end = source.offset
        except TruncatedError:
            pass  # the rest is still to come

    def _can_decode(self) -> bool:
        return not self._finished and (self._decoded < self._arrived or self._end is not None)

    def _decode(self) -> None:
        piece = next(self._pieces, None)
        if piece is None:
            self._finished = True
        else:
            self._decoded += len(piece)
            self._content += piece
