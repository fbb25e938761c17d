"""The command line as a filter: pipes, terminals, closed and broken streams, signals, tar."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from clirunner import (
    COMMAND,
    PATIENCE,
    TEXT,
    Result,
    environment,
    hearing,
    nacrith,
    names,
    on_terminal,
    wait_until,
)

from nacrith.cli.console import ERROR, OK


def start(*arguments: str | Path, **streams: int) -> subprocess.Popen[bytes]:
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen([*COMMAND, *map(str, arguments)], env=environment(), **(pipes | streams))


@pytest.mark.parametrize("content", [b"", b"\0", TEXT], ids=["empty", "a byte", "text"])
def test_bare_filter(content: bytes) -> None:
    packed = nacrith(stdin=content)
    assert packed.code == OK
    assert packed.err == ""
    assert nacrith("-d", stdin=packed.out).out == content


def test_concatenated_archives(archive: bytes) -> None:
    assert nacrith("-d", stdin=archive + archive).out == TEXT + TEXT


def test_corrupt_pipe_gives_verified_content_only(archive: bytes) -> None:
    """The first stream is whole and comes out; of the damaged second one comes not a byte."""
    at = len(archive) + len(archive) // 2
    data = bytearray(archive + archive)
    data[at] ^= 1
    done = nacrith("-dc", stdin=bytes(data))
    assert done.code == ERROR
    assert done.said("(stdin): ")
    assert TEXT.startswith(done.out)


def test_input_that_is_also_the_output(tmp_path: Path) -> None:
    both = tmp_path / "both"
    both.write_bytes(TEXT)
    with both.open("rb") as reading, both.open("ab") as writing:
        process = start(stdin=reading.fileno(), stdout=writing.fileno())
        assert b"same file" in process.communicate(timeout=PATIENCE)[1]
    assert process.returncode == ERROR
    assert both.read_bytes() == TEXT


def test_archives_and_terminals(tmp_path: Path, archive: bytes) -> None:
    text, packed = tmp_path / "f", tmp_path / "f.nac"
    text.write_bytes(TEXT)
    packed.write_bytes(archive)
    code, shown = on_terminal(["-c", text], "out err")
    assert code == ERROR
    assert "will not write an archive to a terminal" in shown
    for forced in (["-cf"], ["-o", "-"]):
        code, shown_bytes = _raw_terminal([*forced, text])
        assert code == OK
        assert shown_bytes
    for reading in (["-d"], ["test"], ["info"]):
        code, shown = on_terminal(reading, "in err")
        assert code == ERROR
        assert "will not read an archive from a terminal" in shown
    code, shown = on_terminal(["-dc", packed], "out")
    assert code == OK
    assert shown.replace("\r\n", "\n").encode() == TEXT


def _raw_terminal(arguments: list[str | Path]) -> tuple[int, str]:
    """As `on_terminal`, where arbitrary bytes may be shown."""
    wrapper = tuple(map(str, arguments))
    process = subprocess.run(
        [
            sys.executable,
            "-c",
            "import pty, sys; code = pty.spawn(sys.argv[1:]); sys.exit(code >> 8)",
            *COMMAND,
            *wrapper,
        ],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        env=environment(),
        timeout=PATIENCE,
    )
    return process.returncode, process.stdout.decode("latin-1")


def test_progress_is_for_terminals(tmp_path: Path) -> None:
    text = tmp_path / "f.txt"
    text.write_bytes(TEXT)
    code, shown = on_terminal([text], "err")
    assert code == OK
    assert "f.txt    0 %" in shown
    assert "bpb" in shown
    assert "\x1b" not in shown
    assert on_terminal(["-fq", text], "err") == (OK, "")
    code, shown = on_terminal(["-f", "--no-progress", text], "err")
    assert (code, Result.of(code, b"", shown.encode()).err) == (OK, "")
    assert "0 %" in nacrith("-f", "--progress", text).err


def test_tar(tmp_path: Path) -> None:
    tar = shutil.which("tar")
    assert tar is not None
    script = tmp_path / "nacrith"
    script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m nacrith "$@"\n')
    script.chmod(0o755)
    files = tmp_path / "in" / "files"
    files.mkdir(parents=True)
    (files / "a.txt").write_bytes(TEXT)
    (files / "b.bin").write_bytes(bytes(range(256)))
    run = {"check": True, "env": environment(), "timeout": PATIENCE}
    packed = str(tmp_path / "x.tar.nac")
    program = ["-I", str(script)]
    subprocess.run([tar, *program, "-cf", packed, "-C", files.parent, "files"], **run)
    (tmp_path / "out").mkdir()
    subprocess.run([tar, *program, "-xf", packed, "-C", tmp_path / "out"], **run)
    for name in ("a.txt", "b.bin"):
        assert (tmp_path / "out" / "files" / name).read_bytes() == (files / name).read_bytes()


def test_full_disk() -> None:
    with open("/dev/full", "wb") as full:
        for arguments in ([], ["--help"], ["-V"]):
            process = start(*arguments, stdin=subprocess.DEVNULL, stdout=full.fileno())
            message = process.communicate(timeout=PATIENCE)[1].decode()
            assert process.returncode == ERROR
            assert message.startswith("nacrith: ")
            assert "no space left" in message.lower()
            assert "Traceback" not in message
            assert "Exception" not in message


def test_closed_streams(tmp_path: Path, archive: bytes) -> None:
    """With a standard stream closed, an output file must not get its number."""
    (tmp_path / "f").write_bytes(TEXT)

    def shell(line: str) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            ["sh", "-c", line, "sh", *COMMAND],
            cwd=tmp_path,
            capture_output=True,
            env=environment(),
            timeout=PATIENCE,
        )

    done = shell('"$@" -v f <&- >&- 2>&-')
    assert done.returncode == OK
    assert (tmp_path / "f.nac").read_bytes() == archive
    done = shell('"$@" -c f >&-')
    assert done.returncode == ERROR
    assert b"cannot write standard output" in done.stderr
    done = shell('"$@" -d <&-')
    assert done.returncode == ERROR
    assert done.stderr.startswith(b"nacrith: (stdin): ")


def test_reader_that_goes_away(tmp_path: Path) -> None:
    """The usual silent death, as in `nacrith -dc x.nac | head`."""
    big = nacrith(stdin=random.Random(1).randbytes(1 << 18)).out  # more than a pipe holds
    process = start("-d")
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    process.stdin.write(big)
    process.stdin.close()
    assert process.stderr.read() == b""
    assert process.wait(PATIENCE) == -signal.SIGPIPE
    process.stderr.close()


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_signal_while_compressing(name: str, tmp_path: Path) -> None:
    number = getattr(signal, name)
    source = tmp_path / "f.txt"
    words = random.Random(1).choices(sorted(set(TEXT.split())), k=30_000)
    content = b" ".join(words)  # too varied for the fallback codecs alone: many seconds of work for the model
    source.write_bytes(content)
    (tmp_path / "f.txt.nac").write_bytes(b"older")
    with hearing(number):
        process = start("-f", "--rm", "--progress", source)
    assert process.stderr is not None
    os.set_blocking(process.stderr.fileno(), False)
    shown = b""

    def at_work() -> bool:
        nonlocal shown
        assert process.stderr is not None
        assert process.poll() is None, shown
        shown += process.stderr.read() or b""
        return b"left" in shown

    wait_until(at_work)
    process.send_signal(number)
    assert process.wait(PATIENCE) == -number
    assert b"Traceback" not in (process.stderr.read() or b"")
    for stream in (process.stdin, process.stdout, process.stderr):
        assert stream is not None
        stream.close()
    assert names(tmp_path) == ["f.txt", "f.txt.nac"]
    assert source.read_bytes() == content
    assert (tmp_path / "f.txt.nac").read_bytes() == b"older"


def test_signal_that_is_ignored_stays_ignored(tmp_path: Path) -> None:
    """`nohup nacrith ...` outlives its terminal."""
    line = 'trap "" HUP; exec "$@"'
    process = subprocess.Popen(
        ["sh", "-c", line, "sh", *COMMAND, "--progress", "-o", str(tmp_path / "out")],
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(),
    )
    assert process.stderr is not None
    assert process.stderr.read(1)  # the progress bar: it is at work
    process.send_signal(signal.SIGHUP)
    process.communicate(TEXT, timeout=PATIENCE)
    assert process.returncode == OK
    assert names(tmp_path) == ["out"]
