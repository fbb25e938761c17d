"""The command line on files: what appears, what stays, what is refused, with which exit code."""

from __future__ import annotations

import io
import os
import stat
from pathlib import Path

import click
import pytest
from archive_fakes import FakeCodec
from clirunner import RECIPIENT, TEXT, Result, nacrith, names

from nacrith import stream
from nacrith.archive import ArchiveWriter
from nacrith.cli import compress, inputs, options, outputs
from nacrith.cli.console import ERROR, MODEL, OK, WARNING, CommandError
from nacrith.cli.entry import group as commands
from nacrith.codec.levels import LEVELS
from nacrith.codec.params import CodingParams

OLD = 1_600_000_000_123_456_789  # a time of last modification, ns


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "f.txt"
    path.write_bytes(TEXT)
    path.chmod(0o640)
    os.utime(path, ns=(OLD, OLD))
    return path


def kept(path: Path, content: bytes) -> bool:
    return path.read_bytes() == content


def test_round_trip_keeps_mode_and_time(source: Path) -> None:
    packed = source.parent / "f.txt.nac"
    assert nacrith("compress", source) == Result(OK, b"", "")
    assert names(source.parent) == ["f.txt", "f.txt.nac"]
    assert packed.stat().st_size < len(TEXT)
    source.unlink()
    assert nacrith("-d", packed) == Result(OK, b"", "")
    assert names(source.parent) == ["f.txt", "f.txt.nac"]
    for path in (source, packed):
        assert stat.S_IMODE(path.stat().st_mode) == 0o640
        assert path.stat().st_mtime_ns == OLD
    assert kept(source, TEXT)


def test_what_the_recipient_needs_is_said_once(tmp_path: Path) -> None:
    """Of files that take a model that not every installation has, and never with -q."""
    for name in "ab":
        (tmp_path / name).write_bytes(TEXT)
    (tmp_path / "c").write_bytes(b"c")
    expected = f"{RECIPIENT}the model tiny: its file, with fingerprint "
    done = nacrith("compress", "c", "a", "b", cwd=tmp_path)
    assert done.note.startswith(expected)
    assert done.note.count("\n") == 1
    assert nacrith("compress", "-f", "c", cwd=tmp_path).note == ""  # stored
    assert nacrith("compress", "-fq", "a", cwd=tmp_path).note == ""
    assert nacrith("compress", "-f", "-m", "none", "a", cwd=tmp_path).note == ""
    batch = ["batch", "-j2", "--output-dir", "out", "--manifest", "m"]
    assert nacrith(*batch, "a", "b", cwd=tmp_path).note == done.note
    assert nacrith("-d", "-o", "back", "a.nac", cwd=tmp_path).note == ""


def test_rm_removes_after_verification(source: Path) -> None:
    done = nacrith("--rm", "-v", source)
    assert done.code == OK
    assert done.said("decoding again")
    assert names(source.parent) == ["f.txt.nac"]
    assert nacrith("decompress", "--rm", f"{source}.nac").code == OK
    assert names(source.parent) == ["f.txt"]
    assert kept(source, TEXT)


def test_output_bytes_depend_on_nothing_but_content_and_level(source: Path, archive: bytes) -> None:
    for threads in ("1", "2"):
        assert nacrith("-c", "-T", threads, source).out == archive
    assert nacrith("-c", "-N", source).out != archive


