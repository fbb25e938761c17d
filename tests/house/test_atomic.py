"""Files that appear whole or not at all: with and without what a file system may lack, and after SIGKILL."""

from __future__ import annotations

import errno
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from clirunner import ROOT, names

from nacrith import atomic
from nacrith.atomic import Unfinished

fcntl = pytest.importorskip("fcntl", reason="POSIX only")


def refuse(number: int) -> Callable[..., None]:
    """A system call that fails with this error."""

    def call(*arguments: object, **options: object) -> None:
        raise OSError(number, os.strerror(number))

    return call


@pytest.fixture(params=["nameless", "named", "no links"])
def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """What the file system offers."""
    monkeypatch.setattr(atomic, "_links", {})
    if request.param == "named":
        monkeypatch.delattr(os, "O_TMPFILE", raising=False)
    elif request.param == "no links":
        monkeypatch.setattr(os, "link", refuse(errno.EPERM))
    return request.param


@pytest.fixture
def named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "O_TMPFILE", raising=False)


@pytest.mark.parametrize("replace", [True, False])
def test_appears_when_it_is_published(kind: str, replace: bool, tmp_path: Path) -> None:
    target = tmp_path / "out"
    if replace:
        target.write_bytes(b"older")
    before = names(tmp_path)
    with Unfinished(target) as new:
        new.file.write(b"content")
        new.file.flush()
        assert Path(new.path).read_bytes() == b"content"
        assert names(tmp_path) == before or kind != "nameless"
        assert target.exists() == replace
        new.publish(replace=replace)
    assert names(tmp_path) == ["out"]
    assert target.read_bytes() == b"content"
    assert not atomic._unfinished


def test_nothing_else_is_left(kind: str, tmp_path: Path) -> None:
    target = tmp_path / "out"
    with Unfinished(target) as new:
        new.file.write(b"half")
    assert names(tmp_path) == []
    with Unfinished(target) as new:
        target.write_bytes(b"theirs")
        with pytest.raises(FileExistsError):
            new.publish(replace=False)
    with Unfinished(target) as new, pytest.raises(OSError, match="irectory"):
        new.publish(tmp_path)
    assert names(tmp_path) == ["out"]
    assert target.read_bytes() == b"theirs"
    with pytest.raises(FileNotFoundError):
        Unfinished(tmp_path / "none" / "out")


def test_mode_is_as_usual_or_as_given(kind: str, tmp_path: Path) -> None:
    mask = os.umask(0o027)
    try:
        atomic.write(tmp_path / "usual", b"")
        with Unfinished(tmp_path / "private", 0o600) as new:
            new.publish()
    finally:
        os.umask(mask)
    assert stat.S_IMODE((tmp_path / "usual").stat().st_mode) == 0o640
    assert stat.S_IMODE((tmp_path / "private").stat().st_mode) == 0o600


def test_published_under_a_name_found_later(kind: str, tmp_path: Path) -> None:
    with Unfinished(tmp_path / "model") as new:
        new.publish(tmp_path / "model-1234")
    assert names(tmp_path) == ["model-1234"]


def test_long_names(kind: str, tmp_path: Path) -> None:
    atomic.write(tmp_path / ("é" * 127), b"")
    assert names(tmp_path) == ["é" * 127]


def test_several_writers_at_once(kind: str, tmp_path: Path) -> None:
    with Unfinished(tmp_path / "out") as one, Unfinished(tmp_path / "out") as two:
        one.file.write(b"one")
        two.file.write(b"two")
        assert Path(one.path) != Path(two.path)
        one.publish()
        two.publish()
    assert names(tmp_path) == ["out"]
    assert (tmp_path / "out").read_bytes() == b"two"


_WRITER = """
import os, sys
if hasattr(os, "O_TMPFILE"):
    del os.O_TMPFILE
from nacrith import atomic
held = [atomic.Unfinished(sys.argv[1]) for _ in range(2)]
print(flush=True)
sys.stdin.read()
"""


def test_what_a_killed_writer_left_goes_with_the_next(tmp_path: Path, kind: str) -> None:
    target = tmp_path / "out"
    writer = subprocess.Popen(
        [sys.executable, "-c", _WRITER, str(target)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=ROOT,
    )
    assert writer.stdout is not None
    writer.stdout.read(1)
    left = names(tmp_path)
    assert len(left) == 2
    atomic.write(target, b"ours")  # the other still writes: nothing of it is touched
    assert names(tmp_path) == [*left, "out"]
    (tmp_path / left[0]).unlink()  # the first of them is done
    writer.send_signal(signal.SIGKILL)
    writer.communicate()
    assert names(tmp_path) == [left[1], "out"]
    atomic.write(target, b"ours")
    assert names(tmp_path) == ["out"]


def test_without_locks_only_what_is_old_goes(
    tmp_path: Path, named: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fcntl, "flock", refuse(errno.ENOLCK))
    young, old = (tmp_path / f".out.{n}{atomic.SUFFIX}" for n in range(2))
    for path in (young, old):
        path.write_bytes(b"")
    os.utime(old, (time.time() - 2 * 24 * 3600,) * 2)
    atomic.write(tmp_path / "out", b"")
    assert names(tmp_path) == [young.name, "out"]


def test_what_is_no_file_of_ours_is_left_alone(tmp_path: Path, kind: str) -> None:
    names_taken = [f".out.{n}{atomic.SUFFIX}" for n in range(3)]
    os.mkfifo(tmp_path / names_taken[0])
    (tmp_path / names_taken[1]).symlink_to(tmp_path / "precious")
    (tmp_path / names_taken[2]).mkdir()
    (tmp_path / "precious").write_bytes(b"of value")
    atomic.write(tmp_path / "out", b"")
    assert names(tmp_path) == [*names_taken, "out", "precious"]
    assert (tmp_path / "precious").read_bytes() == b"of value"


def test_names_go_when_the_process_is_about_to_end(tmp_path: Path, named: None) -> None:
    with Unfinished(tmp_path / "out"):
        child = os.fork()
        if child == 0:
            atomic.discard_all()  # a child has no part in what its parent writes
            os._exit(0)
        os.waitpid(child, 0)
        assert len(names(tmp_path)) == 1
        atomic.discard_all()
        assert names(tmp_path) == []


def test_synchronising_where_there_is_no_such_thing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (tmp_path / "f").open("wb") as file:
        assert atomic.sync_file(file.fileno())
        atomic.sync_directory(tmp_path / "f")
        monkeypatch.setattr(os, "fsync", refuse(errno.EINVAL))
        assert not atomic.sync_file(file.fileno())
        atomic.sync_directory(tmp_path / "f")
        monkeypatch.setattr(os, "fsync", refuse(errno.EIO))
        with pytest.raises(OSError, match="Input/output"):
            atomic.sync_file(file.fileno())
        with pytest.raises(OSError, match="Input/output"):
            atomic.sync_directory(tmp_path / "f")
