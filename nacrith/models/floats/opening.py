"""Models that compute in floats, run by llama.cpp or transformers: opening one.

A backend is tried in a child process first (`trial`), since it may crash; what the child does with it is
here as well.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from nacrith import jsontext
from nacrith.errors import ModelError
from nacrith.models.floats import trial
from nacrith.models.floats.binding import REQUIREMENTS, BoundModel, Settings, fingerprint, here
from nacrith.settings import BACKENDS, EXACT


def require(backend: str) -> None:
    """ModelError if there is no such backend or it is not installed."""
    needs = REQUIREMENTS.get(backend)
    if needs is None:
        raise ModelError(f"there is no backend {backend!r}; use one of {', '.join(BACKENDS)}")
    if importlib.util.find_spec(needs.module) is None:
        raise ModelError(
            f'the backend {backend} is not installed; run: pip install "nacrith[{needs.extra}]", or use'
            f" --backend {EXACT}"
        )


def open_model(backend: str, path: Path, settings: Settings) -> BoundModel:
    """The model in a GGUF file (llama.cpp) or a directory (transformers).

    ModelError if the backend is not installed, or crashes: it is tried in a child process first.
    """
    require(backend)
    if not path.exists():
        raise ModelError(f"{path}: no such file or directory; check the name")
    if path.is_dir() != (backend == "transformers"):
        raise ModelError(
            f"{path}: not what {backend} runs; give a .gguf file to llama.cpp, a directory with"
            " safetensors to transformers"
        )
    trial.check(backend, path, settings, _facts(backend, path, settings))
    model = load(backend, path, settings)
    # Whoever decodes will ask with the device that was found here.
    trial.remember(_facts(backend, path, Settings.recorded(model.binding)))
    return model


def _facts(backend: str, path: Path, settings: Settings) -> Sequence[object]:
    """On which it depends whether a backend crashes."""
    return here(backend), replace(settings, threads=0), fingerprint(path).hex()


def load(backend: str, path: Path, settings: Settings) -> BoundModel:
    """As `open_model`, without questions."""
    try:
        if backend == "llama.cpp":
            from nacrith.models.floats.llamacpp import LlamaCppModel

            return LlamaCppModel(path, settings)
        from nacrith.models.floats.transformers_backend import TransformersModel

        return TransformersModel(path, settings)
    except (ImportError, OSError) as error:  # OSError: a library that does not load
        raise ModelError(f"{path}: the backend {backend} cannot be used here: {error}") from None


def child() -> None:
    """What the child does: steps, a context that is full and begins again, steps."""
    from nacrith.models.floats.session import LEAST_WINDOW

    _leave_no_core()
    backend, path, settings = sys.argv[1:]
    chosen: dict[str, Any] = jsontext.parse(settings)
    model = load(backend, Path(path), Settings(**chosen))
    session = model.session(1, LEAST_WINDOW)
    session.extend([[model.bos_id] * (2 * LEAST_WINDOW + 2)])
    session.rollback(0, 2 * LEAST_WINDOW + 1)
    session.extend([[model.bos_id]])


def _leave_no_core() -> None:
    try:
        import resource
    except ImportError:  # not POSIX
        return
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