# Each situation: what is done to the directory, the arguments, the exit code, words of the message.
# Whatever happens, the source stays, no temporary file is left, and a file that was there is whole.
REFUSED = {
    "output exists": (["compress", "f.txt"], ERROR, ["f.txt.nac exists already", "-f"]),
    "output exists, -o": (["-o", "other", "f.txt"], ERROR, ["other exists already"]),
    "output is a directory": (["-o", "dir", "f.txt"], ERROR, ["dir is a directory"]),
    "output below a file": (["-o", "other/x", "f.txt"], ERROR, ["cannot create other/x"]),
    "output in no directory": (["-o", "no/x", "f.txt"], ERROR, ["cannot create no/x"]),
    "output has a long name": (["-o", "n" * 300, "f.txt"], ERROR, ["too long", "shorter"]),
    "full disk": (["-o", "/dev/full", "f.txt"], ERROR, ["cannot write /dev/full", "no space"]),
    "input is output": (["-f", "-o", "./f.txt", "f.txt"], ERROR, ["same file"]),
    "input is output, linked": (["-f", "-o", "hard", "f.txt"], ERROR, ["same file"]),
    "no input": (["compress", "none"], ERROR, ["none: no such file", "check the name"]),
    "input below a file": (["compress", "other/x"], ERROR, ["other/x: not a directory"]),
    "directory": (["compress", "dir"], WARNING, ["dir: is a directory", "tar -I nacrith"]),
    "directory, -d": (["-d", "dir"], WARNING, ["dir: is a directory, skipped"]),
    "suffix is there": (["compress", "f.txt.nac"], WARNING, ["already has the suffix"]),
    "suffix is not there": (["-d", "f.txt"], WARNING, ["f.txt: does not have the suffix", "-o", "-c"]),
    "only a suffix": (["-d", "dir/.nac"], WARNING, ["does not have the suffix"]),
    "--rm of a link": (["--rm", "link"], ERROR, ["symbolic link", "-f"]),
    "--rm and a device": (["--rm", "-o", "/dev/null", "f.txt"], ERROR, ["--rm needs a file"]),
    "input is a device": (["compress", "/dev/zero"], WARNING, ["not a regular file", "-o"]),
    "not an archive": (["-d", "-o", "new", "f.txt"], ERROR, ["f.txt: ", "not a nacrith archive"]),
    "empty archive": (["-d", "empty.nac"], ERROR, ["empty.nac: ", "empty"]),
    "truncated archive": (["-d", "short.nac"], ERROR, ["short.nac: ", "truncated"]),
    "trailing garbage": (["-d", "long.nac"], ERROR, ["long.nac: ", "appended"]),
    "too large": (["-d", "--max-size=99", "-o", "new", "f.txt.nac"], ERROR, ["99 bytes"]),
    "model is missing": (["-m", "no-such-model", "-o", "new", "f.txt"], MODEL, ["no-such-model"]),
    "model is missing, -d": (["-dm", "no-such", "-o", "new", "f.txt.nac"], MODEL, ["no-such"]),
}


@pytest.mark.parametrize("situation", REFUSED)
def test_refused(situation: str, source: Path, archive: bytes) -> None:
    arguments, code, words = REFUSED[situation]
    directory = source.parent
    (directory / "f.txt.nac").write_bytes(archive)
    (directory / "other").write_bytes(b"of value")
    (directory / "empty.nac").write_bytes(b"")
    (directory / "short.nac").write_bytes(archive[:-1])
    (directory / "long.nac").write_bytes(archive + b"garbage")
    (directory / "hard").hardlink_to(source)
    (directory / "link").symlink_to(source)
    (directory / "dir").mkdir()
    (directory / "dir" / ".nac").write_bytes(archive)
    before = {p: p.read_bytes() for p in directory.rglob("*") if p.is_file()}
    done = nacrith(*arguments, cwd=directory)
    assert (done.code, done.out) == (code, b"")
    assert done.said(*words), done.err
    assert {p: p.read_bytes() for p in directory.rglob("*") if p.is_file()} == before


def test_directory_that_cannot_be_written(source: Path) -> None:
    """Root may write to a directory of mode 0555; for root it is one that nobody can change."""
    source.parent.chmod(0o555)
    try:
        place = "/proc" if os.access(source.parent, os.W_OK) else source.parent
        done = nacrith("-o", f"{place}/f.nac", source)
    finally:
        source.parent.chmod(0o755)
    assert done.code == ERROR
    assert done.said("cannot create")
    assert names(source.parent) == ["f.txt"]


def test_output_is_tried_before_the_model(source: Path) -> None:
    """A user learns of an unwritable place at once, not after the work."""
    done = nacrith("-m", "no-such-model", "-o", source.parent / "no" / "x", source)
    assert done.code == ERROR
    assert "no-such-model" not in done.err


def test_force(source: Path, archive: bytes) -> None:
    packed = source.parent / "f.txt.nac"
    packed.write_bytes(b"older")
    assert nacrith("-f", source).code == OK
    assert kept(packed, archive)
    source.write_bytes(b"older")
    assert nacrith("-df", packed).code == OK
    assert kept(source, TEXT)
    assert nacrith("-f", packed).code == OK  # a suffix more
    assert nacrith("-dc", f"{packed}.nac").out == archive
    link = source.parent / "link"
    link.symlink_to(source)
    assert nacrith("-f", "--rm", link).code == OK
    assert names(source.parent) == ["f.txt", "f.txt.nac", "f.txt.nac.nac", "link.nac"]


