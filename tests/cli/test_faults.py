"""Every command while a system call fails: an error and its exit code, nothing lost, nothing left.

`faults.c`, preloaded, lets the n-th call of a kind fail, or all of them as on a mount that does not offer it.
Of many calls some are tried, always the same ones.
"""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import paths
import pytest
from clirunner import MODEL, TEXT
from fault_server import Ended, Run, Server

from nacrith.cli.console import ERROR, OK
from nacrith.models.exact import modelfile

ERRORS = {
    "open": errno.EMFILE,
    "read": errno.EIO,
    "write": errno.ENOSPC,
    "fsync": errno.EIO,
    "rename": errno.EIO,
    "link": errno.EIO,
    "chmod": errno.EPERM,
    "utimes": errno.EPERM,
    "fork": errno.EAGAIN,
}
"""What fails and how: as it does when a disk is full or broken, or a limit is reached."""

_CODER = ["-m", str(MODEL), "-T", "2"]
_TRIED = 3  # of the calls of a kind


@dataclass(frozen=True)
class Command:
    """files: what is there before; "ARCHIVE" stands for that of TEXT. needs: the calls it surely makes.
    source: what must not be lost, and the output that may take its place. tried: see _TRIED. vary: files that
    differ each time. lists: it says what it finds, and of what it cannot read just the name."""

    arguments: list[str]
    files: dict[str, bytes]
    needs: str = "open read"
    source: str = ""
    instead: str = ""
    stdin: bytes = b""
    tried: int = _TRIED
    vary: tuple[str, ...] = ()
    lists: bool = False


ARCHIVE = b"ARCHIVE"
TINY = {f"cache/tiny-{modelfile.fingerprint(MODEL).hex()[:16]}.nacm": MODEL.read_bytes()}
TINY_HF = {f"hf/{path.name}": path.read_bytes() for path in paths.TINY_HF.iterdir()}

COMMANDS = {
    "compress": Command([*_CODER, "f.txt"], {"f.txt": TEXT}, "open read write fsync link utimes"),
    "compress --rm": Command(
        [*_CODER, "--rm", "f.txt"], {"f.txt": TEXT}, "open read write fsync", "f.txt", "f.txt.nac", tried=2
    ),
    "compress -f": Command(
        [*_CODER, "-f", "f.txt"], {"f.txt": TEXT, "f.txt.nac": b"older"}, "rename chmod", tried=2
    ),
    "filter": Command(_CODER, {}, "read write", stdin=TEXT),
    "decompress": Command([*_CODER, "-d", "f.nac"], {"f.nac": ARCHIVE}, "open read write fsync link"),
    "decompress --rm": Command(
        [*_CODER, "-d", "--rm", "f.nac"], {"f.nac": ARCHIVE}, "open read write fsync", "f.nac", "f", tried=2
    ),
    "test": Command([*_CODER, "-t", "f.nac"], {"f.nac": ARCHIVE}, "open read write"),
    "info": Command(["-l", "f.nac"], {"f.nac": ARCHIVE}, "open read write"),
    "prompt": Command(["prompt", "-o", "short.txt", "f.txt"], {"f.txt": TEXT}, "open read write fsync"),
    "batch": Command(
        ["batch", *_CODER, "-j1", "--output-dir", "out", "--manifest", "record", "f.txt"],
        {"f.txt": TEXT},
        "open read write fsync link fork",
        tried=1,
        vary=("record",),
    ),
    "models list": Command(["models", "list"], TINY, "open write", lists=True),
    "models path": Command(["models", "path", "tiny"], TINY, "open write"),
    "models verify": Command(["models", "verify", "tiny"], TINY, "open write"),
    "models convert": Command(
        ["models", "convert", "hf", "--name", "new"], TINY_HF, "open read write", tried=2
    ),
}

NOT_OFFERED = ("link", "chmod", "utimes", "fsync")
"""What there are file systems without: CIFS, exFAT, those of clouds and of virtual machines."""


