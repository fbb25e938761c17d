"""-N on the way back: the name, the mode and the time that an archive stores of its file.

They are whatever its author wrote there. A name is taken as the last component of a path only, next to the
archive or where a batch puts its output, and never replaces a file unless that is asked for; a mode gives
rights to read, write and execute and no more.
"""

from __future__ import annotations

import os
import stat

from nacrith.archive import Metadata
from nacrith.archive.scan import walk
from nacrith.archive.wire import Source
from nacrith.cli.console import CommandError, printable
from nacrith.cli.inputs import Input
from nacrith.errors import NacrithError
from nacrith.fallback import CODECS


def stored_in(source: Input) -> Metadata:
    """What the first stream stores; nothing if it stores nothing, is damaged (which reading reports), or
    comes through a pipe, which cannot be looked into beforehand."""
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
    """`path` with the stored name in the place of its last component."""
    name = stored.name
    if name is None:
        return path
    if name in (os.curdir, os.pardir) or os.path.basename(os.path.splitdrive(name)[1]) != name:
        raise CommandError(f"stores the name {printable(name)}, which is no file's; leave -N out")
    return os.path.join(os.path.dirname(path), name)


def restored_status(status: os.stat_result, stored: Metadata) -> os.stat_result:
    """`status`, of the archive, with the stored mode and time where there are any."""
    fields = list(status[:10])  # the time of access, kept too, is in nanoseconds beside them
    if stored.mode is not None:
        fields[stat.ST_MODE] = stat.S_IFMT(status.st_mode) | stored.mode
    mtime = status.st_mtime_ns if stored.mtime_ns is None else stored.mtime_ns
    return os.stat_result(fields, {"st_atime_ns": status.st_atime_ns, "st_mtime_ns": mtime})
