"""`NacrithFile`: a file object for the content of an archive.

Reading decodes sequentially, piece by piece, behind a `BufferedReader`. Seeking uses the archive's index, so
that only the blocks that are read afterwards are decoded.
"""

from __future__ import annotations

import builtins
import io
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, BinaryIO, cast

from nacrith.errors import NacrithError
from nacrith.stateful import Stateful
from nacrith.stream import archive_writer, read_archive

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer

    from nacrith.archive import ArchiveReader, ArchiveWriter
    from nacrith.models.protocol import LanguageModel

_MODES = {"r": "rb", "rb": "rb", "w": "wb", "wb": "wb", "x": "xb", "xb": "xb"}

_BUFFER = 1 << 16  # size of the read buffer in content bytes
_PART = 1 << 20  # content bytes requested at a time, however many `read` returns
_KEEP = (1 << 24) + (1 << 20)  # bytes of the cache of decoded blocks; the largest block has 16 MiB


class NacrithFile(Stateful, io.BufferedIOBase):
    """The content of an archive, for reading ("rb") or for writing ("wb", "xb").

    file: a path, or a binary file object, which stays open when this one is closed.

    Bytes are verified before `read` returns them. A truncated archive raises `TruncatedError` (an
    `EOFError`) and a corrupt one `CorruptError`; every later `read` raises it again. For writing, the file is
    opened only after all arguments have been checked. The archive is complete only after `close`; an
    exception that leaves the `with` block leaves it incomplete. Not thread-safe.
    """

    def __init__(
        self,
        file: str | bytes | os.PathLike[str] | os.PathLike[bytes] | BinaryIO,
        mode: str = "rb",
        *,
        level: int | None = None,
        model: str | LanguageModel | None = None,
        threads: int | None = None,
        group_size: int | None = None,
        prefix: ReadableBuffer | None = None,
    ) -> None:
        self._raw: BinaryIO | None = None  # set first: `close` needs it after an error below
        self._writer: ArchiveWriter | None = None
        self._reader: io.BufferedReader | None = None
        self._owned = isinstance(file, str | bytes | os.PathLike)
        self._written = 0
        self._abandoned = self._ending = False
        if mode not in _MODES:
            raise ValueError(f"mode {mode!r} is none of rb, wb, xb, rt, wt, xt")
        self._mode = _MODES[mode]
        if self._mode == "rb" and (level, group_size) != (None, None):
            raise ValueError("level and group_size are for writing; an archive knows its own")
        if not (self._owned or hasattr(file, "read") or hasattr(file, "write")):
            raise TypeError(f"file is a path or a binary file object, not {type(file).__name__}")
        try:
            if self._mode == "rb":
                self._raw = self._opened(file)
                reader = read_archive(self._raw, model=model, threads=threads, keep=_KEEP, prefix=prefix)
                self._reader = io.BufferedReader(_Content(reader), _BUFFER)
            else:
                make = archive_writer(level, model, threads, group_size, prefix)
                self._raw = self._opened(file)  # empties an existing file, so it comes last
                self._writer = make(self._raw)
        except BaseException:
            self._release()
            raise

    def _opened(self, file: str | bytes | os.PathLike[str] | os.PathLike[bytes] | BinaryIO) -> BinaryIO:
        if isinstance(file, str | bytes | os.PathLike):
            return cast(BinaryIO, builtins.open(file, self._mode))
        return file

    @property
    def mode(self) -> str:
        """The mode: rb, wb or xb."""
        return self._mode

    @property
    def name(self) -> str | bytes | int:
        """The name of the archive's file."""
        self._check_open()
        return cast("str | bytes | int", getattr(self._raw, "name"))  # noqa: B009 - may be absent

    def close(self) -> None:
        """Close the file, and complete the archive if it was open for writing. May be called again."""
        if self.closed:
            return
        try:
            if self._writer is not None:
                self._writer.close()
        finally:
            self._release()
            super().close()

    def flush(self) -> None:
        """When writing, end the group and flush the file, so that all content so far can be read from it.

        Each such call with new content costs some 30 bytes and a fresh start. When reading, does nothing.
        """
        if self.closed or self._writer is None or self._abandoned or self._ending:
            return
        self._writer.flush()
        if self._raw is not None and hasattr(self._raw, "flush"):
            self._raw.flush()

    def end(self) -> None:
        """Let `flush` do nothing from now on, for a wrapper that flushes before it closes."""
        self._ending = True

    def abandon(self) -> None:
        """Make `close` leave the archive incomplete, so that a part cannot be mistaken for the whole.

        Later writes are dropped, such as those of a text wrapper that flushes its buffer.
        """
        self._abandoned = True
        if self._writer is not None:
            self._writer.abandon()

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            self.abandon()
        self.close()

    def readable(self) -> bool:
        self._check_open()
        return self._reader is not None

    def writable(self) -> bool:
        self._check_open()
        return self._writer is not None

    def seekable(self) -> bool:
        self._check_open()
        return self._reader is not None and self._reader.seekable()

    def fileno(self) -> int:
        """The descriptor of the archive's file."""
        self._check_open()
        assert self._raw is not None
        return self._raw.fileno()

    def write(self, data: ReadableBuffer, /) -> int:
        self._check_open()
        if self._writer is None:
            raise io.UnsupportedOperation("the file is open for reading")
        content = memoryview(data).tobytes()
        if not self._abandoned:
            self._writer.write(content)
        self._written += len(content)
        return len(content)

    def read(self, size: int | None = -1, /) -> bytes:
        """Read at most `size` bytes, or all that are left if `size` is negative or None."""
        reader = self._to_read()
        if size is None or size < 0:
            return reader.read()
        parts: list[bytes] = []
        while size and (part := reader.read(min(size, _PART))):
            parts.append(part)
            size -= len(part)
        return b"".join(parts)

    def read1(self, size: int = -1, /) -> bytes:
        """Read at most `size` bytes, and decode no more than the first of them needs."""
        return self._to_read().read1(min(size, _PART))

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        return self._to_read().readinto(buffer)

    def readinto1(self, buffer: WriteableBuffer, /) -> int:
        return self._to_read().readinto1(buffer)

    def readline(self, size: int | None = -1, /) -> bytes:
        return self._to_read().readline(-1 if size is None else size)

    def __next__(self) -> bytes:
        return next(self._to_read())

    def peek(self, size: int = 0, /) -> bytes:
        """Return some of the next bytes without moving the position. Empty only at the end."""
        return self._to_read().peek(size)

    def tell(self) -> int:
        self._check_open()
        return self._written if self._reader is None else self._reader.tell()

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Move to a position in the content. The file must be open for reading and seekable."""
        reader = self._to_read()
        if not reader.seekable():
            raise io.UnsupportedOperation("the archive's file cannot seek")
        return reader.seek(offset, whence)

    def _check_open(self) -> None:
        if self.closed:
            raise ValueError("the file is closed")

    def _to_read(self) -> io.BufferedReader:
        self._check_open()
        if self._reader is None:
            raise io.UnsupportedOperation("the file is open for writing")
        return self._reader

    def _release(self) -> None:
        raw, self._raw = self._raw, None
        self._reader = self._writer = None
        if self._owned and raw is not None:
            raw.close()


class _Content(io.RawIOBase):
    """A raw file over an `ArchiveReader`. After an error every read raises it again, until a seek."""

    def __init__(self, reader: ArchiveReader) -> None:
        self._reader = reader
        self._position = 0  # content offset of the next byte to return
        self._piece = memoryview(b"")  # decoded content from there on
        self._pieces: Iterator[bytes] = iter(reader)
        self._error: BaseException | None = None

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return self._reader.seekable

    def tell(self) -> int:
        return self._position

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        view = memoryview(buffer).cast("B")
        piece = self._some()
        size = min(len(view), len(piece))
        view[:size] = piece[:size]
        self._advance(size)
        return size

    def readall(self) -> bytes:
        parts: list[bytes] = []
        while piece := self._some():
            parts.append(piece.tobytes())
            self._advance(len(piece))
        return b"".join(parts)

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        if whence == io.SEEK_CUR:
            offset += self._position
        elif whence == io.SEEK_END:
            offset += self._reader.size
        elif whence != io.SEEK_SET:
            raise ValueError(f"whence is 0, 1 or 2, not {whence}")
        if offset < 0:
            raise ValueError(f"position {offset} lies before the beginning")
        if 0 <= offset - self._position <= len(self._piece) and self._error is None:
            self._advance(offset - self._position)
        else:
            self._pieces = self._reader.pieces_from(offset)
            self._piece = memoryview(b"")
            self._position = offset
            self._error = None
        return offset

    def _some(self) -> memoryview:
        """Return decoded content at the position; decode a piece if there is none. Empty only at the end."""
        if self._error is not None:
            raise self._error
        while not self._piece:
            try:
                piece = next(self._pieces, None)
            except BaseException as error:  # the generator is finished now and would report the end
                ours = isinstance(error, Exception)
                self._error = error if ours else NacrithError("reading was interrupted; open it again")
                raise
            if piece is None:
                break
            self._piece = memoryview(piece)
        return self._piece

    def _advance(self, size: int) -> None:
        self._piece = self._piece[size:]
        self._position += size
