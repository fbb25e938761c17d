"""The codec: joins a language model, the predictors and the range coder to a BlockCodec.

Two ways in: `for_encoding` makes the codec of a level, `for_decoding` the one that an archive names.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nacrith.archive.blockcodec import CodecId
from nacrith.codec.levels import LEVELS
from nacrith.errors import ModelMismatchError

if TYPE_CHECKING:
    from nacrith.codec.model_codec import ModelCodec
    from nacrith.models.protocol import LanguageModel

__all__ = ["for_decoding", "for_encoding"]

# numpy and the model come with the first call, so that `nacrith.codec.levels` alone is light.


def for_encoding(level: int, model: str | LanguageModel | None, threads: int | None) -> ModelCodec:
    """The codec of `level` (1..9). model: a name or path (see load_model), a loaded model, or None."""
    from nacrith.codec.model_codec import ModelCodec
    from nacrith.codec.params import CodingParams
    from nacrith.models import load_model

    loaded = load_model(model, threads=threads) if model is None or isinstance(model, str) else model
    chosen = LEVELS[level]
    window = min(chosen.window, loaded.max_context)
    return ModelCodec(loaded, CodingParams(window, predictors=1, capacity=chosen.capacity))


def for_decoding(codec_id: CodecId, model: str | LanguageModel | None, threads: int | None) -> ModelCodec:
    """The codec that an archive was made with. Raises ModelMissingError if its model is not found,
    ModelMismatchError if `model` is given and is another."""
    from nacrith.codec.model_codec import ModelCodec
    from nacrith.codec.params import CodingParams
    from nacrith.models import load_model, load_model_by_fingerprint

    params = CodingParams.from_bytes(codec_id.params)
    if model is None:
        loaded = load_model_by_fingerprint(codec_id.fingerprint, codec_id.model_name, threads=threads)
    else:
        loaded = load_model(model, threads=threads) if isinstance(model, str) else model
    if not loaded.fingerprint.startswith(codec_id.fingerprint):
        raise ModelMismatchError(
            f"the archive was made with {codec_id.model_name or 'a model'}"
            f" (fingerprint {codec_id.fingerprint.hex()[:16]}), the model given is {loaded.name}"
            f" ({loaded.fingerprint.hex()[:16]}): give that one with -m, or leave -m out"
        )
    return ModelCodec(loaded, params)