def test_failed_replacement_leaves_the_old_file(source: Path, archive: bytes) -> None:
    packed = source.parent / "f.txt.nac"
    packed.write_bytes(archive[:-3])
    done = nacrith("-df", packed)
    assert done.code == ERROR
    assert kept(source, TEXT)
    assert names(source.parent) == ["f.txt", "f.txt.nac"]


def test_links_are_followed_for_reading(source: Path, archive: bytes) -> None:
    link = source.parent / "link"
    link.symlink_to("f.txt")
    assert nacrith(link).code == OK
    assert names(source.parent) == ["f.txt", "link", "link.nac"]
    assert kept(source.parent / "link.nac", archive)


def test_several_files_go_on_after_a_bad_one(source: Path, archive: bytes) -> None:
    other = source.parent / "g.txt"
    other.write_bytes(b"")
    done = nacrith("none", source, source.parent, other)
    assert done.code == ERROR  # counts over the warning for the directory
    assert done.said("none: no such file", "is a directory")
    assert names(source.parent) == ["f.txt", "f.txt.nac", "g.txt", "g.txt.nac"]
    assert nacrith("-dc", f"{other}.nac", f"{source}.nac").out == TEXT
    assert nacrith("-q", source.parent).err == ""
    assert nacrith("-q", "none").err != ""
    assert nacrith("-qq", "none") == Result(ERROR, b"", "")


def test_names_of_files_are_no_options_nor_commands(tmp_path: Path) -> None:
    for name in ("compress", "-d", "x y", "\udcff\n"):
        (tmp_path / name).write_bytes(b"content")
    done = nacrith("./compress", "--", "-d", "x y", "\udcff\n", cwd=tmp_path)
    assert done == Result(OK, b"", "")
    assert len(names(tmp_path)) == 8
    assert nacrith("-dc", "--", "-d.nac", "\udcff\n.nac", cwd=tmp_path).out == b"contentcontent"


def test_stored_name_is_never_a_path(source: Path) -> None:
    packed = source.parent / "sub" / "g.nac"
    packed.parent.mkdir()
    assert nacrith("-N", "-o", packed, source).code == OK
    assert b"name" in nacrith("info", packed).out
    assert b"f.txt" in nacrith("info", packed).out
    assert nacrith("-d", packed).code == OK
    assert names(packed.parent) == ["g", "g.nac"]


def test_devices_are_written_in_place(source: Path, archive: bytes) -> None:
    assert nacrith("-o", "/dev/null", source).code == OK
    assert nacrith("-o", "/dev/stdout", source).out == archive
    assert nacrith("-d", "-o", "-", source, stdin=b"").code == ERROR
    assert Path("/dev/stdout").is_symlink()
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)


def test_atomic_file_never_overwrites_what_came_meanwhile(tmp_path: Path) -> None:
    target = tmp_path / "out"
    with outputs.AtomicFile(str(target), replace=False) as output:
        output.write(b"ours")
        assert stat.S_IMODE(os.stat(output._new.path).st_mode) == 0o600  # until it is whole
        target.write_bytes(b"theirs")
        with pytest.raises(CommandError, match="exists already"):
            output.commit()
    assert names(tmp_path) == ["out"]
    assert kept(target, b"theirs")


def test_new_file_has_the_usual_mode(tmp_path: Path) -> None:
    mask = os.umask(0o027)
    try:
        assert nacrith("-o", tmp_path / "x", stdin=b"x").code == OK
    finally:
        os.umask(mask)
    assert stat.S_IMODE((tmp_path / "x").stat().st_mode) == 0o640


@pytest.mark.parametrize("command", ["compress", "batch"])
def test_group_size_is_the_length_of_blocks(
    source: Path, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else it is the level's."""
    made = commands.get_command(click.Context(commands), command)
    assert made is not None
    arguments = ["f"] if command == "compress" else ["f", "--output-dir", "o", "--manifest", "m"]
    given: list[int] = []
    codec = FakeCodec(params=CodingParams(512).to_bytes())

    def writer(*args: object, block_bytes: int, **named: object) -> ArchiveWriter:
        given.append(block_bytes)
        return ArchiveWriter(*args, block_bytes=block_bytes, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(stream, "ArchiveWriter", writer)
    for more in (["--group-size", "32K"], []):
        parsed = options.settings(made.make_context(command, [*arguments, "-5", *more]).params)
        with inputs.open_input(str(source), archive=False) as file:
            compress.write_archive(file, file.file, io.BytesIO(), codec, parsed, lambda _: None)
    assert given == [32 << 10, LEVELS[5].group]
