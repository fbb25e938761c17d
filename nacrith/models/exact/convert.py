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
from nacrith.models.tokenizer import ByteTokenizer

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
    tensors: Tensors = {}

    def raw(name: str) -> F32:
        try:
            return np.asarray(source.tensor(name), dtype=np.float32)
        except KeyError:
            raise ModelError(f"the source model has no tensor {name}: not a Llama architecture?") from None

    def get(name: str, *shape: int) -> F32:
        array = raw(name)
        if array.shape != shape:
            raise ModelError(f"tensor {name} has shape {array.shape}, not {shape}")
        if not np.isfinite(array).all():
            raise ModelError(f"tensor {name} holds values that are not finite")
        return array

    def put(name: str, weights: F32) -> None:
        q, scale = quantise(weights, INT8_MAX)
        tensors[f"{name}.q"] = q.astype(np.int8)
        tensors[f"{name}.s"] = scale[:, 0]

    width, heads = source.width, source.heads * source.head_dim
    kv = source.kv_heads * source.head_dim
    vocab = len(raw("embed_tokens"))
    needed = ByteTokenizer.from_definition(source.tokenizer).vocab_size
    if needed > vocab:
        raise ModelError(
            f"the tokenizer has {needed} tokens and the model rows for {vocab}: they do not belong"
            " together, or the model has no token to spare for bytes without one"
        )
    embed = get("embed_tokens", vocab, width)
    put("embed", embed)
    tied = _is_tied(source, embed)
    if not tied:
        put("head", get("lm_head", vocab, width))
    for i in range(source.layers):
        a, m = f"layers.{i}.self_attn", f"layers.{i}.mlp"
        parts = [get(f"{a}.q_proj", heads, width), *(get(f"{a}.{n}_proj", kv, width) for n in "kv")]
        put(f"layers.{i}.qkv", np.concatenate(parts))
        put(f"layers.{i}.o", get(f"{a}.o_proj", width, heads))
        gate_up = [get(f"{m}.{n}_proj", source.ffn, width) for n in ("gate", "up")]
        put(f"layers.{i}.mlp", np.concatenate(gate_up))
        put(f"layers.{i}.down", get(f"{m}.down_proj", width, source.ffn))
        tensors[f"layers.{i}.attn_norm"] = get(f"layers.{i}.input_layernorm", width)
        tensors[f"layers.{i}.mlp_norm"] = get(f"layers.{i}.post_attention_layernorm", width)
    tensors["final_norm"] = get("norm", width)
    freqs = rope.frequencies(source.head_dim // 2, source.rope_theta, source.rope_factors)
    tables = rope.tables(freqs, positions)
    tensors["rope.fine"], tensors["rope.coarse"] = tables.fine, tables.coarse
    tensors["tokenizer"] = np.frombuffer(source.tokenizer, dtype=np.uint8)
    config = ExactConfig(
        layers=source.layers,
        width=width,
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


def _is_tied(source: LlamaSource, embed: F32) -> bool:
    try:
        return bool(np.array_equal(source.tensor("lm_head"), embed))
    except KeyError:
        return True
