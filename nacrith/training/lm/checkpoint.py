"""Where training begins: a model by name, a model file, GGUF, or a directory with safetensors, in float32.

A model file holds int8 weights with their scales; what they stand for is a good beginning all the same, so
that whoever has a model to compress with can go on training it.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from nacrith.arith import F32
from nacrith.errors import ModelError
from nacrith.models.exact import modelfile
from nacrith.models.exact.conversion import LlamaSource
from nacrith.models.exact.modelfile import ModelFile
from nacrith.models.sources import registry
from nacrith.models.tokenizer.byte_bpe import ByteTokenizer
from nacrith.training.lm.llama import Llama, Shape

_KINDS = {"input_layernorm": "attn_norm", "post_attention_layernorm": "mlp_norm"}
_MATRICES = {"self_attn.o_proj": "o", "mlp.down_proj": "down"}


def open_source(path: Path) -> LlamaSource:
    """The float weights of a model that is a file or a directory here."""
    if modelfile.fingerprint(path):  # which may be a directory of parts
        return from_exact(modelfile.read(path))
    return registry.read(path)


def from_exact(file: ModelFile) -> LlamaSource:
    """What the integers of a model file stand for, under the names of its source."""
    config, tensors = file.config, file.tensors
    queries, keys = config.heads * config.head_dim, config.kv_heads * config.head_dim
    rows = {
        "self_attn.q_proj": ("qkv", 0, queries),
        "self_attn.k_proj": ("qkv", queries, queries + keys),
        "self_attn.v_proj": ("qkv", queries + keys, queries + 2 * keys),
        "mlp.gate_proj": ("mlp", 0, config.ffn),
        "mlp.up_proj": ("mlp", config.ffn, 2 * config.ffn),
    }

    def matrix(name: str, begin: int = 0, end: int | None = None) -> F32:
        q, scale = tensors[f"{name}.q"][begin:end], tensors[f"{name}.s"][begin:end]
        return np.asarray(q * scale[:, None], np.float32)

    def tensor(name: str) -> F32:
        if name == "norm":
            return tensors["final_norm"]
        if not name.startswith("layers."):
            return matrix({"embed_tokens": "embed", "lm_head": "head"}[name])
        _, index, part = name.split(".", 2)
        if part in _KINDS:
            return tensors[f"layers.{index}.{_KINDS[part]}"]
        kind, begin, end = rows.get(part) or (_MATRICES[part], 0, None)
        return matrix(f"layers.{index}.{kind}", begin, end)

    return LlamaSource(
        layers=config.layers,
        width=config.width,
        heads=config.heads,
        kv_heads=config.kv_heads,
        head_dim=config.head_dim,
        ffn=config.ffn,
        max_context=config.max_context,
        rms_eps=config.rms_eps,
        rope_theta=_theta(file),
        bos_id=config.bos_id,
        tokenizer=tensors["tokenizer"].tobytes(),
        tensor=tensor,
        info=file.info,
    )


def _theta(file: ModelFile) -> float:
    """The base of the rotations, read off the table: frequency i is theta^(-i / half)."""
    cos, sin = file.tensors["rope.fine"][:, 1]
    half = len(cos)
    rates = np.arctan2(sin, cos)
    theta = float(rates[-1] ** (-half / max(1, half - 1)))
    theta = float(f"{theta:.8g}")
    if half < 2 or not np.allclose(rates, theta ** (-np.arange(half) / half), rtol=1e-6, atol=0):
        raise ModelError(
            f"{file.path}: its rotations are scaled, which training does not know: use an unscaled one"
        )
    return theta


def load(source: LlamaSource) -> Llama:
    """A model in float32 that computes what the source does. ModelError if training cannot have it."""
    shape = Shape(
        layers=source.layers,
        ffn=source.ffn,
        vocab=len(source.tensor("embed_tokens")),
        width=source.width,
        heads=source.heads,
        kv_heads=source.kv_heads,
        head_dim=source.head_dim,
        theta=source.rope_theta,
        eps=source.rms_eps,
        max_context=source.max_context,
        start=source.bos_id,
    )
    if source.rope_factors is not None or not _tied(source):
        raise ModelError(
            "training knows Llama models with plain rotations and one matrix for input and output"
        )
    model = Llama(shape)
    state = {
        n: torch.from_numpy(np.array(source.tensor(n.removesuffix(".weight")))) for n in model.state_dict()
    }
    model.load_state_dict(state)
    return model


def tokenizer_of(source: LlamaSource) -> ByteTokenizer:
    """The source's tokenizer."""
    return ByteTokenizer.from_definition(source.tokenizer)


def _tied(source: LlamaSource) -> bool:
    try:
        return bool(np.array_equal(source.tensor("lm_head"), source.tensor("embed_tokens")))
    except KeyError:
        return True
