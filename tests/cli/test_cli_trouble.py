"""The command line where others get in its way: streams in non-blocking mode, files and models that change
meanwhile, archives that speak to the terminal, users without a home."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from clirunner import (
    COMMAND,
    MODEL,
    PATIENCE,
    TEXT,
    Result,
    environment,
    is_empty,
    is_full,
    nacrith,
    names,
    wait_until,
)
from paths import TINY_HF

from nacrith.archive import ArchiveWriter, CodecId, Metadata
from nacrith.archive.superblock import BlockCodec
from nacrith.cli import compress, console, engines
from nacrith.cli.console import ERROR, OK, WARNING, ChangedError, CommandError, Console, run_each
from nacrith.cli.inputs import open_input
from nacrith.cli.options import Settings
from nacrith.cli.streams import PatientFile
from nacrith.codec.params import CodingParams
from nacrith.errors import ModelError
from nacrith.fallback import CODECS

PAUSE = 0.1  # seconds for which a slow partner does nothing, once the other side has to wait for it


@contextlib.contextmanager
def non_blocking_pipe() -> Iterator[tuple[int, int]]:
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    os.set_blocking(writing, False)
    try:
        yield reading, writing
    finally:
        for descriptor in (reading, writing):
            with contextlib.suppress(OSError):
                os.close(descriptor)


def fed_slowly(data: bytes, *arguments: str) -> Result:
    """Run with a standard input in non-blocking mode, to which `data` comes in two parts."""
    with non_blocking_pipe() as (reading, writing):
        os.write(writing, data[: len(data) // 2])
        process = subprocess.Popen(
            [*COMMAND, *arguments],
            stdin=reading,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment(),
        )

        def feed() -> None:
            wait_until(lambda: is_empty(reading))
            os.close(reading)
            time.sleep(PAUSE)
            os.write(writing, data[len(data) // 2 :])
            os.close(writing)

        feeding = threading.Thread(target=feed)
        feeding.start()
        out, err = process.communicate(timeout=PATIENCE)
        feeding.join()
    return Result.of(process.returncode, out, err)


def test_standard_input_in_non_blocking_mode(archive: bytes) -> None:
    assert fed_slowly(TEXT) == Result(OK, archive, "")
    assert fed_slowly(archive, "-d") == Result(OK, TEXT, "")
    assert f"{len(TEXT):,} bytes" in fed_slowly(archive, "-t").out.decode()
    assert f"{len(TEXT):,}" in fed_slowly(archive, "-l").out.decode()
    whole = nacrith("prompt", "--rate", "1", stdin=TEXT)
    assert fed_slowly(TEXT, "prompt", "--rate", "1") == whole
    assert whole.code == OK


def test_patient_file_waits_both_ways() -> None:
    with non_blocking_pipe() as (reading, writing):
        data = os.urandom(1 << 18)  # more than a pipe holds
        parts: list[bytes] = []

        def read() -> None:
            wait_until(lambda: is_full(writing))
            time.sleep(PAUSE)
            with PatientFile(reading, closefd=False) as file:
                parts.extend([file.read(10), file.readall()])

        reader = threading.Thread(target=read)
        reader.start()
        with PatientFile(writing, "wb", closefd=False) as file:
            assert file.write(data) == len(data)
        os.close(writing)
        reader.join()
    assert b"".join(parts) == data


def test_standard_output_in_non_blocking_mode(tmp_path: Path) -> None:
    content = os.urandom(1 << 18)
    packed = nacrith("-c", stdin=content).out
    for arguments, stdin, expected in ((["-c"], content, packed), (["-d"], packed, content)):
        (tmp_path / "in").write_bytes(stdin)
        with non_blocking_pipe() as (reading, writing), (tmp_path / "in").open("rb") as file:
            process = subprocess.Popen(
                [*COMMAND, *arguments], stdin=file, stdout=writing, stderr=subprocess.PIPE, env=environment()
            )
            wait_until(lambda: is_full(writing))
            os.close(writing)
            time.sleep(PAUSE)
            with PatientFile(reading, closefd=False) as output:
                assert output.readall() == expected
            assert process.communicate(timeout=PATIENCE)[1] == b""
        assert process.returncode == OK


def test_standard_input_is_read_from_where_it_stands(tmp_path: Path, archive: bytes) -> None:
    """A program before us, of the same script, has read the head of a file."""
    (tmp_path / "f").write_bytes(b"HEAD" + archive)
    for arguments in (["-d"], ["-t"], ["-l"]):
        with (tmp_path / "f").open("rb", buffering=0) as file:
            file.read(4)
            done = subprocess.run(
                [*COMMAND, *arguments], stdin=file, capture_output=True, env=environment(), timeout=PATIENCE
            )
        assert (done.returncode, done.stderr) == (OK, b"")
        assert done.stdout == TEXT or arguments != ["-d"]


def test_rm_has_nothing_to_remove_of_standard_input(tmp_path: Path, archive: bytes) -> None:
    for arguments, stdin in ((["--rm"], TEXT), (["-d", "--rm"], archive)):
        done = nacrith(*arguments, "-o", tmp_path / "out", stdin=stdin)
        assert (done.code, done.out) == (ERROR, b"")
        assert done.said("(stdin): ", "--rm", "standard input")
    assert names(tmp_path) == []


def settings(**changes: object) -> Settings:
    chosen = {"level": 1, "model": str(MODEL), "model_required": True, "threads": 1} | changes
    return Settings(Console(-2), **chosen)  # type: ignore[arg-type]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "f.txt"
    path.write_bytes(TEXT)
    return path


def meanwhile(monkeypatch: pytest.MonkeyPatch, deed: Callable[[], object]) -> None:
    """Have something done while a file is compressed: when it is open and the model is asked for."""
    usual = engines.encoder

    def encoder(*arguments: object) -> BlockCodec:
        made = usual(*arguments)  # type: ignore[arg-type]
        deed()
        return made

    monkeypatch.setattr(compress, "encoder", encoder)


def test_source_that_changes_is_told(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    meanwhile(monkeypatch, lambda: source.write_bytes(TEXT + b"more"))
    with pytest.raises(ChangedError, match=r"changed while it was read; .+ contains what was read"):
        compress._compress(settings(), str(source))
    assert ChangedError.exit_code == WARNING
    assert names(source.parent) == ["f.txt", "f.txt.nac"]
    (source.parent / "f.txt.nac").unlink()
    meanwhile(monkeypatch, lambda: source.write_bytes(TEXT))
    with pytest.raises(CommandError, match="changed while it was read"):
        compress._compress(settings(remove=True), str(source))
    assert names(source.parent) == ["f.txt"]


def test_source_is_not_removed_if_only_its_time_of_change_tells(source: Path) -> None:
    """Whoever rewrites a file and sets its time back cannot set back the time of the change."""
    with open_input(str(source), archive=False) as opened:
        time.sleep(0.02)
        source.write_bytes(TEXT.swapcase())
        os.utime(source, ns=(opened.status.st_atime_ns, opened.status.st_mtime_ns))
        assert not opened.changed
        with pytest.raises(CommandError, match="changed while it was read"):
            opened.remove()
    assert source.read_bytes() == TEXT.swapcase()


@pytest.mark.parametrize("remove", [True, False])
def test_model_that_is_overwritten_meanwhile(
    remove: bool, source: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    model = tmp_path / "m.nacm"
    shutil.copyfile(MODEL, model)
    content = bytearray(model.read_bytes())
    content[-100] ^= 1
    meanwhile(monkeypatch, lambda: model.write_bytes(content))
    with pytest.raises(ModelError, match=r"m\.nacm"):
        compress._compress(settings(model=str(model), remove=remove), str(source))
    assert names(tmp_path) == ["f.txt", "m.nacm"]
    assert source.read_bytes() == TEXT


class Stranger:
    """A codec whose name would set a terminal's title."""

    id = CodecId(bytes(32), CodingParams(512).to_bytes(), "\x1b]0;gotcha\x07")
    batch = 1

    def encode(self, blocks: list[bytes], progress: object = None) -> list[bytes]:
        return [b"x" for _ in blocks]

    def decode(self, blocks: list[tuple[bytes, int]], progress: object = None) -> list[bytes]:
        return [b"" for _ in blocks]

    def verify_source(self) -> None:
        pass


