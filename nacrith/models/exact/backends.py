"""Which engine runs exact models: the native one where it is installed, else numpy; torch on request.

The engines give the same integers, so the choice changes the speed and nothing else. torch is imported
only if it is asked for: that alone takes seconds.
"""

from __future__ import annotations

import importlib.util
import logging
import os
from functools import cache
from typing import Protocol

from nacrith.errors import ModelError
from nacrith.models.exact import native
from nacrith.models.exact.config import ExactConfig
from nacrith.models.exact.modelfile import ModelFile
from nacrith.models.exact.native_engine import NativeEngine
from nacrith.models.exact.numpy_engine import NumpyEngine
from nacrith.models.protocol import Session

BACKENDS = ("native", "numpy", "torch")

log = logging.getLogger("nacrith")


class Engine(Protocol):
    """Weights of one model, ready to run. Stateless: sessions hold the lanes."""

    config: ExactConfig

    def session(self, lanes: int, window: int) -> Session: ...


def backend() -> str:
    """ "native", "numpy" or "torch": what exact models run on. NACRITH_BACKEND decides if it is set;
    otherwise the native engine runs where it is installed. ModelError if what it names is not there."""
    asked = os.environ.get("NACRITH_BACKEND") or ""
    if asked and asked not in BACKENDS:
        raise ModelError(f"NACRITH_BACKEND={asked}: there is no such backend; use native, numpy or torch")
    if asked == "torch" and importlib.util.find_spec("torch") is None:
        raise _no_torch("it is not installed")
    if asked in ("numpy", "torch"):
        return asked
    try:
        native.load()
    except ModelError as error:
        if asked:
            raise
        _warn_once(str(error))
        return "numpy"
    return "native"


def create(file: ModelFile, threads: int) -> Engine:
    """The engine that `backend` names, with the weights of a model file."""
    name = backend()
    if name == "torch":
        try:
            from nacrith.models.exact.torch_engine import TorchEngine
        except (ImportError, OSError) as error:  # OSError: a library that torch loads
            raise _no_torch(str(error)) from None
        return TorchEngine(file, threads)
    return NativeEngine(file, threads) if name == "native" else NumpyEngine(file, threads)


def _no_torch(why: str) -> ModelError:
    return ModelError(f'NACRITH_BACKEND=torch: torch cannot be used: {why}; pip install "nacrith[torch]"')


@cache
def _warn_once(why: str) -> None:
    log.warning("running on numpy, which is several times slower: %s", why)
