"""The bytes underneath an archive: constants and bounds, varints, exact reads from a file.

Every number here is one that `formats/archive-v1.md` states. What is built of them, the records,
is in `records`. No codec, no compression library, no numpy: `scan` needs only these two modules.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import BinaryIO, Protocol

from nacrith.errors import CorruptError, NacrithError, TruncatedError, UnsupportedFormatError

FULL_MAGIC = b"\x8eNAC"
FULL_VERSION = 1
SHORT_MAGIC = b"\x8es"
END_MAGIC = b"Z\x8e"
TAG_GROUP, TAG_CODEC_GROUP, TAG_END = 0x47, 0x43, 0x45  # "G", "C", "E"

RAW, MODEL, ZSTD, LZMA, BROTLI, PPMD, BZIP2 = range(7)
KIND_NAMES = ("raw", "model", "zstd", "lzma", "brotli", "ppmd", "bzip2")

SUPER_BLOCK = 1 << 24  # content bytes of a group, all but the last of a stream; also their bound
SHORT_MAX = 1 << 18  # content bytes of a short stream
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
TRAILER_SIZE = 10  # crc32, u32 length, END_MAGIC

KEY_NAME, KEY_MTIME, KEY_MODE = 2, 4, 6  # even: a reader that does not know the key skips it


class Readable(Protocol):
    """What a reader asks of a file object; `seek` and `seekable` are used where they exist."""

    def read(self, size: int, /) -> bytes | None: ...


class Writable(Protocol):
    """What a writer asks of a file object."""

    def write(self, data: bytes, /) -> int | None: ...


def put_varint(value: int) -> bytes:
    """Unsigned LEB128: 7 bits a byte, lowest first, high bit set on all but the last byte."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def u32(value: int) -> bytes:
    return value.to_bytes(4, "little")


class Fields:
    """Reads fields out of a body whose check has passed; a bound broken is still a CorruptError."""

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
        return read_varint(lambda: self.byte(what), bound, f"{self._where}: {what}")


def read_varint(next_byte: Callable[[], int], bound: int, what: str) -> int:
    """A varint in its shortest form and not above `bound`, else CorruptError."""
    value = shift = 0
    while True:
        byte = next_byte()
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            break
        shift += 7
        if shift > 56:
            raise CorruptError(f"{what} is longer than 9 bytes")
    if value > bound or (byte == 0 and shift):
        raise CorruptError(f"{what} is {value}, out of its bounds (at most {bound})")
    return value


class Source:
    """Exact reads from a file object, counting the offset; seeks only where that is possible.

    Offsets are counted from where the file object stood when the source was made.
    """

    def __init__(self, file: Readable | BinaryIO) -> None:
        self._file = file
        self._pushed = b""
        self.offset = 0
        self.wanted = 0  # where the last read that fell short would have ended
        self.seekable = bool(getattr(file, "seekable", lambda: False)())
        self.size: int | None = None  # bytes from the start to the end of the file, if seekable
        if self.seekable:
            self._start: int = file.tell()  # type: ignore[union-attr]
            self.size = max(0, self._seek(0, os.SEEK_END) - self._start)
            self._seek(self._start)

    def _seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return int(self._file.seek(offset, whence))  # type: ignore[union-attr]

    def read_upto(self, size: int) -> bytes:
        """`size` bytes, or fewer at the end of the file."""
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
        """Go to `offset`; only if seekable."""
        self._pushed = b""
        self._seek(self._start + offset)
        self.offset = offset

    def skip(self, size: int, what: str) -> None:
        """Pass over `size` bytes, without reading them where the file is seekable."""
        if self.size is None:
            while size:
                size -= len(self.read(min(size, 1 << 20), what))
        else:
            target = self.offset + size
            self.seek(min(target, self.size))
            if target > self.size:
                self.read(1, what)  # raises TruncatedError


def read_magic(source: Source, first: bool) -> bool:
    """Reads the magic of a stream (and the version of a full one). True if it is a full stream."""
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
    """NacrithError if a stream's declared content passes the caller's limit."""
    if max_size is not None and content_size > max_size:
        raise NacrithError(
            f"archive holds more than the allowed {max_size} bytes of content;"
            " raise the limit if you trust it"
        )
