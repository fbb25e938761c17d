"""Writing files atomically: a new file appears complete or not at all, and a killed writer leaves nothing.

Where the system supports it (Linux, most file systems), the file has no name until it is complete: it is
opened with `O_TMPFILE` and then linked. Elsewhere, and for the moment in which it replaces another file, it
has the temporary name `.NAME.N.nacrith-tmp` with the first free N, and its writer holds a lock on it. A
temporary file without a lock was left by a writer that died; the next writer of the same NAME removes it. A
process id in the name could not tell this, because containers reuse process ids.

Errors are raised as OSError, unchanged: the callers know the purpose of the file and report it.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import sys
import time
from collections.abc import Iterator
from typing import BinaryIO

SUFFIX = ".nacrith-tmp"

NOT_OFFERED = frozenset(
    (errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.ENOTTY, errno.EPERM, errno.EACCES)
)
"""The errors of file systems that do not support an operation, or never permit it."""

_NO_LINKS = NOT_OFFERED | {errno.EMLINK, errno.EXDEV}
_MOST = 1000  # temporary names for one target
_GAP = 4  # the search for leftovers ends after so many missing names in a row
_OLD = 24 * 3600  # seconds after which a file that cannot be locked counts as abandoned
_BASE_BYTES = 200  # of the target's name; the whole name stays within the usual limit of 255 bytes

_unfinished: set[Unfinished] = set()
_links: dict[int, bool] = {}
"""For each device, whether an unnamed file can be linked to a name."""


class Unfinished:
    """A file that is being written and will appear at `target`, or elsewhere in its directory.

    mode: the permissions, less the umask. `file` is open for reading and writing. Unless `publish` is called
    the directory stays unchanged.
    """

    def __init__(self, target: str | os.PathLike[str], mode: int = 0o666) -> None:
        self._target = os.fspath(target)
        self._process = os.getpid()
        self._name = ""  # the temporary name, if there is one
        collect(target)
        _unfinished.add(self)
        try:
            descriptor = _nameless(self._target, mode)
            if descriptor is None:
                descriptor, self._name = _named(self._target, mode)
            self.file: BinaryIO = os.fdopen(descriptor, "w+b")
        except BaseException:
            _unfinished.discard(self)
            raise

    @property
    def path(self) -> str:
        """A path by which this process can open the file until it is published."""
        return self._name or _of_descriptor(self.file.fileno())

    def publish(self, target: str | os.PathLike[str] | None = None, *, replace: bool = True) -> None:
        """Give the file the name `target`, and close it. FileExistsError if that exists, unless `replace`.

        To survive a loss of power, call `sync_file` before this and `sync_directory` after it.
        """
        place = self._target if target is None else os.fspath(target)
        self.file.flush()
        if replace:
            self._move_to(place)
        else:
            self._link_to(place)
        _unfinished.discard(self)
        self.file.close()

    def remove_name(self) -> None:
        """Remove the temporary name. Quick and idempotent: a signal may be about to end the process."""
        if self._name and self._process == os.getpid():  # not in a forked child
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._name)

    def __enter__(self) -> Unfinished:
        return self

    def __exit__(self, *_: object) -> None:
        if self in _unfinished:
            _unfinished.discard(self)
            self.remove_name()
        with contextlib.suppress(OSError):  # a failed flush: already reported, or of no consequence
            self.file.close()

    def _move_to(self, place: str) -> None:
        """Rename the file: the only way to replace another, for which it needs a temporary name."""
        if not self._name:
            for name in _free_names(self._target):
                with contextlib.suppress(FileExistsError):
                    _link_descriptor(self.file.fileno(), name)
                    self._name = name
                    break
        os.replace(self._name, place)
        self._name = ""  # from now on the name belongs to the next writer

    def _link_to(self, place: str) -> None:
        """Link the file: unlike a rename, this never replaces a file that appeared in the meantime."""
        if not self._name:
            _link_descriptor(self.file.fileno(), place)
            return
        try:
            os.link(self._name, place, follow_symlinks=False)
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            if os.path.lexists(place):
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), place) from None
            self._move_to(place)
        else:
            self.remove_name()
            self._name = ""


def write(target: str | os.PathLike[str], data: bytes) -> None:
    """Write a whole file, replacing any other."""
    with Unfinished(target) as new:
        new.file.write(data)
        new.publish()


def discard_all() -> None:
    """Remove all temporary names of this process, when a signal is about to end it."""
    for one in list(_unfinished):
        with contextlib.suppress(OSError):
            one.remove_name()


def collect(target: str | os.PathLike[str]) -> None:
    """Remove the temporary files that dead writers of `target` have left."""
    missing = 0
    for name in _names(os.fspath(target)):
        missing = 0 if os.path.lexists(name) else missing + 1
        if missing > _GAP:
            return
        if not missing:
            _collect(name)


def try_lock(descriptor: int) -> bool | None:
    """False if another process has locked the file; None where files cannot be locked."""
    if sys.platform == "win32":
        return None
    import fcntl

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def sync_file(descriptor: int) -> bool:
    """Flush what was written to the disk; False if the file system does not support that."""
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in NOT_OFFERED:
            raise
        return False
    return True


def sync_directory(target: str | os.PathLike[str]) -> None:
    """Make the name `target` survive a loss of power, where directories can be synchronised."""
    try:
        descriptor = os.open(_directory(os.fspath(target)), os.O_RDONLY | getattr(os, "O_DIRECTORY", 0))
    except OSError as error:
        if error.errno not in NOT_OFFERED:  # an unreadable directory, for example, is in `NOT_OFFERED`
            raise
        return
    try:
        sync_file(descriptor)
    finally:
        os.close(descriptor)


def _directory(target: str) -> str:
    return os.path.dirname(target) or os.curdir


def _names(target: str) -> Iterator[str]:
    """The temporary names for `target`, in order."""
    directory, base = os.path.split(target)
    short = os.fsdecode(os.fsencode(base)[:_BASE_BYTES])
    return (os.path.join(directory, f".{short}.{n}{SUFFIX}") for n in range(_MOST))


def _free_names(target: str) -> Iterator[str]:
    """The names that seem to be free. Raises OSError after the last one, since every caller needs a name."""
    for name in _names(target):
        if not os.path.lexists(name) or _collect(name):
            yield name
    raise FileExistsError(errno.EEXIST, f"there are {_MOST} files named like it; remove them", name)


def _of_descriptor(descriptor: int) -> str:
    return f"/proc/self/fd/{descriptor}"


def _link_descriptor(descriptor: int, name: str) -> None:
    # Given a directory descriptor, which is not needed, Python uses the system call that follows links.
    os.link(_of_descriptor(descriptor), name, src_dir_fd=descriptor, follow_symlinks=True)


def _nameless(target: str, mode: int) -> int | None:
    """Open a locked file without a name; None where that is not supported, or could not be linked later."""
    directory = _directory(target)
    flags = getattr(os, "O_TMPFILE", 0) | os.O_RDWR
    if not hasattr(os, "O_TMPFILE"):
        return None
    try:
        device = os.stat(directory).st_dev
        if device not in _links:
            _links[device] = _can_be_named(os.open(directory, flags, 0o600), target)
        descriptor = os.open(directory, flags, mode) if _links[device] else None
    except OSError:
        return None
    if descriptor is not None:
        try_lock(descriptor)  # for the moment in which it has a temporary name; no one else can hold the lock
    return descriptor


def _can_be_named(descriptor: int, target: str) -> bool:
    """Try once, with an empty file, whether an unnamed file can be linked; closes the descriptor."""
    try:
        try_lock(descriptor)
        for name in _free_names(target):
            with contextlib.suppress(FileExistsError):
                _link_descriptor(descriptor, name)
                os.unlink(name)
                return True
    except OSError:
        pass
    finally:
        os.close(descriptor)
    return False


def _named(target: str, mode: int) -> tuple[int, str]:
    """Create a locked file with a temporary name."""
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    for name in _free_names(target):
        try:
            descriptor = os.open(name, flags, mode)
        except FileExistsError:
            continue
        # Before it was locked, another writer may have taken it for abandoned, and locked or removed it.
        if try_lock(descriptor) is not False and _is_at(descriptor, name):
            return descriptor, name
        os.close(descriptor)
    raise AssertionError("_free_names raises")


def _is_at(descriptor: int, name: str) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.lstat(name))
    except OSError:
        return False


def _collect(name: str) -> bool:
    """Remove the temporary file `name` if its writer is dead; returns whether the name is free."""
    flags = os.O_RDWR | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    try:
        descriptor = os.open(name, flags)
    except FileNotFoundError:
        return True
    except OSError:
        return False  # another user's, or not a file
    try:
        status = os.fstat(descriptor)
        locked = try_lock(descriptor) if stat.S_ISREG(status.st_mode) else False
        if locked is None:
            locked = time.time() - status.st_mtime > _OLD
        if not (locked and _is_at(descriptor, name)):
            return False
        os.unlink(name)
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return True
