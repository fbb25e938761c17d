"""Which engine runs exact models: the native one where it is installed, else numpy; torch on request.

All engines compute the same integers, so the choice affects only the speed. torch is imported only on
request, since the import alone takes seconds.
"""

from __future__ import annotations

import importlib.util
import logging
from functools import cache
from typing import Protocol

from nacrith import native, settings
from nacrith.errors import ModelError
from nacrith.models.exact.config import ExactConfig
from nacrith.models.exact.modelfile import ModelFile
from nacrith.models.exact.native_engine import NativeEngine
from nacrith.models.exact.numpy_engine import NumpyEngine
from nacrith.models.protocol import Session
from nacrith.native import choice

log = logging.getLogger("nacrith")


class Engine(Protocol):
    """The weights of one model, prepared for computing. Stateless: sessions hold the lanes."""

    config: ExactConfig

    def session(self, lanes: int, window: int) -> Session: ...


def engine() -> str:
    """The engine that runs exact models: "native", "numpy" or "torch". NACRITH_ENGINE decides if it is set;
    otherwise the native engine runs where it is installed. ModelError if the engine named is not there."""
    return _choice()[0]


def kernels() -> str | None:
    """The set of kernels that NACRITH_ENGINE=native:NAME names; None, for the best, if it names none."""
    return _choice()[1]


def create(file: ModelFile, threads: int) -> Engine:
    """The engine that `engine` names, with the weights of a model file."""
    name, kernels = _choice()
    if name == "torch":
        try:
            from nacrith.models.exact.torch_engine import TorchEngine
        except (ImportError, OSError) as error:  # OSError: a shared library that torch loads
            raise _no_torch(str(error)) from None
        return TorchEngine(file, threads)
    return NativeEngine(file, threads, kernels) if name == "native" else NumpyEngine(file, threads)


def _choice() -> tuple[str, str | None]:
    """The engine, and the set of kernels if one is named."""
    name, kernels = settings.engine()
    if name == "torch" and importlib.util.find_spec("torch") is None:
        raise _no_torch("it is not installed")
    if name in ("numpy", "torch"):
        return name, None
    try:
        library = native.load()
    except ModelError as error:
        if name == "native":
            raise
        _warn_once(str(error))
        return "numpy", None
    return "native", choice.checked(library, kernels)


def _no_torch(why: str) -> ModelError:
    return ModelError(f'NACRITH_ENGINE=torch: torch cannot be used: {why}; pip install "nacrith[torch]"')


@cache
def _warn_once(why: str) -> None:
    log.warning("running on numpy, which is several times slower: %s", why)
