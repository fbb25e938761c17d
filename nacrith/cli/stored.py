"""Restores the name, mode and time that an archive stores of its file (-N with -d).

They are untrusted: the archive's author may have written anything. The name is used only as the last
component of a path, next to the archive or in the output directory of a batch, and replaces a file only
if that was asked for. Of the mode, only the permissions to read, write and execute are used.
"""

from __future__ import annotations

import os
import stat

from nacrith.archive import Metadata
from nacrith.archive.scanner import walk
from nacrith.archive.wire import Source
from nacrith.cli.console import CommandError, printable
from nacrith.cli.inputs import Input
from nacrith.errors import NacrithError
from nacrith.fallback import CODECS


def stored_in(source: Input) -> Metadata:
    """The metadata of the first stream. Empty if there is none, if it is damaged (which reading reports),
    or if the input is a pipe, which cannot be read beforehand."""
    file = source.file
    if not file.seekable():
        return Metadata()
    start = file.tell()
    try:
        _, record = next(walk(Source(file), CODECS.names))
    except NacrithError:
        return Metadata()
    finally:
        file.seek(start)
    return record if isinstance(record, Metadata) else Metadata()


def restored_path(path: str, stored: Metadata) -> str:
    """`path` with its last component replaced by the stored name."""
    name = stored.name
    if name is None:
        return path
    if name in (os.curdir, os.pardir) or os.path.basename(os.path.splitdrive(name)[1]) != name:
        raise CommandError(f"stores the name {printable(name)}, which cannot be a file name; leave -N out")
    return os.path.join(os.path.dirname(path), name)


def restored_status(status: os.stat_result, stored: Metadata) -> os.stat_result:
    """`status`, of the archive, with the stored mode and time where there are any."""
    fields = list(status[:10])  # the access time, which is kept, also exists in nanoseconds
    if stored.mode is not None:
        fields[stat.ST_MODE] = stat.S_IFMT(status.st_mode) | stored.mode
    mtime = status.st_mtime_ns if stored.mtime_ns is None else stored.mtime_ns
    return os.stat_result(fields, {"st_atime_ns": status.st_atime_ns, "st_mtime_ns": mtime})
