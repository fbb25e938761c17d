"""The records of the model cache: which model a source was converted to, and when each was used.

They are kept in `.records` in the cache, one small file for each fact, so that processes need no lock:

    seen-KEY       the hash of a source; KEY is a hash of its files' paths, sizes, times and inodes
    source-HASH    the file name and fingerprint of the converted model, as JSON; HASH is of the source's
                   content, of the conversion's version, and of the bits of activations
    tried-KEY      empty; a backend has run in a child process without a crash (see floats/trial.py)
    lock-HASH      empty; a process is converting that source
    used-NAME      empty; its modification time says when the model file NAME was last used

No record is trusted: one that does not match the files on the disk is ignored, and all of them may be
deleted at any time.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import time
from collections.abc import Iterator
from pathlib import Path

from nacrith import atomic, jsontext
from nacrith.models.exact import modelfile
from nacrith.models.exact.conversion import CONVERSION
from nacrith.models.files import open_regular
from nacrith.models.sources import registry

_log = logging.getLogger("nacrith")

_FOLDER = ".records"
_SETTLED = 2.0  # seconds after which another write to a file is certain to change its time


def converted(cache: Path, source: Path, bits: int) -> Path | None:
    """The model file in `cache` that a source of this content was converted to with activations of so many
    bits, if it still exists."""
    try:
        record = jsontext.parse(_source_record(cache, source, bits).read_bytes())
        path = cache / Path(str(record["model"])).name
        fingerprint = str(record["fingerprint"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return path if fingerprint and modelfile.fingerprint(path).hex() == fingerprint else None


def remember(cache: Path, source: Path, bits: int, model: Path) -> None:
    """Record that `source` was converted to `model`, a file in `cache`, with activations of so many bits."""
    fields = {"model": model.name, "fingerprint": modelfile.fingerprint(model).hex()}
    with contextlib.suppress(OSError):
        _write(_source_record(cache, source, bits), json.dumps(fields))


@contextlib.contextmanager
def alone(cache: Path, source: Path, bits: int) -> Iterator[None]:
    """Let one process at a time convert this source into this cache. Where files cannot be locked, several
    may convert at once, which wastes time but does no harm."""
    path = _source_record(cache, source, bits)
    path = path.with_name(path.name.replace("source-", "lock-", 1))
    with contextlib.ExitStack() as held:
        with contextlib.suppress(OSError, ImportError):
            _lock(path, held)
        yield


def _lock(path: Path, held: contextlib.ExitStack) -> None:
    """Hold a lock on a file that exists only while a process holds the lock."""
    import fcntl

    path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        file = open(path, "wb")  # noqa: SIM115 - closed with `held`
        held.callback(file.close)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _log.info("waiting for another process that converts the same model")
            fcntl.flock(file, fcntl.LOCK_EX)
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(file.fileno()), os.stat(path)):
                held.callback(path.unlink, missing_ok=True)
                return
        file.close()  # the process that held the lock has removed the file


def touch(cache: Path, model: Path) -> None:
    """Record the use of a model file; files outside the cache are ignored."""
    if model.parent == cache:
        with contextlib.suppress(OSError):  # a read-only cache works too
            (cache / _FOLDER).mkdir(exist_ok=True)
            (cache / _FOLDER / f"used-{model.name}").touch()


def last_used(cache: Path, model: Path) -> float | None:
    """When a model file was last used, in seconds since 1970; None if that is not known."""
    try:
        return (cache / _FOLDER / f"used-{model.name}").stat().st_mtime
    except OSError:
        return None


def is_tried(cache: Path, key: str) -> bool:
    """Whether `remember_tried` was called with this key."""
    return (cache / _FOLDER / f"tried-{key}").exists()


def remember_tried(cache: Path, key: str) -> None:
    """Record that a backend did not crash. key: a hexadecimal hash of everything that may affect this."""
    with contextlib.suppress(OSError):
        _write(cache / _FOLDER / f"tried-{key}", "")


def forget(cache: Path, model: Path) -> None:
    """Delete the records of a model file. (The hashes of its sources remain valid.)"""
    with contextlib.suppress(OSError):
        (cache / _FOLDER / f"used-{model.name}").unlink(missing_ok=True)
        for record in (cache / _FOLDER).glob("source-*"):
            if model.name in record.read_text():
                record.unlink()


def digest(cache: Path, source: Path) -> str:
    """SHA-256 over the names and contents of a source's files, in hexadecimal. The files are read once: the
    hash is recorded, and used as long as their times and inodes stay the same. OSError if a file cannot be
    read."""
    files = registry.files_of(source)
    stats = [(os.path.abspath(p), p.stat()) for p in files]
    key = [(n, s.st_size, s.st_mtime_ns, s.st_ctime_ns, s.st_ino, s.st_dev) for n, s in stats]
    seen = cache / _FOLDER / f"seen-{hashlib.sha256(repr(key).encode()).hexdigest()}"
    with contextlib.suppress(OSError, ValueError):
        if len(bytes.fromhex(text := seen.read_text())) == 32:
            return text
    total = hashlib.sha256()
    for path in files:
        with open_regular(path) as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
        total.update(f"{path.name if source.is_dir() else ''} {content}\n".encode())
    newest = max((max(s.st_mtime, s.st_ctime) for _, s in stats), default=0.0)
    if newest < time.time() - _SETTLED:
        with contextlib.suppress(OSError):
            _write(seen, total.hexdigest())
    return total.hexdigest()


def _source_record(cache: Path, source: Path, bits: int) -> Path:
    made = hashlib.sha256(f"{CONVERSION} {bits} {digest(cache, source)}".encode()).hexdigest()
    return cache / _FOLDER / f"source-{made}"


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    atomic.write(path, text.encode())
