"""The committed tiny model's float weights, and a GGUF file of them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from paths import TINY_HF

from nacrith.models.sources.safetensors import read_safetensors

CONFIG = json.loads((TINY_HF / "config.json").read_text())
HEADS, KV_HEADS = CONFIG["num_attention_heads"], CONFIG["num_key_value_heads"]


def names() -> list[str]:
    out = ["embed_tokens", "norm"]
    for i in range(CONFIG["num_hidden_layers"]):
        out += [f"layers.{i}.{n}" for n in ("input_layernorm", "post_attention_layernorm")]
        out += [f"layers.{i}.self_attn.{n}_proj" for n in "qkvo"]
        out += [f"layers.{i}.mlp.{n}_proj" for n in ("gate", "up", "down")]
    return out


def weights() -> dict[str, np.ndarray]:
    source = read_safetensors(TINY_HF)
    return {name: source.tensor(name) for name in names()}


GGUF_NAMES = {
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


def interleaved(rows: np.ndarray, heads: int) -> np.ndarray:
    """Rows of q or k as llama.cpp keeps them: the two halves of each head take turns."""
    half = len(rows) // heads // 2
    order = [h * 2 * half + i + j * half for h in range(heads) for i in range(half) for j in (0, 1)]
    return rows[order]


def write_gguf(
    path: Path,
    kind: gguf.GGMLQuantizationType,
    *,
    architecture: str = "llama",
    skip: tuple[str, ...] = (),
    extra: Mapping[str, np.ndarray] | None = None,
    fields: Mapping[str, Any] | None = None,
    tokenizer: str = "gpt2",
) -> None:
    """The tiny model; matrices in `kind`, vectors in F32."""
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_name("tiny")
    numbers = {
        "block_count": CONFIG["num_hidden_layers"],
        "embedding_length": CONFIG["hidden_size"],
        "feed_forward_length": CONFIG["intermediate_size"],
        "context_length": CONFIG["max_position_embeddings"],
        "attention.head_count": HEADS,
        "attention.head_count_kv": KV_HEADS,
        "rope.dimension_count": CONFIG["head_dim"],
    }
    for name, value in numbers.items():
        if name not in skip:
            writer.add_uint32(f"{architecture}.{name}", value)
    writer.add_float32(f"{architecture}.attention.layer_norm_rms_epsilon", CONFIG["rms_norm_eps"])
    writer.add_float32(f"{architecture}.rope.freq_base", CONFIG["rope_theta"])
    for name, value in (fields or {}).items():
        if isinstance(value, str):
            writer.add_string(name, value)
        elif isinstance(value, float):
            writer.add_float32(name, value)
        else:
            writer.add_uint32(name, value)
    model = json.loads((TINY_HF / "tokenizer.json").read_text())["model"]
    tokens = sorted(model["vocab"], key=model["vocab"].get)
    writer.add_tokenizer_model(tokenizer)
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(tokens)
    writer.add_token_types([3] * 3 + [1] * (len(tokens) - 3))
    writer.add_token_merges([m if isinstance(m, str) else " ".join(m) for m in model["merges"]])
    writer.add_bos_token_id(CONFIG["bos_token_id"])
    tensors = {"token_embd": weights()["embed_tokens"], "output_norm": weights()["norm"]}
    for name, array in weights().items():
        if name.startswith("layers."):
            _, i, rest = name.split(".", 2)
            if rest.endswith(("q_proj", "k_proj")):
                array = interleaved(array, HEADS if rest.endswith("q_proj") else KV_HEADS)
            tensors[f"blk.{i}.{GGUF_NAMES[rest]}"] = array
    for name, array in {**tensors, **(extra or {})}.items():
        if name in skip:
            continue
        if array.ndim == 1 or kind == gguf.GGMLQuantizationType.F32:
            writer.add_tensor(f"{name}.weight", array.astype(np.float32))
        else:
            writer.add_tensor(f"{name}.weight", gguf.quantize(array, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
