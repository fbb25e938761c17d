"""The manifest: one JSON object a line for every file that a batch has finished with.

It is only ever appended to, each line by a single write to a file opened for appending, so that a
batch that is killed leaves whole lines, and several shards on one machine may share a file. A later
line about the same input and output counts over an earlier one. A batch that is started again reads
it to know what is done, and believes it only where both files still are what it says.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import stat
from collections.abc import Mapping
from typing import Any

from nacrith import atomic, jsontext
from nacrith.errors import NacrithError
from nacrith.jobs.plan import Job

DONE, FAILED = "done", "failed"

Record = dict[str, Any]
"""A line: file, output, status ("done" or "failed"), error (null if done), seconds, size (bytes of the
input), output_size, sha256 (of the content), archive_sha256, shard ("i/n", or null), and the settings:
mode, level, model. Of a file that failed sizes and hashes are null."""


class ManifestError(NacrithError):
    """The file named as the manifest is none."""


class Manifest:
    """The manifest at `path`, which is made if it is not there. `close` when done."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.damaged = 0  # lines that could not be read; the files that they were about are done again
        self._last: dict[tuple[str, str], Record] = {}
        self._made: set[str] = set()
        self.shards: set[str] = set()
        """Of which files are on record, as "i/n"."""
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_CLOEXEC", 0), 0o666)
        try:
            if stat.S_ISREG(os.fstat(self._file).st_mode):
                self._read()
        except BaseException:
            os.close(self._file)
            raise

    def record(self, job: Job) -> Record | None:
        """The last line about this input and output."""
        return self._last.get((job.file, job.output))

    def has_made(self, job: Job) -> bool:
        """Whether the output was ever made, so that it is an earlier result and may be replaced."""
        return job.output in self._made

    def append(self, record: Record) -> None:
        """Add a line and have it on the disk."""
        self._write(json.dumps(record).encode("ascii") + b"\n")
        self._take(record)

    def close(self) -> None:
        os.close(self._file)

    def _take(self, record: Record) -> None:
        self._last[record["file"], record["output"]] = record
        if isinstance(record.get("shard"), str):
            self.shards.add(record["shard"])
        if record["status"] == DONE:
            self._made.add(record["output"])

    def _write(self, line: bytes) -> None:
        written = os.write(self._file, line)
        if written < len(line):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        atomic.sync_file(self._file)

    def _read(self) -> None:
        with open(self.path, "rb") as file:
            lines = file.read().split(b"\n")
        torn = lines.pop()  # without its end: of a machine that lost power while it was written
        for number, line in enumerate(lines):
            record = _parsed(line)
            if record is not None:
                self._take(record)
            elif number == 0:
                raise ManifestError(f"{self.path} is no manifest of nacrith batch; name another file")
            elif line:
                self.damaged += 1
        if torn:
            if not lines and not torn.startswith(b"{"):
                raise ManifestError(f"{self.path} is no manifest of nacrith batch; name another file")
            self.damaged += 1
            self._write(b"\n")


def _parsed(line: bytes) -> Record | None:
    with contextlib.suppress(ValueError):
        record = jsontext.parse(line)
        names = ("file", "output", "status")
        if isinstance(record, dict) and all(isinstance(record.get(name), str) for name in names):
            return record
    return None


def is_done(record: Mapping[str, Any] | None, job: Job, settings: Mapping[str, Any]) -> bool:
    """Whether `record` says that this job is done, in this way, and both files still bear it out."""
    if record is None or record["status"] != DONE:
        return False
    if any(record.get(name) != value for name, value in settings.items()):
        return False
    hashes = [record.get("sha256"), record.get("archive_sha256")]
    if settings["mode"] == "decompress":  # then the input is the archive
        hashes.reverse()
    try:
        if job.size != record.get("size") or os.stat(job.target).st_size != record.get("output_size"):
            return False
        return [file_hash(job.source), file_hash(job.target)] == hashes
    except OSError:
        return False


def file_hash(path: str) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
