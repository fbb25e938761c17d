"""Language models: the protocol, the engines that implement it, and where models are found."""

from __future__ import annotations

from nacrith.models.exact.model import ExactModel
from nacrith.models.protocol import LanguageModel, Session, Tokenizer
from nacrith.models.store import find, find_by_fingerprint

__all__ = ["LanguageModel", "Session", "Tokenizer", "load_model", "load_model_by_fingerprint"]


def load_model(name_or_path: str | None = None, *, threads: int | None = None) -> LanguageModel:
    """A model by name ("smollm2-135m"), by path (.nacm, .gguf, safetensors directory), or the default.
    A GGUF or a directory is converted once, then its model is taken from the cache.

    Raises ModelMissingError if it is not on this machine; nothing is downloaded.
    """
    return ExactModel(find(name_or_path), threads=threads)


def load_model_by_fingerprint(
    fingerprint: bytes, hint: str = "", *, threads: int | None = None
) -> LanguageModel:
    """The model whose fingerprint begins with these bytes; `hint` is a name for the error message."""
    return ExactModel(find_by_fingerprint(fingerprint, hint), threads=threads)
