"""Reading the files of which models consist.

Model directories come from anywhere. A FIFO in one would block for ever, and a device might never end, so
only regular files are opened. Files are read rather than memory-mapped: a mapping changes when the file is
overwritten, and kills the process when the file is truncated.
"""

from __future__ import annotations

import errno
import io
import os
import stat
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from _typeshed import StrPath


def open_regular(path: StrPath) -> io.BufferedReader:
    """Open a regular file for reading; OSError for anything else."""
    flags = os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
    descriptor = os.open(path, flags | getattr(os, "O_NONBLOCK", 0))  # do not block on a FIFO
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "not a regular file", os.fspath(path))
        return open(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def read_array(path: StrPath, offset: int, size: int) -> np.ndarray:
    """Read `size` bytes from `offset` of a regular file; OSError if the file ends before."""
    array = np.empty(size, np.uint8)
    with open_regular(path) as file:
        file.seek(offset)
        if file.readinto(array.data) < size:
            raise OSError(errno.EIO, "it is cut short", os.fspath(path))
    return array


def read_regular(path: StrPath) -> bytes:
    """Read the whole content of a regular file."""
    with open_regular(path) as file:
        return file.read()
