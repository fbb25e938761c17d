"""The one-shot functions and `open`, which most users of the package call.

`nacrith` exports them. They are strict: empty, truncated or corrupt input and bytes after the last stream
raise an error, and a `str` raises TypeError. Concatenated streams are all decoded. The functions share one
loaded model, so call them from one thread at a time, or give each thread its own model (`load_model`).
"""

from __future__ import annotations

import builtins
import codecs
import io
import os
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, overload

from nacrith.file import NacrithFile
from nacrith.stream import Compressor, read_archive

if TYPE_CHECKING:
    from nacrith.archive import StreamInfo
    from nacrith.models.protocol import LanguageModel

Data = bytes | bytearray | memoryview
Path = str | bytes | os.PathLike[str] | os.PathLike[bytes]


def compress(
    data: Data,
    *,
    level: int | None = None,
    model: str | LanguageModel | None = None,
    threads: int | None = None,
    group_size: int | None = None,
    prefix: Data | None = None,
) -> bytes:
    """Compress `data` to a complete archive.

    level: 1 (fastest) to 9 (smallest); None for `COMPRESSION_LEVEL_DEFAULT`.
    model: a name, the path of a model file, or the result of `load_model`; None for the default. To use a
        floating-point model, pass a `backend` to `load_model`.
    threads: None for all usable cores. With an exact model the archive's bytes never depend on it.
    group_size: length to aim for in blocks, at least 16,384 bytes; None for the level's. Short blocks are for
        reading at random, long ones make smaller archives.
    prefix: bytes that reader and writer both have and that the content resembles, such as earlier messages,
        at most 1 MiB. It asks for a model at every level, and is needed again to decompress.
    """
    compressor = Compressor(level=level, model=model, threads=threads, group_size=group_size, prefix=prefix)
    return compressor.compress(data) + compressor.flush()


def decompress(
    data: Data,
    *,
    model: str | LanguageModel | None = None,
    max_size: int | None = None,
    threads: int | None = None,
    prefix: Data | None = None,
) -> bytes:
    """Decompress all streams in `data`.

    model: None finds the model that the archive names, and raises `ModelMissingError` if it is not installed.
    max_size: raise `NacrithError` instead of returning more bytes than this.
    prefix: the one that was given to `compress`; `PrefixError` if it is missing or another.
    """
    file = io.BytesIO(memoryview(data).tobytes())
    return b"".join(read_archive(file, model=model, threads=threads, max_size=max_size, prefix=prefix))


def info(source: Data | Path | BinaryIO) -> list[StreamInfo]:
    """Describe the streams of an archive. This needs no model.

    source: the archive's bytes (any buffer), its path, or a binary file.
    """
    from nacrith.archive import scan
    from nacrith.fallback import CODECS

    if isinstance(source, str | os.PathLike):
        with builtins.open(source, "rb") as file:
            return scan(file, CODECS.names)
    try:
        view = memoryview(source)  # type: ignore[arg-type]
    except TypeError:
        return scan(source, CODECS.names)  # type: ignore[arg-type]
    return scan(io.BytesIO(view.tobytes()), CODECS.names)


@overload
def open(
    file: Path | BinaryIO,
    mode: Literal["r", "rb", "w", "wb", "x", "xb"] = "rb",
    *,
    level: int | None = None,
    model: str | LanguageModel | None = None,
    threads: int | None = None,
    group_size: int | None = None,
    prefix: Data | None = None,
    encoding: None = None,
    errors: None = None,
    newline: None = None,
) -> NacrithFile: ...
@overload
def open(
    file: Path | BinaryIO,
    mode: Literal["rt", "wt", "xt"],
    *,
    level: int | None = None,
    model: str | LanguageModel | None = None,
    threads: int | None = None,
    group_size: int | None = None,
    prefix: Data | None = None,
    encoding: str | None = None,
    errors: str | None = None,
    newline: str | None = None,
) -> io.TextIOWrapper: ...
@overload
def open(
    file: Path | BinaryIO,
    mode: str,
    *,
    level: int | None = None,
    model: str | LanguageModel | None = None,
    threads: int | None = None,
    group_size: int | None = None,
    prefix: Data | None = None,
    encoding: str | None = None,
    errors: str | None = None,
    newline: str | None = None,
) -> NacrithFile | io.TextIOWrapper: ...
def open(
    file: Path | BinaryIO,
    mode: str = "rb",
    *,
    level: int | None = None,
    model: str | LanguageModel | None = None,
    threads: int | None = None,
    group_size: int | None = None,
    prefix: Data | None = None,
    encoding: str | None = None,
    errors: str | None = None,
    newline: str | None = None,
) -> NacrithFile | io.TextIOWrapper:
    """Open an archive as a file of its content: "rb", "wb", "xb", or "rt", "wt", "xt" for text.

    file: a path, or a binary file object, which stays open when this one is closed.
    level, group_size: for writing only. prefix: for both, as in `compress` and `decompress`.
    encoding, errors, newline: for text only, as in `io.TextIOWrapper`.

    All arguments are checked before a file is opened or emptied. An exception that leaves the `with` block
    leaves an incomplete archive.
    """
    text = "t" in mode
    if text and "b" in mode:
        raise ValueError(f"mode {mode!r} is text and binary at once")
    if not text and (encoding, errors, newline) != (None, None, None):
        raise ValueError("encoding, errors and newline are for text modes")
    if text:
        tried = io.TextIOWrapper(io.BytesIO(), encoding, errors, newline)  # raises if they are invalid
        codecs.lookup_error(errors or "strict")
    binary = NacrithFile(
        file,
        mode.replace("t", ""),
        level=level,
        model=model,
        threads=threads,
        group_size=group_size,
        prefix=prefix,
    )
    if not text:
        return binary
    if binary.writable() and codecs.lookup(tried.encoding).name in ("utf-16", "utf-32"):
        binary.write("".encode(tried.encoding))  # the byte order mark, which io omits if the file cannot seek
    return _Text(binary, encoding, errors, newline)


class _Text(io.TextIOWrapper):
    """A text file over a `NacrithFile`. An exception that leaves the `with` block abandons the archive."""

    def close(self) -> None:
        if isinstance(self.buffer, NacrithFile):
            self.buffer.end()  # io flushes before it closes, which is to end no group
        super().close()

    def __exit__(self, *raised: Any) -> None:
        if raised[0] is not None and isinstance(self.buffer, NacrithFile):
            self.buffer.abandon()
        super().__exit__(*raised)
