"""A new file that appears whole or not at all, and of which nothing stays when its process is killed.

Where the system offers it (Linux, most file systems), the file has no name until it is done: `O_TMPFILE`,
then a link. Elsewhere, and for the moment in which it takes the place of another file, it has a temporary
name, `.NAME.N.nacrith-tmp` with the first free N, and its writer holds a lock on it. What nobody has locked
was left by a writer that died, and the next writer of the same NAME removes it. A process id in the name
could not tell that: containers share process ids.

Errors are OSError as it comes; callers know what they were about.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import sys
import time
from collections.abc import Iterator
from types import TracebackType
from typing import BinaryIO

SUFFIX = ".nacrith-tmp"

NOT_OFFERED = frozenset(
    (errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.ENOTTY, errno.EPERM, errno.EACCES)
)
"""What file systems answer that do not have an operation, or grant it to nobody."""

_NO_LINKS = NOT_OFFERED | {errno.EMLINK, errno.EXDEV}
_MOST = 1000  # temporary names for one target
_GAP = 4  # names of which none is there, behind which none is looked for
_OLD = 24 * 3600  # seconds, after which what cannot be locked is taken for abandoned
_BASE_BYTES = 200  # of the target's name; leaves room for the rest within the usual limit of 255 bytes

_unfinished: set[Unfinished] = set()
_links: dict[int, bool] = {}
"""By device: whether a file without a name can be given one."""


class Unfinished:
    """A file that is being written, to appear at `target`, or elsewhere in its directory.

    mode: its permissions, of which the umask is taken away. `file` is open for writing and reading.
    Anything but `publish` leaves the directory as it was.
    """

    def __init__(self, target: str | os.PathLike[str], mode: int = 0o666) -> None:
        self._target = os.fspath(target)
        self._process = os.getpid()
        self._name = ""  # the temporary one, if there is one
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
        """Under which this process can open the file until it is published."""
        return self._name or _of_descriptor(self.file.fileno())

    def publish(self, target: str | os.PathLike[str] | None = None, *, replace: bool = True) -> None:
        """Name the file `target` and close it. FileExistsError if there is one that may not be replaced.

        To last through a loss of power it takes `sync_file` before and `sync_directory` after this.
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
        """Quick and idempotent: for when a signal is about to end the process."""
        if self._name and self._process == os.getpid():  # a child that was forked has no part in it
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._name)

    def __enter__(self) -> Unfinished:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self in _unfinished:
            _unfinished.discard(self)
            self.remove_name()
        with contextlib.suppress(OSError):  # a failed flush: what it belongs to has been reported or is void
            self.file.close()

    def _move_to(self, place: str) -> None:
        """A rename. It is the only way to replace a file, and needs a name to begin with."""
        if not self._name:
            for name in _free_names(self._target):
                with contextlib.suppress(FileExistsError):
                    _link_descriptor(self.file.fileno(), name)
                    self._name = name
                    break
        os.replace(self._name, place)
        self._name = ""  # the next writer's from now on

    def _link_to(self, place: str) -> None:
        """A link: unlike a rename it never takes the place of a file that came meanwhile."""
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
    """Write a whole file, in the place of any other."""
    with Unfinished(target) as new:
        new.file.write(data)
        new.publish()


def discard_all() -> None:
    """Remove every temporary name of this process: for when a signal is about to end it."""
    for one in list(_unfinished):
        with contextlib.suppress(OSError):
            one.remove_name()


def collect(target: str | os.PathLike[str]) -> None:
    """Remove what dead processes have left of `target`."""
    missing = 0
    for name in _names(os.fspath(target)):
        missing = 0 if os.path.lexists(name) else missing + 1
        if missing > _GAP:
            return
        if not missing:
            _collect(name)


def sync_file(descriptor: int) -> bool:
    """Have what was written on the disk; False where the file system does not offer that."""
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in NOT_OFFERED:
            raise
        return False
    return True


def sync_directory(target: str | os.PathLike[str]) -> None:
    """Make the name `target` last through a loss of power, where a directory can be synchronised."""
    try:
        descriptor = os.open(_directory(os.fspath(target)), os.O_RDONLY | getattr(os, "O_DIRECTORY", 0))
    except OSError as error:
        if error.errno not in NOT_OFFERED:  # it may not be listed, say: nothing more can be done
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
    """Those that seem to be free. OSError in the end, as no caller can go on without one."""
    for name in _names(target):
        if not os.path.lexists(name) or _collect(name):
            yield name
    raise FileExistsError(errno.EEXIST, f"there are {_MOST} files named like it; remove them", name)


def _of_descriptor(descriptor: int) -> str:
    return f"/proc/self/fd/{descriptor}"


def _link_descriptor(descriptor: int, name: str) -> None:
    # With a directory's descriptor, though none is needed, Python takes the system call that follows links.
    os.link(_of_descriptor(descriptor), name, src_dir_fd=descriptor, follow_symlinks=True)


def _nameless(target: str, mode: int) -> int | None:
    """A locked file without a name, or None where there is no such thing or it could never have one."""
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
        _lock(descriptor)  # for the moment in which it has a temporary name; nobody else can have it
    return descriptor


def _can_be_named(descriptor: int, target: str) -> bool:
    """Tried once with an empty file, which is closed."""
    try:
        _lock(descriptor)
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
    """A new, locked file under a temporary name."""
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    for name in _free_names(target):
        try:
            descriptor = os.open(name, flags, mode)
        except FileExistsError:
            continue
        # Until it is locked, another writer may take it for abandoned: then it is locked or gone.
        if _lock(descriptor) is not False and _is_at(descriptor, name):
            return descriptor, name
        os.close(descriptor)
    raise AssertionError("_free_names raises")


def _lock(descriptor: int) -> bool | None:
    """False if another has locked the file; None where files cannot be locked."""
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


def _is_at(descriptor: int, name: str) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.lstat(name))
    except OSError:
        return False


def _collect(name: str) -> bool:
    """Remove the temporary file `name` if its writer is dead. Whether it is gone."""
    flags = os.O_RDWR | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    try:
        descriptor = os.open(name, flags)
    except FileNotFoundError:
        return True
    except OSError:
        return False  # another user's, or no file at all
    try:
        status = os.fstat(descriptor)
        locked = _lock(descriptor) if stat.S_ISREG(status.st_mode) else False
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
