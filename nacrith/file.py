"""`NacrithFile`: an archive as a file object of its content.

Reading is sequential decoding, a piece at a time; seeking goes through the archive's index, so that
only the blocks that are read from then on are decoded.
"""

from __future__ import annotations

import builtins
import io
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, BinaryIO, cast

from nacrith.stream import archive_writer, read_archive

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

    from nacrith.archive import ArchiveReader, ArchiveWriter
    from nacrith.models.protocol import LanguageModel

_MODES = {"r": "rb", "rb": "rb", "w": "wb", "wb": "wb", "x": "xb", "xb": "xb"}


class NacrithFile(io.BufferedIOBase):
    """The content of an archive, for reading ("rb") or for writing ("wb", "xb").

    file: a path, or a binary file object, which stays open when this one is closed.

    Bytes are verified before `read` returns them. A truncated archive raises `TruncatedError` (an
    `EOFError`) and a corrupt one `CorruptError`. In writing, the archive is complete only after
    `close`. Not thread-safe.
    """

    def __init__(
        self,
        file: str | bytes | os.PathLike[str] | os.PathLike[bytes] | BinaryIO,
        mode: str = "rb",
        *,
        level: int | None = None,
        model: str | LanguageModel | None = None,
        threads: int | None = None,
    ) -> None:
        self._raw: BinaryIO | None = None  # first, for `close` after an error below
        self._writer: ArchiveWriter | None = None
        self._reader: ArchiveReader | None = None
        self._owned = False
        if mode not in _MODES:
            raise ValueError(f"mode {mode!r} is none of rb, wb, xb, rt, wt, xt")
        self._mode = _MODES[mode]
        if self._mode == "rb" and level is not None:
            raise ValueError("level is for writing; an archive knows its own")
        if isinstance(file, str | bytes | os.PathLike):
            self._raw = cast(BinaryIO, builtins.open(file, self._mode))  # noqa: SIM115
            self._owned = True
        elif hasattr(file, "read") or hasattr(file, "write"):
            self._raw = file
        else:
            raise TypeError(f"file is a path or a binary file object, not {type(file).__name__}")
        self._position = 0  # of the next byte that `read` or `write` deals with
        self._piece = memoryview(b"")  # decoded, not read yet
        self._pieces: Iterator[bytes] = iter(())
        try:
            if self._mode == "rb":
                self._reader = read_archive(self._raw, model=model, threads=threads)
                self._pieces = iter(self._reader)
            else:
                self._writer = archive_writer(self._raw, level, model, threads)
        except BaseException:
            self._release()
            raise

    @property
    def mode(self) -> str:
        """rb, wb or xb."""
        return self._mode

    @property
    def name(self) -> str | bytes | int:
        """The name of the archive's file."""
        self._check_open()
        return cast("str | bytes | int", getattr(self._raw, "name"))  # noqa: B009 - may be absent

    def close(self) -> None:
        """Finish the archive, if this was writing it. May be called again."""
        if self.closed:
            return
        try:
            if self._writer is not None:
                self._writer.close()
        finally:
            self._release()
            super().close()

    def readable(self) -> bool:
        self._check_open()
        return self._reader is not None

    def writable(self) -> bool:
        self._check_open()
        return self._writer is not None

    def seekable(self) -> bool:
        self._check_open()
        return self._reader is not None and self._raw is not None and self._raw.seekable()

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
        self._writer.write(content)
        self._position += len(content)
        return len(content)

    def read(self, size: int | None = -1, /) -> bytes:
        """At most `size` bytes; all that are left if `size` is negative or None."""
        self._check_readable()
        left = -1 if size is None or size < 0 else size
        parts: list[bytes] = []
        while left and self._fill():
            parts.append(self._take(left))
            left -= len(parts[-1]) if left > 0 else 0
        return b"".join(parts)

    def read1(self, size: int = -1, /) -> bytes:
        """At most `size` bytes, decoding no further than the first of them needs."""
        self._check_readable()
        return self._take(size) if size != 0 and self._fill() else b""

    def peek(self, size: int = 0, /) -> bytes:
        """Some of the bytes that come next, without moving on; empty only at the end."""
        self._check_readable()
        return self._piece.tobytes() if self._fill() else b""

    def tell(self) -> int:
        self._check_open()
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Move to a position in the content; the file must be open for reading and seekable."""
        self._check_readable()
        if not self.seekable():
            raise io.UnsupportedOperation("the archive's file cannot seek")
        assert self._reader is not None
        if whence == io.SEEK_CUR:
            offset += self._position
        elif whence == io.SEEK_END:
            offset += self._reader.size
        elif whence != io.SEEK_SET:
            raise ValueError(f"whence is 0, 1 or 2, not {whence}")
        if offset < 0:
            raise ValueError(f"position {offset} lies before the beginning")
        ahead = offset - self._position
        if 0 <= ahead <= len(self._piece):
            self._piece = self._piece[ahead:]
        else:
            self._piece = memoryview(b"")
            self._pieces = self._reader.pieces_from(offset)
        self._position = offset
        return offset

    def _fill(self) -> bool:
        """Have a byte to hand out; False at the end of the content."""
        while not self._piece:
            piece = next(self._pieces, None)
            if piece is None:
                return False
            self._piece = memoryview(piece)
        return True

    def _take(self, size: int) -> bytes:
        taken = self._piece[: size if size >= 0 else None]
        self._piece = self._piece[len(taken) :]
        self._position += len(taken)
        return taken.tobytes()

    def _check_open(self) -> None:
        if self.closed:
            raise ValueError("the file is closed")

    def _check_readable(self) -> None:
        self._check_open()
        if self._reader is None:
            raise io.UnsupportedOperation("the file is open for writing")

    def _release(self) -> None:
        raw, self._raw = self._raw, None
        self._reader = self._writer = None
        if self._owned and raw is not None:
            raw.close()
