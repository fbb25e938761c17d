"""Runs nacrith's command line again and again, each time with one failing system call: see test_faults.py.

Started once, under faults.c, with all modules imported; each run is a fork of it, so that it takes a tenth of
the time of a new interpreter. Reads a JSON object a line (the fields of `Run`), answers each with one.
"""

from __future__ import annotations

import contextlib
import json
import mmap
import os
import signal
import struct
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from clirunner import PATIENCE, ROOT, environment
from fork_server import import_commands

CALLS = ("open", "read", "write", "fsync", "rename", "link", "chmod", "utimes", "fork", "thread")
"""In the order of faults.c."""

_CONTROL = struct.Struct("4i64x512s")
_COUNTS = struct.Struct(f"16x{len(CALLS)}i")


@dataclass(frozen=True)
class Run:
    """What to run, and what fails. calls: of CALLS; nth: which of each, from 1, or 0 for every one."""

    arguments: list[str]
    directory: str
    stdin: str = os.devnull
    calls: tuple[str, ...] = ()
    nth: int = 1
    error: int = 0


@dataclass(frozen=True)
class Ended:
    """code: None if it did not end by itself. counts: of each call. The server gives all but out and err."""

    code: int | None
    counts: dict[str, int]
    out: bytes
    err: str


class Server:
    """The process that runs things, as a test sees it. library: faults.c, compiled."""

    def __init__(self, library: Path, **changes: str) -> None:
        self._place = tempfile.TemporaryDirectory(prefix="faults-")
        self._out, self._err, control = (os.path.join(self._place.name, n) for n in ("out", "err", "control"))
        Path(control).write_bytes(bytes(_CONTROL.size))
        self._process = subprocess.Popen(
            [sys.executable, __file__, control, self._out, self._err],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment(
                LD_PRELOAD=str(library), FAULT_CONTROL=control, OPENBLAS_NUM_THREADS="1", **changes
            ),
            cwd=ROOT,
        )

    def run(self, run: Run) -> Ended:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(asdict(run)).encode() + b"\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        return Ended(**answer, out=Path(self._out).read_bytes(), err=Path(self._err).read_text())

    def __enter__(self) -> Server:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.communicate(timeout=PATIENCE)
        self._place.cleanup()


def _serve(control: mmap.mmap, out: str, err: str) -> None:
    for line in sys.stdin:
        control[: _CONTROL.size] = _CONTROL.pack(os.getpid(), 0, 0, 0, b"")
        run = Run(**json.loads(line))
        child = os.fork()
        if child == 0:
            _become(run, control, out, err)
            return
        answer: dict[str, Any] = {"code": _wait(child)}
        answer["counts"] = dict(zip(CALLS, _COUNTS.unpack_from(control), strict=True))
        print(json.dumps(answer), flush=True)


def _become(run: Run, control: mmap.mmap, out: str, err: str) -> None:
    """This process is a command from now on."""
    from nacrith.cli.entry import main

    os.setsid()
    os.chdir(run.directory)
    new = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    for number, (path, flags) in enumerate([(run.stdin, os.O_RDONLY), (out, new), (err, new)]):
        descriptor = os.open(path, flags, 0o600)
        os.dup2(descriptor, number)
        os.close(descriptor)
    calls = sum(1 << CALLS.index(call) for call in run.calls)
    control[: _CONTROL.size] = _CONTROL.pack(os.getppid(), calls, run.nth, run.error, run.directory.encode())
    main(run.arguments)


def _wait(child: int) -> int | None:
    """Its exit code, as `subprocess` has it. What it has started ends with it."""
    until = time.monotonic() + PATIENCE
    ended = 0
    while not ended and time.monotonic() < until:
        ended, status = os.waitpid(child, os.WNOHANG)
        time.sleep(0.002)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)
    if not ended:
        os.waitpid(child, 0)
        return None
    return os.waitstatus_to_exitcode(status)


if __name__ == "__main__":
    with open(sys.argv[1], "r+b") as file:
        mapped = mmap.mmap(file.fileno(), 0)
    import_commands()
    _serve(mapped, *sys.argv[2:])
