"""The lowest level of the archive format: constants and bounds, fields, exact reads from a file.

Every number is taken from `formats/archive-v1.md`. The module `records` builds the records of these parts.
Neither imports numpy or a compression library, so that `scan` starts quickly.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import BinaryIO, Protocol

from nacrith.errors import CorruptError, NacrithError, TruncatedError, UnsupportedFormatError
from nacrith.varint import put_varint, read_varint

FULL_MAGIC = b"\x8eNAC"
FULL_VERSION = 1
SHORT_MAGIC = b"\x8es"
END_MAGIC = b"Z\x8e"
TAG_GROUP, TAG_CODEC_GROUP, TAG_END = 0x47, 0x43, 0x45  # "G", "C", "E"

RAW, MODEL = 0, 1  # the block kinds that the archive layer knows; the fallback codecs define the others

SUPER_BLOCK = 1 << 24  # content bytes of a group; the last one of a stream may have fewer
SHORT_MAX = 1 << 18  # most content bytes of a short stream
METADATA_MAX = 1 << 16
GROUP_HEAD_MAX = 1 << 20
END_MAX = 1 << 24
MAX_GROUPS = 1 << 20
PREFIX_SIZE = 4  # fingerprint bytes in a short stream
FINGERPRINT_SIZE = 32
PARAMS_MAX = 255
MODEL_NAME_MAX = 64
FILE_NAME_MAX = 1024
HASH_SIZE = 16
VARINT_MAX = 9  # bytes: 63 bits
TRAILER_SIZE = 10  # crc32, u32 length, END_MAGIC

KEY_NAME, KEY_MTIME, KEY_MODE = 2, 4, 6  # a reader skips an even key that it does not know


class Readable(Protocol):
    """A file object for reading. `seek`, `tell` and `seekable` are used if they exist."""

    def read(self, size: int, /) -> bytes | None: ...


class Writable(Protocol):
    """A file object for writing."""

    def write(self, data: bytes, /) -> int | None: ...


def u32(value: int) -> bytes:
    return value.to_bytes(4, "little")


class Fields:
    """Reads the fields of a record whose checksum has been compared. CorruptError if one is out of bounds."""

    def __init__(self, body: bytes, where: str) -> None:
        self._body, self._at, self._where = body, 0, where

    @property
    def left(self) -> int:
        return len(self._body) - self._at

    def take(self, size: int, what: str) -> bytes:
        if size > self.left:
            raise CorruptError(f"{self._where}: {what} runs past the end of its record")
        self._at += size
        return self._body[self._at - size : self._at]

    def byte(self, what: str) -> int:
        return self.take(1, what)[0]

    def u32(self, what: str) -> int:
        return int.from_bytes(self.take(4, what), "little")

    def varint(self, bound: int, what: str) -> int:
        return bounded_varint(lambda: self.byte(what), bound, f"{self._where}: {what}")


def bounded_varint(next_byte: Callable[[], int], bound: int, what: str) -> int:
    """Read a varint. Raises CorruptError unless it has its shortest form and is at most `bound`."""
    try:
        value, length = read_varint(iter(next_byte, None), VARINT_MAX)
    except ValueError:
        raise CorruptError(f"{what} is longer than {VARINT_MAX} bytes") from None
    if value > bound or length > len(put_varint(value)):
        raise CorruptError(f"{what} is {value}, out of its bounds (at most {bound})")
    return value


class Source:
    """Reads exact lengths from a file object and counts the offset. It seeks only if the file can.

    Offsets are relative to the position of the file object when the source was created.
    """

    def __init__(self, file: Readable | BinaryIO) -> None:
        self._file = file
        self._pushed = b""
        self.offset = 0
        self.wanted = 0  # offset at which the last incomplete read would have ended
        self.seekable = bool(getattr(file, "seekable", lambda: False)())
        self.size: int | None = None  # bytes from the initial position to the end of the file, if seekable
        if self.seekable:
            self._start: int = file.tell()  # type: ignore[union-attr]
            self.size = max(0, self._seek(0, os.SEEK_END) - self._start)
            self._seek(self._start)

    def _seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return int(self._file.seek(offset, whence))  # type: ignore[union-attr]

    def read_upto(self, size: int) -> bytes:
        """Read `size` bytes, or fewer at the end of the file."""
        end = self.offset + size
        parts = [self._pushed[:size]]
        self._pushed = self._pushed[size:]
        got = len(parts[0])
        while got < size:
            part = self._file.read(size - got)
            if part is None:
                raise BlockingIOError("nacrith reads from blocking files only")
            if not part:
                break
            parts.append(part)
            got += len(part)
        self.offset += got
        if got < size:
            self.wanted = end
        return b"".join(parts)

    def read(self, size: int, what: str) -> bytes:
        data = self.read_upto(size)
        if len(data) < size:
            raise TruncatedError(f"archive ends at byte {self.offset}, inside {what}: it is truncated")
        return data

    def byte(self, what: str) -> int:
        return self.read(1, what)[0]

    def push_back(self, data: bytes) -> None:
        self._pushed = data + self._pushed
        self.offset -= len(data)

    def at_end(self) -> bool:
        byte = self.read_upto(1)
        self.push_back(byte)
        return not byte

    def seek(self, offset: int) -> None:
        """Move to `offset`. The file must be seekable."""
        self._pushed = b""
        self._seek(self._start + offset)
        self.offset = offset

    def skip(self, size: int, what: str) -> None:
        """Skip `size` bytes; they are not read if the file is seekable."""
        if self.size is None:
            while size:
                size -= len(self.read(min(size, 1 << 20), what))
        else:
            target = self.offset + size
            self.seek(min(target, self.size))
            if target > self.size:
                self.read(1, what)  # raises TruncatedError


def read_magic(source: Source, first: bool) -> bool:
    """Read the magic bytes of a stream, and the version of a full one. True for a full stream."""
    start = source.offset
    magic = source.read_upto(len(SHORT_MAGIC))
    if not magic:
        raise TruncatedError("the input is empty: a nacrith archive has at least 8 bytes")
    if magic != SHORT_MAGIC and FULL_MAGIC.startswith(magic):
        magic += source.read_upto(len(FULL_MAGIC) - len(magic))
    if magic == SHORT_MAGIC:
        return False
    if magic != FULL_MAGIC:
        if FULL_MAGIC.startswith(magic):
            raise TruncatedError(f"archive ends at byte {source.offset}, inside its magic bytes")
        if not first:
            raise CorruptError(
                f"byte {start}: what follows the end of the stream is no further stream;"
                " the archive is damaged or has something appended"
            )
        raise UnsupportedFormatError("not a nacrith archive (wrong magic bytes)")
    version = source.byte("the version")
    if version != FULL_VERSION:
        raise UnsupportedFormatError(
            f"byte {start}: archive format version {version} is not known to this version;"
            " a newer nacrith is needed"
        )
    return True


def check_limit(content_size: int, max_size: int | None) -> None:
    """Raise NacrithError if the declared content exceeds the caller's limit."""
    if max_size is not None and content_size > max_size:
        raise NacrithError(
            f"archive holds more than the allowed {max_size} bytes of content;"
            " raise the limit if you trust it"
        )