NAMED = Metadata(name="gotcha\x1b[2J")


def test_archives_do_not_speak_to_the_terminal(tmp_path: Path) -> None:
    packed = tmp_path / "f.nac"
    with packed.open("wb") as file:
        writer = ArchiveWriter(file, Stranger(), CODECS, block_bytes=1 << 20, metadata=NAMED)  # type: ignore
        writer.write(TEXT * 100)
        writer.close()
    assert b"\x1b]0;gotcha" in packed.read_bytes()
    for arguments in ["-d"], ["-t"], ["-lv"], ["-l", "--json"]:
        done = nacrith(*arguments, packed, NACRITH_MODEL="")
        assert b"\x1b" not in done.out + done.err.encode()
        assert b"gotcha" in done.out + done.err.encode()


NOBODY = """
import pwd

def getpwuid(number):
    raise KeyError(f"getpwuid(): uid not found: {number}")

pwd.getpwuid = getpwuid
from nacrith.cli.entry import main
main()
"""


def test_user_without_a_home(source: Path) -> None:
    """No HOME, and a user that the system does not know, as in many containers."""
    environ = environment()
    for name in ("HOME", "XDG_CACHE_HOME", "NACRITH_MODEL", "NACRITH_MODEL_DIR"):
        environ.pop(name, None)

    def run(*arguments: str) -> Result:
        done = subprocess.run(
            [*COMMAND[:1], "-c", NOBODY, *arguments],
            cwd=source.parent,
            env=environ,
            capture_output=True,
            timeout=PATIENCE,
        )
        return Result(done.returncode, done.stdout, done.stderr.decode())

    for arguments in (["f.txt"], ["-t", "f.txt.nac"], ["models"], ["models", "path", "nacrith-36m"]):
        done = run(*arguments)
        assert (done.code, done.err) == (OK, "")
    done = run("models", "convert", str(TINY_HF))
    assert done.code == ERROR
    assert done.said("/dev/null/nacrith/models")


