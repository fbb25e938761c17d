"""A trained model as files: ours (.nacm), a Hugging Face directory, GGUF.

The exact model file is made by the same conversion that every other Llama model goes through
(nacrith.models.exact.conversion). GGUF is what llama.cpp reads: float16 matrices, and the rows of q and k
reordered so that the two halves of a rotary pair are neighbours (the inverse of
nacrith.models.sources.gguf).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from nacrith import atomic, jsontext
from nacrith.arith import F32
from nacrith.errors import NacrithError
from nacrith.models.exact.conversion import LlamaSource, convert
from nacrith.models.sources.gguf import LAYER_NAMES, NAMES
from nacrith.models.tokenizer.byte_bpe import ByteTokenizer
from nacrith.training.lm.llama import Llama
from nacrith.training.lm.vocabulary import PRE_TOKENIZER


def as_source(model: Llama, tokenizer: ByteTokenizer, info: Mapping[str, str]) -> LlamaSource:
    """The trained model in the form that the conversion expects. info: "name", "source", "licence"."""
    shape = model.shape
    state = {name.removesuffix(".weight"): x for name, x in model.state_dict().items()}

    def tensor(name: str) -> F32:
        return np.asarray(state[name].detach().float().cpu().numpy())

    return LlamaSource(
        layers=shape.layers,
        width=shape.width,
        heads=shape.heads,
        kv_heads=shape.kv_heads,
        head_dim=shape.head_dim,
        ffn=shape.ffn,
        max_context=shape.max_context,
        rms_eps=shape.eps,
        rope_theta=shape.theta,
        bos_id=shape.start,
        tokenizer=tokenizer.definition,
        tensor=tensor,
        info=info,
    )


def write_exact(model: Llama, tokenizer: ByteTokenizer, path: Path, info: Mapping[str, str]) -> bytes:
    """Write the exact model file, with the limits of activations that the model rounds to; returns its
    fingerprint."""
    return convert(as_source(model, tokenizer, info), path, limits=model.limits)


def write_directory(model: Llama, tokenizer: ByteTokenizer, directory: Path) -> None:
    """Write config.json, tokenizer.json and model.safetensors in float32, with transformers' names."""
    from safetensors.torch import save_file

    shape = model.shape
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "attention_bias": False,
        "bos_token_id": shape.start,
        "eos_token_id": shape.start,
        "head_dim": shape.head_dim,
        "hidden_act": "silu",
        "hidden_size": shape.width,
        "intermediate_size": shape.ffn,
        "max_position_embeddings": shape.max_context,
        "mlp_bias": False,
        "num_attention_heads": shape.heads,
        "num_hidden_layers": shape.layers,
        "num_key_value_heads": shape.kv_heads,
        "rms_norm_eps": shape.eps,
        "rope_theta": shape.theta,
        "tie_word_embeddings": True,
        "torch_dtype": "float32",
        "vocab_size": shape.vocab,
    }
    directory.mkdir(parents=True, exist_ok=True)
    texts = {"config.json": config, "tokenizer.json": _tokenizer_json(tokenizer, shape.start)}
    for name, fields in texts.items():
        atomic.write(directory / name, json.dumps(fields, indent=1).encode())
    state = {f"model.{name}": x.detach().float().cpu().contiguous() for name, x in model.state_dict().items()}
    save_file(state, directory / "model.safetensors", {"format": "pt"})


def _tokenizer_json(tokenizer: ByteTokenizer, start: int) -> dict[str, Any]:
    """The definition that the tokenizers library reads. Its ids equal ours for text that does not contain
    the start token's name."""
    fields = jsontext.parse(tokenizer.definition)
    splits = [{"type": "Split", "pattern": {"Regex": p}, "behavior": "Isolated"} for p in fields["patterns"]]
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
    special = {"id": start, "content": fields["vocab"][start], "special": True}
    return {
        "version": "1.0",
        "added_tokens": [special | dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)],
        "pre_tokenizer": {
            "type": "Sequence",
            "pretokenizers": [split | {"invert": False} for split in splits] + [byte_level],
        },
        "decoder": byte_level,
        "model": {
            "type": "BPE",
            "vocab": {token: i for i, token in enumerate(fields["vocab"])},
            "merges": [m.split(" ") for m in fields["merges"]],
            "ignore_merges": fields["whole_words"],
        },
    }


def write_gguf(model: Llama, tokenizer: ByteTokenizer, path: Path, name: str) -> None:
    """Write a GGUF file in float16 (gains in float32)."""
    try:
        import gguf
    except ImportError:
        raise NacrithError(
            f"{path}: writing GGUF needs the package gguf; run: pip install 'nacrith[gguf]'"
        ) from None
    shape, fields = model.shape, jsontext.parse(tokenizer.definition)
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name(name)
    writer.add_block_count(shape.layers)
    writer.add_context_length(shape.max_context)
    writer.add_embedding_length(shape.width)
    writer.add_feed_forward_length(shape.ffn)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.kv_heads)
    writer.add_key_length(shape.head_dim)
    writer.add_value_length(shape.head_dim)
    writer.add_rope_dimension_count(shape.head_dim)
    writer.add_rope_freq_base(shape.theta)
    writer.add_layer_norm_rms_eps(shape.eps)
    writer.add_vocab_size(shape.vocab)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_F16)
    special = set(fields["special"])
    kinds = [gguf.TokenType.CONTROL if i in special else gguf.TokenType.NORMAL for i in range(shape.vocab)]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(PRE_TOKENIZER)
    writer.add_token_list(fields["vocab"])
    writer.add_token_types(kinds)
    writer.add_token_merges(fields["merges"])
    writer.add_bos_token_id(shape.start)
    writer.add_eos_token_id(shape.start)
    for key, tensor in model.state_dict().items():
        parts = key.removesuffix(".weight").split(".", 2)
        array = tensor.detach().float().cpu().numpy()
        if parts[0] == "layers":
            if parts[2].endswith(("q_proj", "k_proj")):
                array = _pairs_together(array, shape.head_dim)
            theirs = f"blk.{parts[1]}.{LAYER_NAMES[parts[2]]}.weight"
        else:
            theirs = f"{NAMES[parts[0]]}.weight"
        writer.add_tensor(theirs, array if array.ndim == 1 else array.astype(np.float16))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _pairs_together(rows: F32, head_dim: int) -> F32:
    """Reorder the rows of each head from halves (0, d/2), (1, d/2 + 1), ... to neighbours (0, 1), (2, 3),
    ..."""
    heads = rows.reshape(-1, 2, head_dim // 2, rows.shape[1])
    return np.ascontiguousarray(heads.swapaxes(1, 2).reshape(rows.shape))
