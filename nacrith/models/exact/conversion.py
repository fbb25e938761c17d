"""Converting float weights into an exact model file, with elementwise arithmetic: equal on every machine.

Each weight matrix is quantised to int8 with one scale per output row; q, k and v are stacked, and so are gate
and up. The embedding is also the output head if the source ties the two.
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

BITS = 10
"""Bits of the rounded inputs of matrix products, unless a conversion is told otherwise: 8 or 10."""


def act_limits(bits: int, down: int | None = None) -> dict[str, int]:
    """The largest magnitude of the rounded input of each kind of product, for activations of 8 or 10 bits.

    down: the bits of the input of the down projection, if they are others.
    """
    kinds = dict.fromkeys(("qkv", "o", "mlp", "head"), bits) | {"down": down or bits}
    assert set(kinds.values()) <= {8, 10}
    return {kind: (1 << (n - 1)) - 1 for kind, n in kinds.items()}


POSITIONS = 1 << 18
"""Default number of positions in a converted model's rotary tables, which limits the length of a lane."""

CONVERSION = 1
"""Version of the conversion. A change after which a source converts to another fingerprint must increase
it, so that models of earlier conversions are no longer used."""

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
"""The tensors of a layer. A source with any others computes something else, and is rejected."""


@dataclass(frozen=True)
class LlamaSource:
    """A Llama-architecture model with float weights, from any kind of source.

    tensor: returns a float32 array (out, in) by its name, in the layout and with the names of Hugging Face,
        without "model." and ".weight" ("layers.0.self_attn.q_proj", ...); KeyError if there is none.
    rope_factors: divisors of the rotary frequencies (position interpolation, Llama 3), or None.

    ModelError for a description that no engine can run.
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
    limits: Mapping[str, int] | None = None,
    positions: int = POSITIONS,
    named: Callable[[bytes], Path] | None = None,
) -> bytes:
    """Convert `source`, and write the model file to `path`; returns its fingerprint.

    name: replaces the name in the source. limits: of the activations, those of BITS if not given. positions:
    the maximum length of a lane. named: as for `modelfile.write`.
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
        rms_eps=float(np.float32(source.rms_eps)),  # as in GGUF: all formats give one file
        tied_head=tied,
        act_limits=dict(limits or act_limits(BITS)),
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
