"""Runs the real command line, for the tests named test_cli_*: each time in a process of its own."""

from __future__ import annotations

import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from fork_server import ForkServer
from paths import ROOT
from paths import TINY as MODEL

from nacrith import native
from nacrith.errors import ModelError

COMMAND = [sys.executable, "-m", "nacrith"]
RECIPIENT = "nacrith: to decompress, the recipient needs "
PATIENCE = 120  # seconds before a test gives up on a process or a thread, however slow the machine is

TEXT = b"""\
It was late in the autumn when the old doctor came back to the village.
He had been away for eleven years.
"""  # what the tiny model codes better than any other codec; short, since decoding takes time


@dataclass(frozen=True)
class Result:
    """How a run ended. code is negative for a signal, as in `subprocess`. note: lines of standard error that
    say what the recipient of an archive needs. Every run has the tiny model, so they are kept apart."""

    code: int
    out: bytes
    err: str
    note: str = field(default="", compare=False)

    @classmethod
    def of(cls, code: int, out: bytes, err: bytes) -> Result:
        lines = err.decode().splitlines(keepends=True)
        notes = [line for line in lines if line.startswith(RECIPIENT)]
        return cls(code, out, "".join(line for line in lines if line not in notes), "".join(notes))

    def said(self, *words: str) -> bool:
        """One line for each problem, all of ours, with these words, and no traceback."""
        lines = self.err.splitlines()
        return all(line.startswith("nacrith: ") for line in lines) and all(word in self.err for word in words)


@contextmanager
def hearing(number: int) -> Iterator[None]:
    """For processes started meanwhile: a signal that we ignore, under nohup say, they would ignore too;
    one that we have a handler for they do not."""
    ours = signal.signal(number, lambda *_: None)
    try:
        yield
    finally:
        signal.signal(number, ours)


def environment(**changes: str) -> dict[str, str]:
    """The environment of a run: ours, with the tiny model and no other setting of nacrith."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("NACRITH_")}
    return kept | {"NACRITH_MODEL": str(MODEL), "PYTHONPATH": str(ROOT)} | engine_settings() | changes


@cache
def engine_settings() -> dict[str, str]:
    """The engine that we ourselves would use. The source tree has no library beside it, and running
    without one is a warning that the tests do not expect."""
    try:
        return {"NACRITH_ENGINE": "native", "NACRITH_NATIVE_LIB": str(native.load().path.resolve())}
    except ModelError:
        return {"NACRITH_ENGINE": "numpy"}


def nacrith(*arguments: str | Path, stdin: bytes = b"", cwd: Path | None = None, **env: str) -> Result:
    """Run to the end, with pipes for the standard streams, in a fork of a process that has imported nacrith;
    where the environment has what Python or a library reads at its start, in a new interpreter."""
    words, changed = [*map(str, arguments)], environment(**env)
    server, began_with = _server()
    if _early(changed) == began_with:
        code, out, err = server.run(words, stdin, str(cwd or Path.cwd()), changed)
        return Result.of(code, out, err)
    done = subprocess.run(
        [*COMMAND, *words], input=stdin, capture_output=True, cwd=cwd, env=changed, timeout=PATIENCE
    )
    return Result.of(done.returncode, done.stdout, done.stderr)


@cache
def _server() -> tuple[ForkServer, dict[str, str]]:
    """What runs `nacrith`, and the environment that it cannot change any more."""
    return ForkServer(environment(), ROOT, PATIENCE), _early(environment())


def _early(variables: Mapping[str, str]) -> dict[str, str]:
    late = ("NACRITH_", "HF_", "PYTEST_", "RAY_", "HOME", "no_proxy")
    return {name: value for name, value in variables.items() if not name.startswith(late)}


def on_terminal(arguments: Iterable[str | Path], streams: str, **env: str) -> tuple[int, str]:
    """Run with a pseudo-terminal in place of `streams` ("in", "out", "err"): code, what it showed.

    The other standard streams are empty or thrown away.
    """
    ours, theirs = pty.openpty()
    chosen = {name: theirs if name in streams.split() else None for name in ("in", "out", "err")}
    process = subprocess.Popen(
        [*COMMAND, *map(str, arguments)],
        stdin=chosen["in"] or subprocess.DEVNULL,
        stdout=chosen["out"] or subprocess.DEVNULL,
        stderr=chosen["err"] or subprocess.DEVNULL,
        env=environment(**env),
    )
    os.close(theirs)
    shown = b""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if select.select([ours], [], [], 0.1)[0]:
            try:
                part = os.read(ours, 1 << 16)
            except OSError:  # EIO: the last writer has closed the terminal
                break
            if not part:
                break
            shown += part
    os.close(ours)
    return process.wait(PATIENCE), shown.decode()


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "what the test waits for never happened"
        time.sleep(0.01)


def is_empty(reading: int) -> bool:
    """Whether there is nothing in a pipe: whoever reads from it waits now, or is about to."""
    return not select.select([reading], [], [], 0)[0]


def is_full(writing: int) -> bool:
    return not select.select([], [writing], [], 0)[1]


def names(directory: Path) -> list[str]:
    """Everything in a directory, hidden files too."""
    return sorted(os.listdir(directory))