class Panic(BaseException):
    """What a library written in Rust raises."""


@pytest.mark.parametrize("kind", [Panic, RecursionError, MemoryError, AssertionError, UnicodeError])
def test_no_exception_ends_in_a_traceback(
    kind: type[BaseException], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    from nacrith.cli import entry

    def fail(*arguments: object, **options: object) -> None:
        raise kind("of this kind")

    monkeypatch.setattr(entry.signals, "install", lambda: None)
    monkeypatch.setattr(entry, "_use_patient_streams", lambda: None)
    monkeypatch.setattr(entry.group, "main", fail)
    with pytest.raises(SystemExit) as end:
        entry.main([])
    assert end.value.code == ERROR
    shown = capfd.readouterr().err
    assert shown.startswith("nacrith: ")
    assert shown.count("\n") == 1
    assert run_each(["a"], Console(), fail) == ERROR
    assert capfd.readouterr().err.startswith("nacrith: a: ")


def test_errors_of_the_system_say_what_failed(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    other = FileNotFoundError(2, "No such file or directory", "cache/model")
    Console().failure(other, "f.txt")
    assert capfd.readouterr().err == (
        "nacrith: f.txt: cache/model: no such file or directory; check the name\n"
    )
    Console().failure(FileNotFoundError(2, "No such file or directory", "f.txt"), "f.txt")
    assert capfd.readouterr().err == "nacrith: f.txt: no such file or directory; check the name\n"
    monkeypatch.setattr(console.os, "getcwd", lambda: os.stat(tmp_path / "none"))
    Console().failure(FileNotFoundError(2, "No such file or directory"))
    assert capfd.readouterr().err == "nacrith: the working directory no longer exists; change to another\n"
    Console().failure(RuntimeError("can't start new thread"))
    assert "ulimit -u" in capfd.readouterr().err
