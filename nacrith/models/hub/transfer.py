"""Downloading one file from the hub: resumable, checked, and named only when it is complete.

Until then the file is called NAME.partial, and the next run resumes it. That is safe because the files of a
commit never change, and because the hash of the whole file is checked in the end, however it was put
together. If the hash is wrong the partial file is removed.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from nacrith import atomic
from nacrith.errors import ModelError
from nacrith.models.hub import client
from nacrith.models.hub.client import NETWORK_ERRORS, Hub, TooSlowError
from nacrith.models.store.reference import PARTIAL, HubFile, Reference, hash_of

_CHUNK = 1 << 20  # bytes


def fetch(hub: Hub, origin: Reference, file: HubFile, target: Path, progress: Callable[[int], None]) -> None:
    """Download `file` to `target`. progress: called with the bytes received (negative: bytes discarded)."""
    if target.exists():
        progress(file.size)
        return
    partial = target.with_name(target.name + PARTIAL)
    with locked(partial) as out:
        _complete(hub, origin, file, out, progress)
        if hash_of(partial, file.digest, file.size) != file.digest:
            partial.unlink()
            raise ModelError(
                f"{origin.repo}: {file.path}: what came does not have the hash that the hub states;"
                " it is removed: run the same command again; if it persists, check HF_ENDPOINT and the proxy"
            )
        with written(partial):
            atomic.sync_file(out.fileno())
            os.replace(partial, target)


def _complete(
    hub: Hub, origin: Reference, file: HubFile, out: BinaryIO, progress: Callable[[int], None]
) -> None:
    """Append the missing bytes to `out`. Gives up after `client.ATTEMPTS` attempts in a row that made no
    progress, or were too slow."""
    have = _size(out)
    if have > file.size:
        have = out.truncate(0)
    progress(have)
    furthest, failures, reason = have, 0, "the connection ended"
    while have < file.size:
        slow = False
        try:
            with hub.open(origin, file.path, have) as response:
                fits = _continues(response.status, response.headers.get("Content-Range"), have, file)
                if have and not fits:
                    out.truncate(0)
                    progress(-have)
                    have = 0
                if response.status != 200 and not fits:
                    raise ConnectionError(f"the server answers {response.status} and not the part asked for")
                while have < file.size and (chunk := response.read1(min(_CHUNK, file.size - have))):
                    with written(Path(out.name)):
                        out.write(chunk)
                    have += len(chunk)
                    progress(len(chunk))
        except NETWORK_ERRORS as error:
            reason = str(error) or type(error).__name__
            slow = isinstance(error, TooSlowError)
        failures = 0 if have > furthest and not slow else failures + 1
        furthest = max(have, furthest)
        if have < file.size and failures:
            if failures == client.ATTEMPTS:
                raise ModelError(
                    f"{origin.repo}: {file.path}: stopped at {have:,} of {file.size:,} bytes"
                    f" ({reason}); run the same command again: it goes on from there"
                )
            client.pause(failures - 1)
    with written(Path(out.name)):
        out.flush()


def _continues(status: int, content_range: str | None, have: int, file: HubFile) -> bool:
    """Whether the response body continues the file after its first `have` bytes."""
    found = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", content_range or "")
    return status == 206 and found is not None and int(found[1]) == have and found[2] in ("*", str(file.size))


def _size(out: BinaryIO) -> int:
    return os.fstat(out.fileno()).st_size


@contextlib.contextmanager
def written(path: Path) -> Iterator[None]:
    """Turn an OSError of the disk into a ModelError, so that it is not taken for a network error."""
    try:
        yield
    except OSError as error:
        raise ModelError(
            f"{path}: cannot write it ({error.strerror}); free some space or set NACRITH_MODEL_DIR, then"
            " run the same command again"
        ) from None


@contextlib.contextmanager
def locked(partial: Path) -> Iterator[BinaryIO]:
    """Open the partial file for appending, and hold a lock that keeps other processes out."""
    with written(partial):
        partial.parent.mkdir(parents=True, exist_ok=True)
        out = open(partial, "ab")  # noqa: SIM115 - closed below, outside `written`
    with out:
        # Where files cannot be locked, two processes may interleave their writes, which the hash detects.
        if atomic.try_lock(out.fileno()) is False or not _is_at(out, partial):
            raise ModelError(f"{partial}: another process is fetching this file; wait for it, then run again")
        yield out


def _is_at(out: BinaryIO, partial: Path) -> bool:
    """Whether the open file still has this name; the last holder of the lock may have changed that."""
    try:
        return os.path.samestat(os.fstat(out.fileno()), os.stat(partial))
    except OSError:
        return False
