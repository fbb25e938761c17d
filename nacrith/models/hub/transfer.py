"""One file from the hub to the disk: resumed, checked, and under its name only when whole.

Until then it is NAME.partial, which the next run continues. That is safe since a commit's files never
change and the hash of the whole is checked in the end, whatever the pieces were. A wrong hash removes
the partial file.
"""

from __future__ import annotations

import contextlib
import os
import re
import sys
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
    """Have `file` at `target`. progress: called with the bytes that have come (negative: are void)."""
    if target.exists():
        progress(file.size)
        return
    partial = target.with_name(target.name + PARTIAL)
    with _locked(partial) as out:
        _complete(hub, origin, file, out, progress)
        if hash_of(partial, file.digest, file.size) != file.digest:
            partial.unlink()
            raise ModelError(
                f"{origin.repo}: {file.path}: what came does not have the hash that the hub states;"
                " it is removed: run the same command again; if it persists, check HF_ENDPOINT and the proxy"
            )
        with _written(partial):
            atomic.sync_file(out.fileno())
            os.replace(partial, target)


def _complete(
    hub: Hub, origin: Reference, file: HubFile, out: BinaryIO, progress: Callable[[int], None]
) -> None:
    """Append what `out` lacks. Gives up after `hub.ATTEMPTS` tries that got no further than before, or only
    at a pace that is none."""
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
                    with _written(Path(out.name)):
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
    with _written(Path(out.name)):
        out.flush()


def _continues(status: int, content_range: str | None, have: int, file: HubFile) -> bool:
    """Whether the body that follows is what comes after the first `have` bytes."""
    found = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", content_range or "")
    return status == 206 and found is not None and int(found[1]) == have and found[2] in ("*", str(file.size))


def _size(out: BinaryIO) -> int:
    return os.fstat(out.fileno()).st_size


@contextlib.contextmanager
def _written(path: Path) -> Iterator[None]:
    """Tells trouble of the disk from trouble of the network."""
    try:
        yield
    except OSError as error:
        raise ModelError(
            f"{path}: cannot write it ({error.strerror}); free some space or set NACRITH_MODEL_DIR, then"
            " run the same command again"
        ) from None


@contextlib.contextmanager
def _locked(partial: Path) -> Iterator[BinaryIO]:
    """The partial file, open at its end, with no other process at it."""
    with _written(partial):
        partial.parent.mkdir(parents=True, exist_ok=True)
        out = open(partial, "ab")  # noqa: SIM115 - closed below; not within, where errors are the disk's
    with out:
        if not (_lock(out) and _is_at(out, partial)):
            raise ModelError(f"{partial}: another process is fetching this file; wait for it, then run again")
        yield out


def _lock(out: BinaryIO) -> bool:
    """False if another has it. Where files cannot be locked, two may mix what they write: the hash tells."""
    if sys.platform == "win32":
        return True
    import fcntl

    try:
        fcntl.flock(out, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        pass
    return True


def _is_at(out: BinaryIO, partial: Path) -> bool:
    """Whoever had the lock may have renamed or removed what was opened here."""
    try:
        return os.path.samestat(os.fstat(out.fileno()), os.stat(partial))
    except OSError:
        return False
