"""Float weights to an exact model file. Elementwise arithmetic only: every machine makes the same.

Each weight matrix is rounded to int8 with one scale per output row; q, k, v and gate, up are
stacked. The embedding serves as the head too where the source ties them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from nacrith.arith import F32
from nacrith.errors import ModelError
from nacrith.models.exact import modelfile, rope
from nacrith.models.exact.config import MAX_CONTEXT, ExactConfig, check_shape
from nacrith.models.exact.ops import INT8_MAX, quantise
from nacrith.models.exact.tensors import Tensors
from nacrith.models.tokenizer.byte_bpe import ByteTokenizer

ACT_LIMITS = {"qkv": 511, "o": 511, "mlp": 511, "down": 511, "head": 511}

POSITIONS = 1 << 18
"""Positions that a converted model's rotation tables reach unless told: the longest lane."""

CONVERSION = 1
"""Raised with every change after which a source converts to another fingerprint than before: what was
converted earlier is then no longer taken for the result."""

LAYER_TENSORS = (
    "input_layernorm",
    "post_attention_layernorm",
    "self_attn.q_proj",
    "self_attn.k_proj",
    "self_attn.v_proj",
    "self_attn.o_proj",
    "mlp.gate_proj",
    "mlp.up_proj",
    "mlp.down_proj",
)
"""What a layer has. A source with anything more computes something else and is refused."""


@dataclass(frozen=True)
class LlamaSource:
    """A Llama-architecture model in float, wherever it comes from.

    tensor: name -> float32 array (out, in) in the Hugging Face layout and naming without "model."
        and ".weight" ("layers.0.self_attn.q_proj", ...); KeyError if absent.
    rope_factors: divisors of the rotation frequencies (position interpolation, Llama 3), or None.

    ModelError for a description that no engine runs.
    """

    layers: int
    width: int
    heads: int
    kv_heads: int
    head_dim: int
    ffn: int
    max_context: int
    rms_eps: float
    rope_theta: float
    bos_id: int
    tokenizer: bytes
    tensor: Callable[[str], F32]
    info: Mapping[str, str]
    rope_factors: list[float] | None = field(default=None)

    def __post_init__(self) -> None:
        check_shape(self)
        rope.check(self.head_dim // 2, self.rope_theta, self.rope_factors)


def convert(
    source: LlamaSource,
    path: Path,
    *,
    name: str | None = None,
    positions: int = POSITIONS,
    named: Callable[[bytes], Path] | None = None,
) -> bytes:
    """Write the exact model of `source` to `path`; returns its fingerprint.

    name: replaces the source's own. positions: the length that a lane can reach. named: see
    `modelfile.write`.
    """
    vocab = len(_raw(source, "embed_tokens"))
    needed = ByteTokenizer.from_definition(source.tokenizer).vocab_size
    if needed > vocab:
        raise ModelError(
            f"the tokenizer has {needed} tokens and the model rows for {vocab}: they do not belong"
            " together, or the model has no token to spare for bytes without one"
        )
    tensors: Tensors = {}
    embed = _get(source, "embed_tokens", vocab, source.width)
    _put(tensors, "embed", embed)
    tied = _is_tied(source, embed)
    if not tied:
        _put(tensors, "head", _get(source, "lm_head", vocab, source.width))
    for layer in range(source.layers):
        _convert_layer(source, layer, tensors)
    tensors["final_norm"] = _get(source, "norm", source.width)
    freqs = rope.frequencies(source.head_dim // 2, source.rope_theta, source.rope_factors)
    tables = rope.tables(freqs, positions)
    tensors["rope.fine"], tensors["rope.coarse"] = tables.fine, tables.coarse
    tensors["tokenizer"] = np.frombuffer(source.tokenizer, dtype=np.uint8)
    config = ExactConfig(
        layers=source.layers,
        width=source.width,
        heads=source.heads,
        kv_heads=source.kv_heads,
        head_dim=source.head_dim,
        ffn=source.ffn,
        vocab=vocab,
        max_context=min(source.max_context, MAX_CONTEXT),
        bos_id=source.bos_id,
        rms_eps=float(np.float32(source.rms_eps)),  # as GGUF files hold it: one model, one file
        tied_head=tied,
        act_limits=ACT_LIMITS,
    )
    info = {**source.info, **({"name": name} if name else {})}
    return modelfile.write(path, config, tensors, info, named=named)


def _convert_layer(source: LlamaSource, layer: int, tensors: Tensors) -> None:
    """Add the tensors of one layer."""
    width, heads, kv = source.width, source.heads * source.head_dim, source.kv_heads * source.head_dim
    at = f"layers.{layer}"
    a, m = f"{at}.self_attn", f"{at}.mlp"
    qkv = [
        _get(source, f"{a}.q_proj", heads, width),
        *(_get(source, f"{a}.{n}_proj", kv, width) for n in "kv"),
    ]
    _put(tensors, f"{at}.qkv", np.concatenate(qkv))
    _put(tensors, f"{at}.o", _get(source, f"{a}.o_proj", width, heads))
    gate_up = [_get(source, f"{m}.{n}_proj", source.ffn, width) for n in ("gate", "up")]
    _put(tensors, f"{at}.mlp", np.concatenate(gate_up))
    _put(tensors, f"{at}.down", _get(source, f"{m}.down_proj", width, source.ffn))
    tensors[f"{at}.attn_norm"] = _get(source, f"{at}.input_layernorm", width)
    tensors[f"{at}.mlp_norm"] = _get(source, f"{at}.post_attention_layernorm", width)


def _raw(source: LlamaSource, name: str) -> F32:
    try:
        return np.asarray(source.tensor(name), dtype=np.float32)
    except KeyError:
        raise ModelError(f"the source model has no tensor {name}: not a Llama architecture?") from None


def _get(source: LlamaSource, name: str, *shape: int) -> F32:
    """A tensor of the source; ModelError if it has another shape or holds values that are not finite."""
    array = _raw(source, name)
    if array.shape != shape:
        raise ModelError(f"tensor {name} has shape {array.shape}, not {shape}")
    if not np.isfinite(array).all():
        raise ModelError(f"tensor {name} holds values that are not finite")
    return array


def _put(tensors: Tensors, name: str, weights: F32) -> None:
    """Add a matrix in int8 (NAME.q), with one scale for each row (NAME.s)."""
    q, scale = quantise(weights, INT8_MAX)
    tensors[f"{name}.q"] = q.astype(np.int8)
    tensors[f"{name}.s"] = scale[:, 0]


def _is_tied(source: LlamaSource, embed: F32) -> bool:
    try:
        return bool(np.array_equal(source.tensor("lm_head"), embed))
    except KeyError:
        return True
