"""Opens inputs, and refuses those that should not be read.

A directory is skipped, a symbolic link is followed, and `-` is standard input, read from its current
position. An archive is never read from a terminal. Reading waits for data that has not arrived yet
(`streams`).
"""

from __future__ import annotations

import io
import os
import stat
import sys
from dataclasses import dataclass
from typing import BinaryIO

from nacrith.cli.console import CommandError, SkippedError, shown
from nacrith.cli.outputs import explained
from nacrith.cli.streams import PatientFile

STDIN = "-"
CHANGED = "changed while it was read"


@dataclass
class Input:
    """An open input. path is None for standard input; status is that of the open file."""

    file: BinaryIO
    path: str | None
    status: os.stat_result

    @property
    def regular(self) -> bool:
        return stat.S_ISREG(self.status.st_mode)

    @property
    def size(self) -> int | None:
        """Bytes from the current position to the end, if the system knows."""
        if not self.regular:
            return None
        return max(self.status.st_size - self.file.tell(), 0)

    def __enter__(self) -> Input:
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()

    @property
    def changed(self) -> bool:
        """Whether the file was written to since it was opened."""
        now = os.fstat(self.file.fileno())
        was = self.status
        return self.regular and (now.st_size, now.st_mtime_ns) != (was.st_size, was.st_mtime_ns)

    def check_removable(self, force: bool) -> None:
        """Refuse --rm for a link, which is not the file that is compressed."""
        if self.path is None:
            raise CommandError("--rm removes files, and this is standard input; leave --rm out")
        if not self.regular:
            raise SkippedError("not a regular file, skipped; leave --rm out")
        if os.path.islink(self.path) and not force:
            raise CommandError("is a symbolic link, which --rm leaves alone; use -f to remove it")

    def remove(self) -> None:
        """Remove the source, if its name still refers to the file that was read, unchanged."""
        if self.path is None:
            return
        if _identity(os.stat(self.path)) != _identity(self.status):
            raise CommandError(f"{CHANGED}, so it is not removed; run again")
        os.unlink(self.path)


def _identity(status: os.stat_result) -> tuple[int, ...]:
    """Differs between two files and between two states of one file: the ctime cannot be set back."""
    return (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


def open_input(name: str, *, archive: bool) -> Input:
    """Open `name` for reading. archive: whether a nacrith archive is expected."""
    if name == STDIN:
        if archive and os.isatty(0):
            raise CommandError("will not read an archive from a terminal; name a file, or see nacrith --help")
        # Buffered like any file, but closing it leaves descriptor 0 open.
        return Input(io.BufferedReader(PatientFile(0, closefd=False)), None, os.fstat(0))
    if stat.S_ISDIR(os.stat(name).st_mode):
        what = os.path.basename(os.path.normpath(name))
        raise SkippedError(
            "is a directory, skipped"
            if archive
            else f"is a directory, skipped; pack it first: tar -I nacrith -cf {what}.tar.nac {what}"
        )
    file = io.BufferedReader(PatientFile(name))
    return Input(file, name, os.fstat(file.fileno()))


def read_whole(name: str) -> bytes:
    """The bytes of an input that is no archive. A failure says that it cannot be read."""
    with explained(f"cannot read {shown(name)}"), open_input(name, archive=False) as source:
        return source.file.read()


def guard_standard_streams() -> None:
    """Keep `open` from using descriptors 0 to 2.

    If one of them is closed, an output file would get its number, and messages would be written into it. The
    replacement cannot be used in the direction wanted, so that using it remains an error.
    """
    for descriptor, flags in ((0, os.O_WRONLY), (1, os.O_RDONLY), (2, os.O_RDONLY)):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, flags)  # POSIX gives the lowest free number, which is this one
            if descriptor == 2:
                sys.stderr = None
