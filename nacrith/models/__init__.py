"""Language models: their interface, the engines that implement it, and how models are found and loaded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from nacrith.models import store
from nacrith.models.exact.model import ExactModel
from nacrith.models.protocol import LanguageModel, Session, Tokenizer
from nacrith.settings import EXACT

if TYPE_CHECKING:
    from nacrith.models.floats.binding import BoundModel

# What runs models in floats is imported at the first use: most archives need none of it.

__all__ = ["LanguageModel", "Session", "Tokenizer", "load_model", "load_model_by_fingerprint"]


def load_model(
    name_or_path: str | None = None, *, threads: int | None = None, backend: str | None = None
) -> LanguageModel:
    """Load a model by name ("nacrith-36m") or path (.nacm, .gguf, safetensors directory), or the default one.
    A GGUF file or a directory is converted on first use; the converted model is then taken from the cache.

    backend: "exact" (None means the same); or "llama.cpp" or "transformers", which run a GGUF file or a
    directory unconverted, in floating point, and whose archives decode only in the same environment; their
    default model is "smollm2-135m".

    Raises ModelMissingError if the model is not on this machine; nothing is downloaded.
    """
    if backend in (None, EXACT):
        return ExactModel(store.find(name_or_path), threads=threads)
    from nacrith.models.floats import opening
    from nacrith.models.floats.binding import Settings

    source = store.find_source(name_or_path or store.LARGE_MODEL)
    return opening.open_model(str(backend), source, Settings.of_environment(threads))


def load_model_by_fingerprint(
    fingerprint: bytes, hint: str = "", *, threads: int | None = None
) -> LanguageModel:
    """Load the exact model whose fingerprint begins with these bytes; `hint` is a name for error messages."""
    return ExactModel(store.find_by_fingerprint(fingerprint, hint), threads=threads)


def load_bound_model(
    binding: Mapping[str, str],
    fingerprint: bytes,
    hint: str = "",
    *,
    name_or_path: str | None = None,
    force: bool = False,
) -> BoundModel:
    """Load the floating-point model of an archive, with the settings that the archive's binding records.

    name_or_path: of the model; None to search for the fingerprint. ModelMismatchError if this machine or
    build is already known to differ from the binding, unless `force` asks to try anyway.
    """
    from nacrith.models.floats import opening
    from nacrith.models.floats.binding import Settings, check_binding, here

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
