"""Trying a backend in a child process, so that its crash is a message and not the end of this one.

Native libraries may die of a signal on some processors (llama.cpp's kernels for AMX do on some of Intel's,
ggml-org/llama.cpp#20824); no exception handler helps against that. So before a model runs here for the
first time, a child takes all the kinds of steps with it that coding takes. What went well is remembered for
this model, build, processor and device.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from nacrith.errors import ModelError
from nacrith.models import store
from nacrith.models.floats.binding import Settings
from nacrith.models.store import records
from nacrith.settings import child_environment

PATIENCE = 1800.0  # seconds; a large model takes minutes to read from a slow disk

_REMEDY = {
    "llama.cpp": (
        "a build without instructions of this very processor may help: CMAKE_ARGS=-DGGML_NATIVE=OFF pip"
        " install --force-reinstall --no-cache-dir --no-binary llama-cpp-python llama-cpp-python"
    ),
    "transformers": "another version of torch, or NACRITH_DEVICE=cpu, may help",
}

_log = logging.getLogger("nacrith")


def check(backend: str, path: Path, settings: Settings, facts: Sequence[object]) -> None:
    """ModelError if `backend` crashes on this model. facts: all on which that may depend."""
    if records.is_tried(store.cache_directory(), _key(facts)):
        return
    _log.info("trying %s in another process (once for each model and build)", backend)
    try:
        done = subprocess.run(
            _command(backend, path, settings),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env=child_environment(PYTHONPATH=os.pathsep.join(filter(None, sys.path))),
            timeout=PATIENCE,
        )
    except subprocess.TimeoutExpired:
        raise _failure(backend, f"did not end in {PATIENCE:.0f} s", b"") from None
    except OSError as error:
        raise ModelError(f"cannot start {sys.executable} to try {backend}: {error}") from None
    if done.returncode < 0 or done.returncode > 128:  # the latter: how Windows tells of a crash
        raise _failure(backend, f"crashed ({_name(done.returncode)})", done.stderr)
    if done.returncode == 0:
        remember(facts)
    # Any other end is an exception, which whoever asked will meet in this process and report.


def remember(facts: Sequence[object]) -> None:
    """Record that with these facts no backend crashes."""
    key = _key(facts)
    if not records.is_tried(store.cache_directory(), key):
        records.remember_tried(store.cache_directory(), key)


def _key(facts: Sequence[object]) -> str:
    return hashlib.sha256(repr(facts).encode()).hexdigest()


def _command(backend: str, path: Path, settings: Settings) -> list[str]:
    code = "from nacrith.models.floats.opening import child; child()"
    return [sys.executable, "-c", code, backend, str(path), json.dumps(dataclasses.asdict(settings))]


def _failure(backend: str, how: str, said: bytes) -> ModelError:
    lines = [line.strip() for line in said.decode(errors="replace").splitlines() if line.strip()]
    last = f", after it said: {lines[-1][:200]}" if lines else ""
    return ModelError(
        f"the backend {backend} {how} when it was tried with this model in another process{last}. Nothing"
        f" was written. Use --backend exact; or {_REMEDY[backend]}"
    )


def _name(code: int) -> str:
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"code {code}"
