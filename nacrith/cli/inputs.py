"""Opening what is to be read, and refusing what should not be.

A directory is skipped, a symbolic link is followed, standard input is `-` and is read from where it stands.
An archive is never read from a terminal. Reading waits for what is still to come (`streams`).
"""

from __future__ import annotations

import io
import os
import stat
import sys
from dataclasses import dataclass
from types import TracebackType
from typing import BinaryIO

from nacrith.cli.console import CommandError, SkippedError
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
        """Bytes from the present position on, where the system knows."""
        if not self.regular:
            return None
        return max(self.status.st_size - self.file.tell(), 0)

    def __enter__(self) -> Input:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.file.close()

    @property
    def changed(self) -> bool:
        """Whether the file that is read has been written to since it was opened."""
        now = os.fstat(self.file.fileno())
        was = self.status
        return self.regular and (now.st_size, now.st_mtime_ns) != (was.st_size, was.st_mtime_ns)

    def check_removable(self, force: bool) -> None:
        """--rm removes what was named: a link is not what was compressed."""
        if self.path is None:
            raise CommandError("--rm removes files, and this is standard input; leave --rm out")
        if not self.regular:
            raise SkippedError("not a regular file, skipped; leave --rm out")
        if os.path.islink(self.path) and not force:
            raise CommandError("is a symbolic link, which --rm leaves alone; use -f to remove it")

    def remove(self) -> None:
        """Remove the source, provided that its name still means the file that was read, unchanged."""
        if self.path is None:
            return
        if _identity(os.stat(self.path)) != _identity(self.status):
            raise CommandError(f"{CHANGED}, so it is not removed; run again")
        os.unlink(self.path)


def _identity(status: os.stat_result) -> tuple[int, ...]:
    """Differs between two files, and between two states of one: the time of change cannot be set back."""
    return (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


def open_input(name: str, *, archive: bool) -> Input:
    """Open `name` for reading; `archive` says that a nacrith archive is expected there."""
    if name == STDIN:
        if archive and os.isatty(0):
            raise CommandError("will not read an archive from a terminal; name a file, or see nacrith --help")
        # Buffered like any file, but never closes descriptor 0.
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


def guard_standard_streams() -> None:
    """Keep descriptors 0 to 2 out of the hands of `open`.

    Where one is closed, an output file would get its number and then the messages too. What takes
    its place cannot be used in the direction wanted, so using it is still an error.
    """
    for descriptor, flags in ((0, os.O_WRONLY), (1, os.O_RDONLY), (2, os.O_RDONLY)):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, flags)  # POSIX gives the lowest free number, which is this one
            if descriptor == 2:
                sys.stderr = None
