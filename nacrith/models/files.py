"""Opening the files that models consist of.

A model directory is whatever somebody made: a FIFO in it would make us wait for ever, a device never end.
And what is read is read, not mapped: a mapped file changes under us when it is overwritten, and a shorter one
kills the process.
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
    """A regular file, to be read. OSError for anything else."""
    flags = os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
    descriptor = os.open(path, flags | getattr(os, "O_NONBLOCK", 0))  # a FIFO opens at once
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "not a regular file", os.fspath(path))
        return open(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def read_array(path: StrPath, offset: int, size: int) -> np.ndarray:
    """`size` bytes of a regular file from `offset`. OSError if it ends before."""
    array = np.empty(size, np.uint8)
    with open_regular(path) as file:
        file.seek(offset)
        if file.readinto(array.data) < size:
            raise OSError(errno.EIO, "it is cut short", os.fspath(path))
    return array


def read_regular(path: StrPath) -> bytes:
    """All of a regular file."""
    with open_regular(path) as file:
        return file.read()
