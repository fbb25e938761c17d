"""Where results go: a file that appears whole or not at all, or a stream.

An `AtomicFile` is begun in the directory of its target before any work, so that an unwritable place or an
existing file is reported at once. `commit` gives it the mode, owner and times of its source, forces it to
the disk and only then gives it its name; until that moment an older file of the name stays as it is. On an
error or a signal what was written goes. How is a matter of `nacrith.atomic`; what a mount does not offer of
all this (CIFS, exFAT, cloud mounts) is done without.
"""

from __future__ import annotations

import contextlib
import os
import stat
from types import TracebackType
from typing import TYPE_CHECKING, BinaryIO, Protocol

from nacrith import atomic
from nacrith.cli import signals
from nacrith.cli.console import CommandError, describe_os_error, printable
from nacrith.cli.streams import PatientFile

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

signals.before_death.add(atomic.discard_all)


class Output(Protocol):
    """A place for bytes. Left without `commit`, an output file is as if it had never been."""

    name: str

    def write(self, data: bytes) -> int: ...

    def commit(self, source: os.stat_result | None = None) -> str:
        """Make it last. What is not as it should be, for a warning; usually nothing."""
        ...

    def __enter__(self) -> Output: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


class StreamOutput:
    """Standard output, a device or a named pipe: written in place."""

    def __init__(self, name: str, file: PatientFile) -> None:
        self.name = name
        self._file = file

    def write(self, data: bytes) -> int:
        with explained(f"cannot write {self.name}"):
            return self._file.write(data)

    def isatty(self) -> bool:
        return self._file.isatty()

    def commit(self, source: os.stat_result | None = None) -> str:
        """Nothing is left to do: `write` holds nothing back."""
        return ""

    def __enter__(self) -> StreamOutput:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with contextlib.suppress(OSError):  # a failed flush has been reported by then
            self._file.close()


class AtomicFile:
    """A new regular file at `target`; with `replace` it may take the place of another."""

    def __init__(self, target: str, *, replace: bool) -> None:
        self.name = printable(target)
        self._target = target
        self._replace = replace
        if not replace:
            self._refuse_existing()
        with explained(f"cannot create {self.name}"):
            self._new = atomic.Unfinished(target, 0o600)

    @property
    def temporary(self) -> str:
        """The path under which this process can read what is written so far."""
        return self._new.path

    def write(self, data: bytes) -> int:
        with explained(f"cannot write {self.name}"):
            self._new.file.write(data)
        return len(data)

    def sync(self) -> None:
        """Have everything written so far on the disk."""
        with explained(f"cannot write {self.name}"):
            self._new.file.flush()
            atomic.sync_file(self._new.file.fileno())

    def reread(self) -> BinaryIO:
        """What was written, from its beginning; nothing can be written any more.

        Not by another `open`: some network file systems let nobody else read what is locked.
        """
        self.sync()
        file = open(os.dup(self._new.file.fileno()), "rb")  # noqa: SIM115 - the caller's
        file.seek(0)
        return file

    def commit(self, source: os.stat_result | None = None) -> str:
        """Make the file appear, with the mode, owner and times of `source` where there is one."""
        descriptor = self._new.file.fileno()
        with explained(f"cannot write {self.name}"):
            self._new.file.flush()
            refused = _set_status(descriptor, source)
            atomic.sync_file(descriptor)
            os.close(os.dup(descriptor))  # network file systems tell of some errors only then
        with explained(f"cannot create {self.name}"):
            try:
                self._new.publish(self._target, replace=self._replace)
            except FileExistsError:
                self._refuse_existing()
                raise
        with explained(f"cannot synchronise the directory of {self.name}"):
            atomic.sync_directory(self._target)
        return f"{self.name} is written, but not with the source's {refused}" if refused else ""

    def commit_partial(self, source: os.stat_result | None = None) -> str:
        """As `commit`, under the name with .partial behind it, which is returned."""
        self._target += ".partial"
        self.name = printable(self._target)
        self.commit(source)
        return self.name

    def __enter__(self) -> AtomicFile:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._new.__exit__(kind, error, trace)

    def _refuse_existing(self) -> None:
        if os.path.lexists(self._target):
            raise CommandError(f"{self.name} exists already; use -f to overwrite it or -o for another name")


