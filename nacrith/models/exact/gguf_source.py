"""Reading a Llama-architecture GGUF file (any quantisation that the `gguf` package dequantises).

GGUF names tensors its own way and stores the rows of q and k permuted, so that rotary pairs are
neighbours (0, 1), (2, 3), ...; `_unpermute` brings them back to halves (0, d/2), (1, d/2 + 1), ...
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from nacrith.arith import F32
from nacrith.errors import ModelError
from nacrith.models.exact.convert import LAYER_TENSORS, LlamaSource
from nacrith.models.tokenizer_import import from_gguf_fields

LAYER_NAMES = dict(
    zip(
        LAYER_TENSORS,
        (
            "attn_norm",
            "ffn_norm",
            "attn_q",
            "attn_k",
            "attn_v",
            "attn_output",
            "ffn_gate",
            "ffn_up",
            "ffn_down",
        ),
        strict=True,
    )
)
NAMES = {"embed_tokens": "token_embd", "norm": "output_norm", "lm_head": "output"}
_ROPE_FREQS = "rope_freqs.weight"
_KNOWN = re.compile(
    rf"({'|'.join(NAMES.values())}|rope_freqs|blk\.\d+\.({'|'.join(LAYER_NAMES.values())}))\.weight"
)


def read_gguf(path: Path) -> LlamaSource:
    """Open a GGUF; tensors are dequantised when asked for."""
    try:
        import gguf
    except ImportError:
        raise ModelError(
            f"{path}: reading GGUF needs the package gguf; run: pip install 'nacrith[gguf]'"
        ) from None
    try:
        reader = gguf.GGUFReader(path)
        values: dict[str, Any] = {n: field.contents() for n, field in reader.fields.items()}
    except OSError as error:
        raise ModelError(f"{path}: cannot read it ({error.strerror or error})") from None
    except Exception as error:  # whatever the library trips over in a damaged file
        raise ModelError(f"{path}: not a readable GGUF file ({error}): fetch it again") from None
    fields = _Fields(path, values)
    tensors = {t.name: t for t in reader.tensors}
    if fields.get("general.architecture") != "llama":
        found = fields.get("general.architecture")
        raise ModelError(f"{path}: architecture {found!r}; the exact engine runs 'llama' only")
    for name in tensors:
        if not _KNOWN.fullmatch(name):
            raise ModelError(
                f"{path}: tensor {name}: not part of a plain Llama model; the exact engine supports"
                " no biases, experts or other additions"
            )
    heads = fields.count("attention.head_count")
    kv_heads = fields.count("attention.head_count_kv", heads)
    width = fields.count("embedding_length")
    head_dim = fields.count("attention.key_length", width // heads)

    def tensor(name: str) -> F32:
        if name.startswith("layers."):
            _, index, rest = name.split(".", 2)
            key = f"blk.{index}.{LAYER_NAMES[rest]}.weight"
        else:
            key = f"{NAMES[name]}.weight"
        found = tensors[key]
        try:
            array = np.asarray(gguf.dequantize(found.data, found.tensor_type), dtype=np.float32)
        except (NotImplementedError, ValueError, TypeError) as error:
            raise ModelError(f"{path}: tensor {key}: cannot be dequantised ({error})") from None
        if name.endswith(("q_proj", "k_proj")):
            groups = heads if name.endswith("q_proj") else kv_heads
            if array.ndim != 2 or len(array) % (2 * groups):
                raise ModelError(f"{path}: tensor {key}: shape {array.shape} for {groups} heads")
            return _unpermute(array, groups)
        return array

    return LlamaSource(
        layers=fields.count("block_count"),
        width=width,
        heads=heads,
        kv_heads=kv_heads,
        head_dim=head_dim,
        ffn=fields.count("feed_forward_length"),
        max_context=fields.count("context_length"),
        rms_eps=fields.number("attention.layer_norm_rms_epsilon"),
        rope_theta=fields.number("rope.freq_base", 10000.0),
        rope_factors=_rope_factors(fields, tensors, head_dim),
        bos_id=start_token(path, values),
        tokenizer=tokenizer_of(path, values),
        tensor=tensor,
        info={
            "name": str(fields.get("general.name", path.stem)),
            "source": path.name,
            "licence": str(fields.get("general.license", "unknown")),
        },
    )


class _Fields:
    """The metadata with checked access."""

    def __init__(self, path: Path, values: dict[str, Any]) -> None:
        self.path = path
        self.values = values

    def get(self, key: str, default: Any = None) -> Any:
        return self.values.get(key, default)

    def number(self, key: str, default: float | None = None) -> float:
        """A positive number of the llama section."""
        value = self.values.get(f"llama.{key}", default)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e12:
            raise ModelError(f"{self.path}: llama.{key}: {value!r} is not a positive number")
        return float(value)

    def count(self, key: str, default: int | None = None) -> int:
        value = self.number(key, default)
        if value != int(value):
            raise ModelError(f"{self.path}: llama.{key}: {value!r} is not a whole number")
        return int(value)


def start_token(path: Path, values: Mapping[str, Any]) -> int:
    """The id of the start token; any will do where the file names none. values: its metadata."""
    value = values.get("tokenizer.ggml.bos_token_id", 0)
    if type(value) is not int:
        raise ModelError(f"{path}: tokenizer.ggml.bos_token_id: {value!r} is not a token id")
    return value


def tokenizer_of(path: Path, values: Mapping[str, Any]) -> bytes:
    """The definition of the tokenizer; ModelError if it is not byte-level. values: the file's metadata."""
    try:
        return from_gguf_fields(values).definition
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from None
    except (ValueError, TypeError) as error:
        raise ModelError(f"{path}: damaged tokenizer ({error}): fetch it again") from None


def _rope_factors(fields: _Fields, tensors: dict[str, Any], head_dim: int) -> list[float] | None:
    path, half = fields.path, head_dim // 2
    if fields.count("rope.dimension_count", head_dim) != head_dim:
        raise ModelError(f"{path}: llama.rope.dimension_count: partial rotation is not supported")
    kind = fields.get("llama.rope.scaling.type", "none")
    if kind not in ("none", "linear"):
        raise ModelError(
            f"{path}: llama.rope.scaling.type: {kind!r} is not supported; none, linear and the"
            " factors of Llama 3 are"
        )
    factors: list[float] = []
    if kind == "linear":
        factors = [fields.number("rope.scaling.factor")] * half
    if _ROPE_FREQS in tensors:  # Llama 3's bands, one divisor per frequency
        bands = np.asarray(tensors[_ROPE_FREQS].data).ravel()
        if factors or bands.dtype != np.float32 or len(bands) != half or not (bands > 0).all():
            raise ModelError(f"{path}: tensor {_ROPE_FREQS}: not {half} positive factors")
        factors = bands.tolist()
    return factors or None


def _unpermute(rows: F32, heads: int) -> F32:
    out, width = rows.shape
    split = rows.reshape(heads, out // heads // 2, 2, width)
    return split.swapaxes(1, 2).reshape(out, width)
