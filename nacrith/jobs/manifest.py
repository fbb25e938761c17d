"""The manifest: one JSON object per line for every file that a batch has finished.

It is only appended to, with a single write per line to a file opened for appending. So a killed batch
leaves whole lines, and several shards on one machine may share a file. Of several lines about the same
input and output, the last one counts. A restarted batch reads the manifest to find the files that are
done, and verifies that both files still match their line.
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
mode, level, model. For a failed file, sizes and hashes are null."""


class ManifestError(NacrithError):
    """The file given as the manifest is not a manifest."""


class Manifest:
    """The manifest at `path`, which is created if it does not exist. Call `close` when done."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.damaged = 0  # lines that could not be read; their files are processed again
        self._last: dict[tuple[str, str], Record] = {}
        self._made: set[str] = set()
        self.shards: set[str] = set()
        """The shards, as "i/n", of the recorded files."""
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
        """Whether the batch ever wrote the output; if so, it may be replaced."""
        return job.output in self._made

    def append(self, record: Record) -> None:
        """Append a line and sync it to disk."""
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
        torn = lines.pop()  # incomplete: the machine lost power while it was written
        for number, line in enumerate(lines):
            record = _parsed(line)
            if record is not None:
                self._take(record)
            elif number == 0:
                raise ManifestError(f"{self.path} is not a manifest of nacrith batch; name another file")
            elif line:
                self.damaged += 1
        if torn:
            if not lines and not torn.startswith(b"{"):
                raise ManifestError(f"{self.path} is not a manifest of nacrith batch; name another file")
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
    """Whether `record` says that the job was done with these settings, and both files still match it."""
    if record is None or record["status"] != DONE:
        return False
    if any(record.get(name) != value for name, value in settings.items()):
        return False
    hashes = [record.get("sha256"), record.get("archive_sha256")]
    if settings["mode"] == "decompress":  # the input is the archive
        hashes.reverse()
    try:
        if job.size != record.get("size") or os.stat(job.target).st_size != record.get("output_size"):
            return False
        return [file_hash(job.source), file_hash(job.target)] == hashes
    except OSError:
        return False


def file_hash(path: str) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