class CountedOutput:
    """Passes bytes on to an output and counts them."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self.count = 0

    def write(self, data: bytes, /) -> int:
        self.count += len(data)
        return self._output.write(data)


class StandardOutput(PatientFile):
    """For `sys.stdout`: an error says where it is from."""

    def __init__(self) -> None:
        super().__init__(1, "wb", closefd=False)

    def write(self, data: ReadableBuffer, /) -> int:
        with explained("cannot write standard output"):
            return super().write(data)


def print_line(text: str) -> None:
    """A line of a report on standard output, at once, so that no error is left for the exit. Whatever
    archives, hubs and file names may hold, a terminal shows it and does not obey it."""
    StandardOutput().write(printable(text).encode() + b"\n")


def print_path(path: str) -> None:
    """As `print_line`; where it is for a program, the path itself, byte for byte."""
    output = StandardOutput()
    if output.isatty():
        print_line(path)
    else:
        output.write(os.fsencode(path) + b"\n")


def open_output(target: str | None, source: os.stat_result, *, force: bool, archive: bool) -> Output:
    """The output at path `target` (None: standard output) for an input of status `source`.

    archive: what will be written does harm on a terminal, and goes there only with `force`.
    """
    status = _status(target)
    if status is not None and stat.S_ISREG(status.st_mode) and os.path.samestat(status, source):
        raise CommandError("input and output are the same file; choose another name with -o")
    if target is not None and (status is None or stat.S_ISREG(status.st_mode)):
        # `-o /dev/stdout` with standard output in a file: the link must not be replaced.
        if status is None or not os.path.samestat(status, os.fstat(1)):
            return AtomicFile(target, replace=force)
        target = None
    if target is None:
        stream = StreamOutput("standard output", PatientFile(1, "wb", closefd=False))
    else:
        name = printable(target)
        if status is not None and stat.S_ISDIR(status.st_mode):
            raise CommandError(f"{name} is a directory; name a file in it with -o")
        with explained(f"cannot open {name}"):
            stream = StreamOutput(name, PatientFile(os.open(target, os.O_WRONLY), "wb"))
    if archive and not force and stream.isatty():
        raise CommandError(
            "will not write an archive to a terminal; redirect it, name a file with -o FILE, "
            "or force it with -f (see nacrith --help)"
        )
    return stream


def _status(target: str | None) -> os.stat_result | None:
    try:
        return os.fstat(1) if target is None else os.stat(target)
    except OSError:
        return None  # not there (or not reachable, which creating the file will report)


class explained(contextlib.AbstractContextManager[None]):  # noqa: N801 - reads as one word
    """Turns an `OSError` into an error that says what was being done."""

    def __init__(self, action: str) -> None:
        self._action = action

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if isinstance(error, OSError) and not isinstance(error, BrokenPipeError):
            raise CommandError(describe_os_error(error, self._action)) from error


def _set_status(descriptor: int, source: os.stat_result | None) -> str:
    """Mode, owner and times as the source has them, or as is usual for a new file. On the descriptor, so that
    no other file can get them. Returns what of it the file system has refused."""
    refused = []
    mine = os.fstat(descriptor)
    mode = 0o666 & ~_umask() if source is None else stat.S_IMODE(source.st_mode) & 0o777
    if source is not None and mine.st_gid != source.st_gid:
        try:
            os.fchown(descriptor, -1, source.st_gid)
        except OSError:  # another group may do no more with the file than everybody may
            mode = mode & ~0o070 | (mode & (mode << 3) & 0o070)
    if source is not None and mine.st_uid != source.st_uid:
        with contextlib.suppress(OSError):
            os.fchown(descriptor, source.st_uid, -1)
    if mode != stat.S_IMODE(os.fstat(descriptor).st_mode):
        try:
            os.fchmod(descriptor, mode)
        except OSError:
            refused.append("permissions")
    if source is None:
        return ""
    try:
        os.utime(descriptor, ns=(source.st_atime_ns, source.st_mtime_ns))
    except (OSError, OverflowError):
        refused.append("time")
    return " and ".join(refused)


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
