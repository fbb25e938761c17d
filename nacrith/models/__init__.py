"""Language models: the protocol, the engines that implement it, and where models are found."""

from __future__ import annotations

from collections.abc import Mapping

from nacrith.models import store
from nacrith.models.exact.model import ExactModel
from nacrith.models.floats import opening
from nacrith.models.floats.binding import BoundModel, Settings, check_binding, here
from nacrith.models.protocol import LanguageModel, Session, Tokenizer
from nacrith.settings import EXACT

__all__ = ["LanguageModel", "Session", "Tokenizer", "load_model", "load_model_by_fingerprint"]


def load_model(
    name_or_path: str | None = None, *, threads: int | None = None, backend: str | None = None
) -> LanguageModel:
    """A model by name ("nacrith-36m"), by path (.nacm, .gguf, safetensors directory), or the default.
    A GGUF or a directory is converted once, then its model is taken from the cache.

    backend: "exact" (None means the same); or "llama.cpp" or "transformers", which run a GGUF or a directory
    as it is, in floats, and whose archives decode only where everything is as it was; their default is
    "smollm2-135m".

    Raises ModelMissingError if it is not on this machine; nothing is downloaded.
    """
    if backend in (None, EXACT):
        return ExactModel(store.find(name_or_path), threads=threads)
    source = store.find_source(name_or_path or store.LARGE_MODEL)
    return opening.open_model(str(backend), source, Settings.of_environment(threads))


def load_model_by_fingerprint(
    fingerprint: bytes, hint: str = "", *, threads: int | None = None
) -> LanguageModel:
    """The exact model whose fingerprint begins with these bytes; `hint` is a name for the error message."""
    return ExactModel(store.find_by_fingerprint(fingerprint, hint), threads=threads)


def load_bound_model(
    binding: Mapping[str, str],
    fingerprint: bytes,
    hint: str = "",
    *,
    name_or_path: str | None = None,
    force: bool = False,
) -> BoundModel:
    """The model in floats that an archive was made with, set up as its binding says. ModelMismatchError if
    it already shows that this is another machine or build, unless `force` asks to try all the same.

    name_or_path: where it is; None to look for the fingerprint.
    """
    backend = binding.get("backend", "(unnamed)")
    opening.require(backend)
    if not force:
        known = here(backend).items()
        check_binding(binding, {**binding, **{k: v for k, v in known if k in binding}})
    settings = Settings.recorded(binding, device_here=force)
    if name_or_path is None:
        source = store.find_source_by_fingerprint(fingerprint, hint)
    else:
        source = store.find_source(name_or_path)
    return opening.open_model(backend, source, settings)
