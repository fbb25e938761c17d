"""Reading a Llama-architecture GGUF file (any quantisation that the `gguf` package dequantises).

GGUF names tensors its own way and stores the rows of q and k permuted, so that rotary pairs are
neighbours (0, 1), (2, 3), ...; `_unpermute` brings them back to halves (0, d/2), (1, d/2 + 1), ...
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from nacrith.arith import F32
from nacrith.errors import ModelError
from nacrith.models.exact.convert import LlamaSource
from nacrith.models.tokenizer_import import from_gguf_fields

_LAYER_NAMES = {
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
_NAMES = {"embed_tokens": "token_embd", "norm": "output_norm", "lm_head": "output"}


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
    except (OSError, ValueError, IndexError) as error:
        raise ModelError(f"{path}: not a readable GGUF file ({error})") from None
    fields: dict[str, Any] = {name: field.contents() for name, field in reader.fields.items()}
    tensors = {t.name: t for t in reader.tensors}
    if fields.get("general.architecture") != "llama":
        found = fields.get("general.architecture")
        raise ModelError(f"{path}: architecture {found!r}; the exact engine runs 'llama' only")

    def number(key: str, default: float | None = None) -> Any:
        value = fields.get(f"llama.{key}", default)
        if value is None:
            raise ModelError(f"{path}: the GGUF lacks llama.{key}")
        return value

    heads = int(number("attention.head_count"))
    kv_heads = int(number("attention.head_count_kv", heads))
    width = int(number("embedding_length"))

    def tensor(name: str) -> F32:
        if name.startswith("layers."):
            _, index, rest = name.split(".", 2)
            key = f"blk.{index}.{_LAYER_NAMES[rest]}.weight"
        else:
            key = f"{_NAMES[name]}.weight"
        found = tensors[key]
        array = np.asarray(gguf.dequantize(found.data, found.tensor_type), dtype=np.float32)
        if name.endswith("q_proj"):
            return _unpermute(array, heads)
        if name.endswith("k_proj"):
            return _unpermute(array, kv_heads)
        return array

    return LlamaSource(
        layers=int(number("block_count")),
        width=width,
        heads=heads,
        kv_heads=kv_heads,
        head_dim=int(number("attention.key_length", width // heads)),
        ffn=int(number("feed_forward_length")),
        max_context=int(number("context_length")),
        rms_eps=float(number("attention.layer_norm_rms_epsilon")),
        rope_theta=float(number("rope.freq_base", 10000.0)),
        rope_factors=_rope_factors(
            path, fields, tensors, int(number("attention.key_length", width // heads))
        ),
        bos_id=int(fields.get("tokenizer.ggml.bos_token_id", 0)),
        tokenizer=from_gguf_fields(fields).definition,
        tensor=tensor,
        info={
            "name": str(fields.get("general.name", path.stem)),
            "source": path.name,
            "licence": str(fields.get("general.license", "unknown")),
        },
    )


def _rope_factors(
    path: Path, fields: dict[str, Any], tensors: dict[str, Any], head_dim: int
) -> list[float] | None:
    half = head_dim // 2
    if "rope_freqs.weight" in tensors:  # Llama 3's bands, one divisor per frequency
        return [float(f) for f in np.asarray(tensors["rope_freqs.weight"].data, np.float32).ravel()]
    kind = fields.get("llama.rope.scaling.type", "none")
    if kind == "linear":
        return [float(fields["llama.rope.scaling.factor"])] * half
    if kind != "none":
        raise ModelError(f"{path}: rotary scaling {kind!r} is not supported (none, linear, llama3 are)")
    if int(fields.get("llama.rope.dimension_count", head_dim)) != head_dim:
        raise ModelError(f"{path}: partial rotary embedding is not supported")
    return None


def _unpermute(rows: F32, heads: int) -> F32:
    out, width = rows.shape
    split = rows.reshape(heads, out // heads // 2, 2, width)
    return split.swapaxes(1, 2).reshape(out, width)