class Place:
    """A directory that is made anew for each run, and a server."""

    def __init__(self, directory: Path, server: Server) -> None:
        self.directory = directory / "files"
        self.stdin = directory / "stdin"
        self.server = server
        self.archive = b""
        assert self.run(COMMANDS["compress"]).code == OK
        self.archive = self.files()["f.txt.nac"]
        self._usual: dict[str, tuple[Ended, dict[str, bytes]]] = {}

    def usual(self, name: str) -> tuple[Ended, dict[str, bytes]]:
        """How a command ends if nothing fails, and the files that are there then."""
        if name not in self._usual:
            ended = self.run(COMMANDS[name])
            assert ended.code == OK, ended.err
            self._usual[name] = ended, self.files()
        return self._usual[name]

    def run(self, command: Command, *calls: str, nth: int = 1, error: int = 0) -> Ended:
        shutil.rmtree(self.directory, ignore_errors=True)
        for name, content in command.files.items():
            path = self.directory / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(self.archive if content == ARCHIVE else content)
            path.chmod(0o640)
        self.directory.mkdir(exist_ok=True)
        self.stdin.write_bytes(command.stdin)
        return self.server.run(
            Run(command.arguments, str(self.directory), str(self.stdin), calls, nth, error)
        )

    def files(self) -> dict[str, bytes]:
        """What is there, but for what may differ each time: the notes in a cache of models."""
        return {
            str(path.relative_to(self.directory)): path.read_bytes()
            for path in self.directory.rglob("*")
            if path.is_file() and ".records" not in path.parts
        }


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    compiler = shutil.which("cc")
    if compiler is None or os.uname().sysname != "Linux":
        pytest.skip("needs Linux and a C compiler: system calls are made to fail by a preloaded library")
    directory = tmp_path_factory.mktemp("faults")
    library = directory / "faults.so"
    source = paths.TESTS / "support" / "faults.c"
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", library, source, "-ldl"], check=True)
    with Server(library, NACRITH_MODEL_DIR=str(directory / "files" / "cache")) as server:
        yield Place(directory, server)


def tried(count: int, most: int) -> list[int]:
    """Which of `count` calls to try: the first, the last and some between."""
    if count <= most:
        return list(range(1, count + 1))
    return sorted({1 + i * (count - 1) // max(most - 1, 1) for i in range(most)})


def wrong(command: Command, place: Place, reference: dict[str, bytes], usual: Ended, ended: Ended) -> str:
    """What is not as it must be after a call has failed; "" if all is well."""
    after = place.files()
    for name, content in after.items():
        before = command.files.get(name)
        known = (place.archive if before == ARCHIVE else before, reference.get(name))
        if content not in known and name not in command.vary:
            return f"{name} is left, with {len(content)} bytes"
    for name in command.files:
        if name not in after and not (name == command.source and command.instead in after):
            return f"{name} is lost"
    if ended.code == OK:
        missing = reference.keys() - after.keys()
        if missing or (ended.out != usual.out and not command.lists):
            return f"exit code 0 without {missing or 'all output'}"
    elif ended.code != ERROR:
        return f"exit code {ended.code}"
    elif not ended.err:
        return "no message"
    if "internal error" in ended.err or not all(x.startswith("nacrith: ") for x in ended.err.splitlines()):
        return "no message of ours"
    return ""


def faults(name: str, place: Place, errors: dict[str, int]) -> list[str]:
    """What goes wrong with a command when its calls fail, one at a time."""
    command = COMMANDS[name]
    usual, reference = place.usual(name)
    assert all(usual.counts[call] for call in command.needs.split()), usual.counts
    found = []
    for call, error in errors.items():
        for nth in tried(usual.counts[call], command.tried):
            ended = place.run(command, call, nth=nth, error=error)
            if what := wrong(command, place, reference, usual, ended):
                found.append(f"{call} {nth} of {usual.counts[call]}: {what}: {ended.code}, {ended.err!r}")
    return found


@pytest.mark.parametrize("name", COMMANDS)
def test_a_call_that_fails(name: str, place: Place) -> None:
    found = faults(name, place, ERRORS)
    assert not found, "\n".join(found)


@pytest.mark.parametrize("name", ["compress", "decompress", "prompt", "batch"])
def test_a_thread_that_cannot_be_started(name: str, place: Place) -> None:
    found = faults(name, place, {"thread": errno.EAGAIN})
    assert not found, "\n".join(found)


@pytest.mark.parametrize("name", ["compress", "compress -f", "decompress", "prompt", "batch"])
def test_a_mount_that_has_no_such_call(name: str, place: Place) -> None:
    command = COMMANDS[name]
    usual, reference = place.usual(name)
    kinds = [*NOT_OFFERED] if name == "compress" else []
    for calls in [NOT_OFFERED, *([kind] for kind in kinds)]:
        for error in (errno.EPERM, errno.EINVAL, errno.ENOSYS)[: 1 if calls is NOT_OFFERED else 3]:
            ended = place.run(command, *calls, nth=0, error=error)
            assert ended.code == OK, ended.err
            assert ended.out == usual.out
            assert place.files().keys() == reference.keys()
            assert len(ended.err.splitlines()) <= len(usual.err.splitlines()) + 1
