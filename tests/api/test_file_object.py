"""`nacrith.open` as io would have it: nothing emptied in vain, lines in linear time, going back free."""

from __future__ import annotations

import array
import io
import itertools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from archive_fakes import FakeCodec, full_stream, pack, short_stream
from clirunner import MODEL, TEXT

import nacrith
from nacrith import file as module
from nacrith.archive import wire
from nacrith.fallback import CODECS
from nacrith.stream import read_archive

TINY: dict[str, Any] = {"model": str(MODEL), "level": 1}


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


# --- nothing is opened before all that can be checked is checked ------------------------------------


@pytest.mark.parametrize(
    ("mode", "options"),
    [
        ("wb", {"model": "no-such-model"}),
        ("wb", {"level": 17}),
        ("wb", {"level": "6"}),
        ("wb", {"threads": 5000}),
        ("wb", {"threads": "2"}),
        ("w+", {}),
        ("wbt", {}),
        ("wb", {"encoding": "utf-8"}),
        ("wt", {"encoding": "no-such"}),
        ("wt", {"encoding": "rot13"}),
        ("wt", {"encoding": "utf-8\0"}),
        ("wt", {"errors": "no-such"}),
        ("wt", {"newline": "x"}),
        ("wt", {"newline": 5}),
        ("wt", {"encoding": "utf-8", "model": "no-such-model"}),
    ],
)
def test_old_file_stays(mode: str, options: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "old.nac"
    path.write_bytes(b"precious")
    before = descriptors()
    for other in (mode, mode.replace("w", "x")):
        with pytest.raises((ValueError, TypeError, LookupError, nacrith.NacrithError)):
            nacrith.open(path if "w" in other else tmp_path / "new", other, **(TINY | options))
    assert path.read_bytes() == b"precious"
    assert os.listdir(tmp_path) == ["old.nac"]
    assert descriptors() == before


@pytest.mark.parametrize("options", [{"encoding": "no-such"}, {"newline": "x"}, {"errors": "no-such"}])
def test_nothing_is_left_open_after_an_error(options: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "x.nac").write_bytes(pack(TEXT, None))
    before = descriptors()
    with pytest.raises((ValueError, LookupError)):
        nacrith.open(tmp_path / "x.nac", "rt", **options)
    assert descriptors() == before


# --- exceptions inside `with` -----------------------------------------------------------------------


@pytest.mark.parametrize("text", [False, True])
def test_an_exception_leaves_no_complete_archive(text: bool) -> None:
    out = io.BytesIO()
    content: Any = "first half " if text else b"first half "

    def fail() -> None:
        with nacrith.open(out, "wt" if text else "wb", **TINY) as file:
            file.write(content)
            raise RuntimeError("boom")

    with pytest.raises(RuntimeError, match="boom"):
        fail()
    with pytest.raises(nacrith.TruncatedError):
        nacrith.decompress(out.getvalue())


def test_after_a_failed_write_nothing_completes_the_archive(monkeypatch: pytest.MonkeyPatch) -> None:
    from nacrith.archive import writer

    monkeypatch.setattr(writer, "SUPER_BLOCK", 1000)

    class Full(io.BytesIO):
        full = True

        def write(self, data: Any, /) -> int:
            if self.full:
                raise OSError(28, "No space left on device")
            return super().write(data)

    out = Full()
    archive = writer.ArchiveWriter(out, None, CODECS, block_bytes=1 << 20)
    with pytest.raises(OSError, match="No space"):
        archive.write(os.urandom(2500))
    out.full = False
    archive.close()
    assert out.getvalue() == b""


def test_files_that_take_nothing_now() -> None:
    class Busy(io.RawIOBase):
        def writable(self) -> bool:
            return True

        def write(self, data: Any, /) -> None:  # as a pipe that is full does
            return None

    with pytest.raises(BlockingIOError), nacrith.open(Busy(), "wb", **TINY) as file:  # type: ignore[call-overload]
        file.write(b"x")


# --- reading ----------------------------------------------------------------------------------------


def test_lines_are_linear() -> None:
    """Bytes that are copied out of a block of many short lines: each once or twice, not once a line."""
    data = b"a short line\n" * 100_000
    archive = pack(data, None)
    for mode in ("rb", "rt"):
        file = nacrith.open(io.BytesIO(archive), mode)
        raw = (file.buffer if mode == "rt" else file)._reader.raw
        taken = 0
        advance = raw._advance

        def counted(size: int, advance: Callable[[int], None] = advance) -> None:
            nonlocal taken
            taken += size
            advance(size)

        raw._advance = counted
        assert sum(1 for _ in file) == 100_000
        assert taken == len(data)


class Counting(FakeCodec):
    """Counts bytes that are decoded."""

    total = 0

    def decode(self, blocks: Any, progress: Any = None) -> list[bytes]:
        self.total += sum(size for _, size in blocks)
        return super().decode(blocks, progress)


PARTS = [bytes([97 + i]) * 500 for i in range(8)]
WHOLE = b"".join(PARTS)
PATTERNS: dict[str, Callable[[Any], Any]] = {
    "sniff": lambda f: (f.read(6), f.seek(-6, 1), f.read()),
    "size": lambda f: (f.seek(0, 2), f.seek(0), f.read()),
    "end": lambda f: (f.seek(-20, 2), f.read(), f.seek(0), f.read()),
    "back": lambda f: [(f.seek(at), f.read(10)) for at in range(len(WHOLE) - 10, 0, -100)],
    "twice": lambda f: (f.read(), f.seek(0), f.read()),
    "zigzag": lambda f: [(f.seek(a), f.read(9), f.seek(-a - 9, 2), f.read(9)) for a in range(0, 2000, 300)],
}


@pytest.mark.parametrize("form", ["short", "full", "streams"])
@pytest.mark.parametrize("pattern", PATTERNS.values(), ids=PATTERNS)
def test_no_block_is_decoded_twice(
    form: str, pattern: Callable[[Any], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    codec = Counting(batch=1200)
    archive = {
        "short": short_stream(wire.MODEL, WHOLE, codec),
        "full": full_stream([[(wire.MODEL, part) for part in PARTS[i : i + 4]] for i in (0, 4)], codec=codec),
        "streams": b"".join(short_stream(wire.MODEL, part, codec) for part in PARTS),
    }[form]
    monkeypatch.setattr("nacrith.loaded.for_decoding", lambda *_, **__: codec)
    monkeypatch.setattr(module, "_BUFFER", 16)  # so that the buffer does not hide it
    file = nacrith.open(io.BytesIO(archive))
    assert pattern(file) == pattern(io.BytesIO(WHOLE))
    assert codec.total <= len(WHOLE)


def test_what_is_kept_is_bounded() -> None:
    codec = Counting(batch=1)
    archive = full_stream([[(wire.MODEL, part) for part in PARTS]], codec=codec)
    from nacrith.archive import ArchiveReader

    reader = ArchiveReader(io.BytesIO(archive), lambda _: codec, CODECS, keep=1600)
    assert b"".join(reader) == WHOLE
    codec.total = 0
    assert reader.read_range(3000, 1000) == WHOLE[3000:]
    assert codec.total == 0
    assert reader.read_range(0, 10) == WHOLE[:10]
    assert codec.total == 500


def test_an_error_is_not_followed_by_the_end() -> None:
    archive = bytearray(full_stream([[(wire.RAW, part) for part in PARTS]]))
    archive[archive.index(PARTS[2]) + 5] ^= 1
    file = nacrith.open(io.BytesIO(archive))
    assert file.read(1000) == WHOLE[:1000]
    for read in (
        file.read,
        file.readline,
        file.read1,
        lambda: file.read(1),
        lambda: file.readinto(bytearray(5)),
    ):
        with pytest.raises(nacrith.CorruptError, match="content offset 1000"):
            read()
    file.seek(1500)
    assert file.read() == WHOLE[1500:]


def test_an_interrupt_is_not_followed_by_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    class Interrupted(FakeCodec):
        def decode(self, blocks: Any, progress: Any = None) -> list[bytes]:
            raise KeyboardInterrupt

    monkeypatch.setattr("nacrith.loaded.for_decoding", lambda *_, **__: Interrupted())
    archive = short_stream(wire.MODEL, TEXT, FakeCodec())
    file, decompressor = nacrith.open(io.BytesIO(archive)), nacrith.Decompressor()
    for read in (file.read, lambda: decompressor.decompress(archive)):
        with pytest.raises(KeyboardInterrupt):
            read()
        with pytest.raises(nacrith.NacrithError, match="interrupted"):
            read()
    assert not decompressor.eof


class Minimal:
    """Has read and write, and nothing else."""

    def __init__(self, data: bytes = b"") -> None:
        self.data = data

    def read(self, size: int = -1) -> bytes:
        part, self.data = self.data[: min(size, 3)], self.data[min(size, 3) :]
        return part

    def write(self, data: bytes) -> None:
        self.data += data


@pytest.mark.parametrize("mode", ["rb", "rt"])
def test_of_a_raw_object_little_is_asked(mode: str) -> None:
    raw: Any = Minimal(pack(TEXT, None))
    file = nacrith.open(raw, mode, **({"encoding": "utf-8", "newline": ""} if mode == "rt" else {}))
    assert not file.seekable()
    got = file.read()
    assert (got.encode() if isinstance(got, str) else got) == TEXT
    out: Any = Minimal()
    with nacrith.open(out, "wb", **TINY) as written:
        written.write(TEXT)
    assert nacrith.decompress(out.data, model=str(MODEL)) == TEXT


def test_any_buffer_is_an_archive() -> None:
    archive = pack(TEXT, None)
    twice = bytes(byte for pair in zip(archive, archive, strict=True) for byte in pair)
    for data in (memoryview(twice)[::2], array.array("B", archive), bytearray(archive)):
        assert nacrith.decompress(data) == TEXT  # type: ignore[arg-type]
        assert nacrith.info(data)[0].content_size == len(TEXT)  # type: ignore[arg-type]
        assert nacrith.Decompressor().decompress(data) == TEXT


def test_reads_of_any_size() -> None:
    archive = pack(WHOLE, None)
    assert nacrith.open(io.BytesIO(archive)).read(1 << 62) == WHOLE
    assert nacrith.open(io.BytesIO(archive)).read1(1 << 62) == WHOLE
    file = nacrith.open(io.BytesIO(archive))
    assert b"".join(itertools.takewhile(bool, iter(lambda: file.read(7), None))) == WHOLE
    assert read_archive(io.BytesIO(archive), model=None, threads=1).seekable
