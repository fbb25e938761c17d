"""A cache of the model that was used last: loading takes seconds, and most callers use a single model.

`compress`, `decompress`, `open` and the command line get their block codecs here. One model is held at a
time, so that memory stays bounded; to keep several loaded, pass objects that `load_model` returned. This
module is thread-safe; the codecs and models that it returns are not.
"""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, NamedTuple

from nacrith.archive.blockcodec import CodecId
from nacrith.codec import Named
from nacrith.codec.params import CodingParams
from nacrith.settings import EXACT

if TYPE_CHECKING:
    from nacrith.codec.model_codec import ModelCodec
    from nacrith.models.protocol import LanguageModel


class _Held(NamedTuple):
    """A model, and how it was requested. by_archive: by an archive's fingerprint, not by name. settings: the
    backend and its threads, or the binding that an archive records."""

    model: LanguageModel
    name: Named | None
    by_archive: bool
    settings: object


_held: _Held | None = None
_lock = threading.Lock()


def _renew_lock() -> None:
    """Replace the lock in a forked child, where a thread that held it does not exist."""
    global _lock
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_lock)


def for_encoding(
    level: int,
    model: Named | LanguageModel | None,
    threads: int | None,
    *,
    backend: str | None = None,
    prefix: bytes = b"",
) -> ModelCodec | None:
    """The codec of `level` with `model`: names or files, or a loaded model; None for the level's default.
    backend: as for `load_model`. prefix: what all blocks are coded after. None if no model is used, as at the
    fast levels."""
    global _held
    from nacrith import codec

    if not codec.wants_model(level, model, backend, prefix):
        return None
    if model is None:
        model = codec.default_model(level, backend)
    with _lock:
        settings = (backend or EXACT, threads)
        found = _find(model, settings)
        if found is None:
            _held = None  # free the old model before the new one is loaded
        given = model if found is None else found
        result = codec.for_encoding(level, given, threads, backend=backend, prefix=prefix)
        if isinstance(model, str | tuple):
            _held = _Held(result.model, model, False, settings)
        return result


def for_decoding(
    codec_id: CodecId,
    model: str | LanguageModel | None,
    threads: int | None,
    *,
    backend: str | None = None,
    force: bool = False,
    prefix: bytes = b"",
) -> ModelCodec:
    """The codec of an archive, with `model` or, if None, the model that the archive names. backend: if given,
    the one that the archive must have been made with. force: try even if the archive is bound to another
    machine. prefix: the one that the archive was made after."""
    global _held
    from nacrith import codec

    with _lock:
        params = CodingParams.from_bytes(codec_id.params)
        binding = params.binding
        settings = tuple(sorted(binding.items())) if binding else (EXACT, threads)
        by_archive = model is None
        found = _find_made_with(codec_id, settings) if by_archive else _find(model, settings)
        if found is None:
            _held = None
        given = model if found is None else found
        result = codec.for_decoding(codec_id, given, threads, backend=backend, force=force, prefix=prefix)
        one_of_several = bool(params.members) and model is not None  # names a member, not what was loaded
        if found is None and not one_of_several and (model is None or isinstance(model, str)):
            _held = _Held(result.model, model, by_archive, settings)
        return result


def forget() -> None:
    """Release the model that is held."""
    global _held
    with _lock:
        _held = None


def _find(model: Named | LanguageModel | None, settings: object) -> LanguageModel | None:
    """`model` itself if it is a loaded one; else the held model, if it was requested in the same way."""
    if not (model is None or isinstance(model, str | tuple)):
        return model
    if _held and not _held.by_archive and (_held.name, _held.settings) == (model, settings):
        return _held.model
    return None


def _find_made_with(codec_id: CodecId, settings: object) -> LanguageModel | None:
    """The held model, if the archive names it. A short archive gives only a prefix of the fingerprint."""
    if _held and _held.settings == settings and _held.model.fingerprint.startswith(codec_id.fingerprint):
        return _held.model
    return None
