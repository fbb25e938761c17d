"""-N: name, mode and time, stored on the way there and restored on the way back."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from archive_fakes import FakeCodec
from clirunner import TEXT, nacrith, names

from nacrith.archive import ArchiveWriter, Metadata
from nacrith.cli.console import ERROR, OK
from nacrith.fallback import CODECS

MODE, TIME = 0o640, 1_234_567_890_123_456_789


def state(path: Path) -> tuple[bytes, int, int]:
    status = path.stat()
    return path.read_bytes(), stat.S_IMODE(status.st_mode), status.st_mtime_ns


@pytest.fixture
def note(tmp_path: Path) -> Path:
    path = tmp_path / "note.txt"
    path.write_bytes(TEXT)
    path.chmod(MODE)
    os.utime(path, ns=(TIME, TIME))
    return path


def archive(path: Path, metadata: Metadata) -> None:
    """An archive without content, of whoever pleases."""
    with path.open("wb") as file:
        ArchiveWriter(file, FakeCodec(), CODECS, block_bytes=9, metadata=metadata).close()


@pytest.mark.parametrize("batch", [False, True])
def test_there_and_back(batch: bool, note: Path, tmp_path: Path) -> None:
    if batch:
        into = ["--output-dir", "packed", "--manifest", "m"]
        assert nacrith("batch", "-N", *into, "note.txt", cwd=tmp_path).code == OK
        assert nacrith("batch", "-N", *into, "note.txt", cwd=tmp_path, NACRITH_ENGINE="none").code == OK
        os.rename(tmp_path / "packed/note.txt.nac", tmp_path / "other.nac")
    else:
        assert nacrith("-N", "note.txt", "-o", "other.nac", cwd=tmp_path).code == OK
    before = state(note)
    note.unlink()
    os.utime(tmp_path / "other.nac", ns=(5, 5))
    (tmp_path / "other.nac").chmod(0o600)
    back = ["batch", "-d", "--output-dir", "back", "--manifest", "b"] if batch else ["-d"]
    place = tmp_path / "back" if batch else tmp_path
    assert nacrith(*back, "other.nac", cwd=tmp_path).code == OK
    assert state(place / "other") == (TEXT, 0o600, 5)
    assert nacrith(*back, "-N", "other.nac", cwd=tmp_path).code == OK
    assert state(place / "note.txt") == before == (TEXT, MODE, TIME)
    again = nacrith(*back, "-N", "other.nac", cwd=tmp_path, **({"NACRITH_ENGINE": "none"} if batch else {}))
    assert again.code == (OK if batch else ERROR)  # that is, done already; or not to be overwritten
    assert batch or again.said("note.txt exists already")


def test_with_a_name_of_ones_own(note: Path, tmp_path: Path) -> None:
    assert nacrith("-N", "note.txt", cwd=tmp_path).code == OK
    before = state(note)
    note.unlink()
    assert nacrith("-d", "-N", "-o", "mine", "note.txt.nac", cwd=tmp_path).code == OK
    assert state(tmp_path / "mine") == before
    assert nacrith("-d", "-N", "-c", "note.txt.nac", cwd=tmp_path).out == TEXT
    packed = (tmp_path / "note.txt.nac").read_bytes()
    assert nacrith("-d", "-N", stdin=packed, cwd=tmp_path).out == TEXT
    assert names(tmp_path) == ["mine", "note.txt.nac"]


@pytest.mark.parametrize("name", [".", ".."])
def test_a_name_that_is_none(name: str, tmp_path: Path) -> None:
    archive(tmp_path / "x.nac", Metadata(name=name))
    done = nacrith("-d", "-N", "x.nac", cwd=tmp_path)
    assert done.code == ERROR
    assert done.said(f"x.nac: stores the name {name}, ", "leave -N out")
    done = nacrith("batch", "-d", "-N", "--output-dir", "o", "--manifest", "m", "x.nac", cwd=tmp_path)
    assert done.code == ERROR
    assert done.said("stores the name")
    assert nacrith("-d", "x.nac", cwd=tmp_path).code == OK


def test_what_is_stored_gives_no_more_than_rights(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    archive(tmp_path / "sub/x.nac", Metadata(name="-\x1b[2J", mode=0o7751, mtime_ns=(1 << 63) - 1))
    assert nacrith("-d", "-N", "sub/x.nac", cwd=tmp_path).code == OK
    content, mode, time = state(tmp_path / "sub/-\x1b[2J")
    assert (content, mode) == (b"", 0o751)
    assert abs(time - (1 << 63)) < 1 << 60 or time < 1 << 60  # or what the file system can hold
