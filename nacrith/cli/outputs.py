"""Where results go: a file that appears whole or not at all, or a stream.

An `AtomicFile` is written under a temporary name in the directory of its target, made before any
work so that an unwritable place or an existing file is reported at once. `commit` gives it the
mode, owner and times of its source, forces it to the disk and only then renames it; until that
moment an older file of the name stays as it is. On an error or a signal the temporary file goes.
"""

from __future__ import annotations

import contextlib
import errno
import glob
import os
import stat
from types import TracebackType
from typing import BinaryIO, Protocol

from nacrith.cli import signals
from nacrith.cli.console import CommandError, describe_os_error, printable

_NO_HARD_LINKS = (errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK, errno.EXDEV, errno.EACCES)


class Output(Protocol):
    """A place for bytes. Left without `commit`, an output file is as if it had never been."""

    name: str

    def write(self, data: bytes) -> int: ...

    def commit(self, source: os.stat_result | None = None) -> None: ...

    def __enter__(self) -> Output: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


class StreamOutput:
    """Standard output, a device or a named pipe: written in place."""

    def __init__(self, name: str, file: BinaryIO) -> None:
        self.name = name
        self._file = file

    def write(self, data: bytes) -> int:
        with explained(f"cannot write {self.name}"):
            self._file.write(data)
            self._file.flush()
        return len(data)

    def isatty(self) -> bool:
        return self._file.isatty()

    def commit(self, source: os.stat_result | None = None) -> None:
        """Nothing is left to do: `write` holds nothing back."""

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
        self._directory = os.path.dirname(target) or os.curdir
        self.temporary = _temporary(target, os.getpid()) + os.urandom(4).hex()
        signals.before_death.add(self._unlink)
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0)
        flags |= getattr(os, "O_BINARY", 0)
        try:
            with explained(f"cannot create {self.name}"):
                descriptor = os.open(self.temporary, flags, 0o600)
            self._file = os.fdopen(descriptor, "wb")
        except BaseException:
            signals.before_death.discard(self._unlink)
            raise

    def write(self, data: bytes) -> int:
        with explained(f"cannot write {self.name}"):
            self._file.write(data)
        return len(data)

    def sync(self) -> None:
        """Have everything written so far on the disk."""
        with explained(f"cannot write {self.name}"):
            self._file.flush()
            os.fsync(self._file.fileno())

    def commit(self, source: os.stat_result | None = None) -> None:
        """Make the file appear, with the mode, owner and times of `source` where there is one."""
        descriptor = self._file.fileno()
        with explained(f"cannot write {self.name}"):
            self._file.flush()
            if source is None:
                os.fchmod(descriptor, 0o666 & ~_umask())
            else:
                _copy_status(descriptor, source)
            os.fsync(descriptor)
            self._file.close()
        with explained(f"cannot create {self.name}"):
            self._rename()
        signals.before_death.discard(self._unlink)
        with explained(f"cannot synchronise {printable(self._directory)}"):
            _sync_directory(self._directory)

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
        if self._unlink in signals.before_death:
            self._unlink()
            signals.before_death.discard(self._unlink)
        with contextlib.suppress(OSError):  # a failed flush has been reported by then
            self._file.close()

    def _rename(self) -> None:
        if self._replace:
            os.replace(self.temporary, self._target)
            return
        # A rename would overwrite a file that came meanwhile; a link does not.
        try:
            os.link(self.temporary, self._target, follow_symlinks=False)
        except FileExistsError:
            self._refuse_existing()
            raise
        except OSError as error:
            if error.errno not in _NO_HARD_LINKS:
                raise
            self._refuse_existing()
            os.replace(self.temporary, self._target)
        else:
            self._unlink()

    def _refuse_existing(self) -> None:
        if os.path.lexists(self._target):
            raise CommandError(f"{self.name} exists already; use -f to overwrite it or -o for another name")

    def _unlink(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.temporary)


class CountedOutput:
    """Passes bytes on to an output and counts them."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self.count = 0

    def write(self, data: bytes, /) -> int:
        self.count += len(data)
        return self._output.write(data)


def _temporary(target: str, pid: int) -> str:
    """The path that an output is written under by the process `pid`, but for a random end."""
    directory, base = os.path.split(target)
    # Long names leave room for the suffix within the usual limit of 255 bytes.
    short = os.fsdecode(os.fsencode(base)[:200])
    return os.path.join(directory, f".{short}.tmp-{pid}-")


def left_behind(target: str, pid: int) -> list[str]:
    """What the process `pid` has left of the output `target`, if it was killed."""
    return glob.glob(glob.escape(_temporary(target, pid)) + "*")


def print_line(text: str) -> None:
    """A line of a report on standard output, at once, so that no error is left for the exit."""
    line = text.encode("utf-8", "backslashreplace") + b"\n"
    with explained("cannot write standard output"):
        while line:
            line = line[os.write(1, line) :]


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
        stream = StreamOutput("standard output", os.fdopen(1, "wb", closefd=False))
    else:
        name = printable(target)
        if status is not None and stat.S_ISDIR(status.st_mode):
            raise CommandError(f"{name} is a directory; name a file in it with -o")
        with explained(f"cannot open {name}"):
            stream = StreamOutput(name, os.fdopen(os.open(target, os.O_WRONLY), "wb"))
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


def _copy_status(descriptor: int, source: os.stat_result) -> None:
    """Mode, owner and times, on the descriptor so that no other file can get them."""
    mode = stat.S_IMODE(source.st_mode) & 0o777
    mine = os.fstat(descriptor)
    if mine.st_gid != source.st_gid:
        try:
            os.fchown(descriptor, -1, source.st_gid)
        except OSError:  # another group may do no more with the file than everybody may
            mode = mode & ~0o070 | (mode & (mode << 3) & 0o070)
    if mine.st_uid != source.st_uid:
        with contextlib.suppress(OSError):
            os.fchown(descriptor, source.st_uid, -1)
    os.fchmod(descriptor, mode)
    os.utime(descriptor, ns=(source.st_atime_ns, source.st_mtime_ns))


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def _sync_directory(path: str) -> None:
    """Make a rename last through a loss of power, on systems where a directory can be synced."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except PermissionError:
        return  # a directory without the right to list it: nothing more can be done
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(descriptor)
