"""The model that was used last, kept: loading one takes seconds, most callers use only one.

`compress`, `decompress`, `open` and the command line ask here for a block codec. One model is held
at a time, so that memory stays bounded; to hold several, pass objects that `load_model` returned.
This bookkeeping is thread-safe; the codecs and models that it hands out are not.
"""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, NamedTuple

from nacrith.archive.blockcodec import CodecId
from nacrith.codec.params import CodingParams
from nacrith.settings import EXACT

if TYPE_CHECKING:
    from nacrith.codec.model_codec import ModelCodec
    from nacrith.models.protocol import LanguageModel


class _Held(NamedTuple):
    """A model and how it was asked for. by_archive: by an archive's fingerprint, not by name. settings: the
    backend and its threads, or the binding that an archive records."""

    model: LanguageModel
    name: str | None
    by_archive: bool
    settings: object


_held: _Held | None = None
_lock = threading.Lock()


def _renew_lock() -> None:
    """In a forked child: whichever thread had the lock is not there to give it back."""
    global _lock
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_lock)


def for_encoding(
    level: int, model: str | LanguageModel | None, threads: int | None, *, backend: str | None = None
) -> ModelCodec:
    """The codec of `level` over `model`: a name, file or loaded model; None for the level's own. backend:
    what runs it, see `load_model`."""
    global _held
    from nacrith import codec

    if model is None:
        model = codec.default_model(level, backend)
    with _lock:
        settings = (backend or EXACT, threads)
        found = _find(model, settings)
        if found is None:
            _held = None  # frees the old model before the new one is loaded
        result = codec.for_encoding(level, model if found is None else found, threads, backend=backend)
        if isinstance(model, str):
            _held = _Held(result.model, model, False, settings)
        return result


def for_decoding(
    codec_id: CodecId,
    model: str | LanguageModel | None,
    threads: int | None,
    *,
    backend: str | None = None,
    force: bool = False,
) -> ModelCodec:
    """The codec that an archive names, over `model` or, if None, the one that it was made with. backend: what
    it must have been made with, if given. force: try it even if the archive is bound to another machine."""
    global _held
    from nacrith import codec

    with _lock:
        binding = CodingParams.from_bytes(codec_id.params).binding
        settings = tuple(sorted(binding.items())) if binding else (EXACT, threads)
        by_archive = model is None
        found = _find_made_with(codec_id, settings) if by_archive else _find(model, settings)
        if found is None:
            _held = None
        given = model if found is None else found
        result = codec.for_decoding(codec_id, given, threads, backend=backend, force=force)
        if found is None and (model is None or isinstance(model, str)):
            _held = _Held(result.model, model, by_archive, settings)
        return result


def forget() -> None:
    """Let go of the model that is held."""
    global _held
    with _lock:
        _held = None


def _find(model: str | LanguageModel | None, settings: object) -> LanguageModel | None:
    """The model itself, if it is one; else the one held, if that was asked for in the same way."""
    if not (model is None or isinstance(model, str)):
        return model
    if _held and not _held.by_archive and (_held.name, _held.settings) == (model, settings):
        return _held.model
    return None


def _find_made_with(codec_id: CodecId, settings: object) -> LanguageModel | None:
    """The model held, if it is the one that the archive names. A short archive names a prefix."""
    if _held and _held.settings == settings and _held.model.fingerprint.startswith(codec_id.fingerprint):
        return _held.model
    return None
