"""The codec: it joins a language model, the predictors and the range coder to a BlockCodec.

`for_encoding` makes the codec of a level, `for_decoding` the codec that an archive names.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from nacrith.codec.levels import LEVELS
from nacrith.errors import CorruptError, ModelError, ModelMismatchError
from nacrith.settings import EXACT

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import TypeGuard

    from nacrith.archive.blockcodec import CodecId
    from nacrith.bytelevel.joined import JoinedModel
    from nacrith.codec.model_codec import ModelCodec
    from nacrith.models.protocol import LanguageModel

_LARGE = 1 << 26
"""Number of weights from which a model predicts so well that the predictors beside it get less weight."""

NO_MODEL = "none"
"""Stands for a model's name where no model is to be used."""

__all__ = ["NO_MODEL", "default_model", "for_decoding", "for_encoding", "predictor_set", "wants_model"]

# numpy and the model are imported at the first call, so that `nacrith.codec.levels` alone is cheap.


Named = str | tuple[str, ...]
"""A name or path of a model; several are an ensemble."""


def wants_model(level: int, model: object, backend: str | None = None, prefix: bytes = b"") -> bool:
    """Whether `level` uses a model. model: what the user named, which may be NO_MODEL, or None. A prefix
    serves the model, and asks for one."""
    if isinstance(model, str) and model == NO_MODEL:
        if prefix:
            raise ModelError("a prefix serves a model, and model none means none: leave one of the two out")
        return False
    return model is not None or backend is not None or bool(prefix) or LEVELS[level].model


def default_model(level: int, backend: str | None = None) -> str:
    """The name of the model that a level uses if it uses one and none is given."""
    from nacrith.models import store

    if backend not in (None, EXACT):
        return store.LARGE_MODEL
    return store.preferred(LEVELS[level].large)


def for_encoding(
    level: int,
    model: Named | LanguageModel | None,
    threads: int | None,
    *,
    backend: str | None = None,
    prefix: bytes = b"",
) -> ModelCodec:
    """The codec of `level` (1..9). model: names or files, or a loaded model; None for the level's default.
    backend: see `load_model`. prefix: what the blocks are coded after, at most MOST_PREFIX bytes."""
    from nacrith.codec.model_codec import ModelCodec, binding_of
    from nacrith.codec.params import MEMBER, CodingParams
    from nacrith.codec.prefix import name_of
    from nacrith.models import load_model

    if isinstance(model, tuple):
        from nacrith.bytelevel.joined import load_ensemble

        model = load_ensemble(*model, threads=threads)
    elif model is None or isinstance(model, str):
        model = load_model(model or default_model(level, backend), threads=threads, backend=backend)
    chosen = LEVELS[level]
    window = min(chosen.window, model.max_context)
    named = name_of(prefix)
    if _is_ensemble(model):
        members = tuple(m.fingerprint[:MEMBER] for m in model.models)
        params = CodingParams(window, bits=chosen.bits, members=members, prefix=named)
        return ModelCodec(model, params, lanes=1, threads=threads, prefix=prefix)
    params = CodingParams(
        window, predictor_set(model), chosen.capacity, chosen.bits, binding_of(model), prefix=named
    )
    return ModelCodec(model, params, lanes=chosen.lanes, threads=threads, prefix=prefix)


def _is_ensemble(model: object) -> TypeGuard[JoinedModel]:
    """Asked without the import of what makes ensembles, which most commands do without."""
    joined = sys.modules.get("nacrith.bytelevel.joined")
    return joined is not None and isinstance(model, joined.JoinedModel)


def _ensemble(
    codec_id: CodecId, members: Sequence[bytes], model: str | LanguageModel | None, threads: int | None
) -> JoinedModel:
    """The ensemble of an archive. model: the ensemble itself, or one of its members."""
    from nacrith.bytelevel.joined import load_ensemble_by_fingerprints
    from nacrith.models import load_model

    if _is_ensemble(model):
        return model
    if isinstance(model, str):
        model = load_model(model, threads=threads)
    return load_ensemble_by_fingerprints(members, codec_id.model_name, given=model, threads=threads)


def predictor_set(model: LanguageModel) -> int:
    """The predictor set whose prior was fitted beside a model of this size."""
    from nacrith.models.exact.model import ExactModel
    from nacrith.predictors.registry import BESIDE_LARGE, BESIDE_SMALL

    small = isinstance(model, ExactModel) and model.weights < _LARGE
    return BESIDE_SMALL if small else BESIDE_LARGE


def for_decoding(
    codec_id: CodecId,
    model: str | LanguageModel | None,
    threads: int | None,
    *,
    backend: str | None = None,
    force: bool = False,
    prefix: bytes = b"",
) -> ModelCodec:
    """The codec that an archive was made with.

    Raises ModelMissingError if the archive's model is not found; ModelMismatchError if a given `model` or
    `backend` is not the archive's, or if the archive is bound to a machine or build that differs from this
    one (`force` tries nevertheless); PrefixError if the archive was made after a prefix and `prefix` is not
    that one; CorruptError if no archive can have these parameters.
    """
    from nacrith.codec.model_codec import ModelCodec, binding_of
    from nacrith.codec.params import CodingParams
    from nacrith.codec.prefix import check_prefix
    from nacrith.models import load_bound_model, load_model, load_model_by_fingerprint
    from nacrith.models.floats.binding import check_binding, differences

    params = CodingParams.from_bytes(codec_id.params)
    check_prefix(params.prefix, prefix)
    if params.members:
        model = _ensemble(codec_id, params.members, model, threads)
    recorded = params.binding.get("backend", EXACT)
    if backend not in (None, recorded):
        raise ModelMismatchError(
            f"the archive was made with --backend {recorded}, not {backend}: leave the option out"
        )
    if model is None or isinstance(model, str):
        fingerprint, name = codec_id.fingerprint, codec_id.model_name
        if params.binding:
            model = load_bound_model(params.binding, fingerprint, name, name_or_path=model, force=force)
        elif model is None:
            model = load_model_by_fingerprint(fingerprint, name, threads=threads)
        else:
            model = load_model(model, threads=threads)
    if not model.fingerprint.startswith(codec_id.fingerprint):
        raise ModelMismatchError(
            f"the archive was made with {codec_id.model_name or 'a model'}"
            f" (fingerprint {codec_id.fingerprint.hex()[:16]}), the model given is {model.name}"
            f" ({model.fingerprint.hex()[:16]}): give that one with -m, or leave -m out"
        )
    if params.window > model.max_context:
        raise CorruptError(
            f"the archive's window of {params.window} tokens is more than its model {model.name} has"
            f" ({model.max_context}): the archive is damaged"
        )
    if not force:
        check_binding(params.binding, binding_of(model))
    elif different := differences(params.binding, binding_of(model)):
        import logging  # imported where it is used: the command line starts sooner

        logging.getLogger("nacrith").warning("decoding, although the archive was made with %s", different)
    return ModelCodec(model, params, threads=threads, prefix=prefix if params.prefix else b"")
