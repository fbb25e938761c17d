"""The word classifier in torch, begun from the lower layers of a BERT checkpoint; see nacrith.prompt.encoder.

Embeddings stay as they are: 4.9 million words of news teach them little, and not training them saves their
part of the optimiser. The norm after them, the layers and the head are trained.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from nacrith import jsontext
from nacrith.errors import ModelError
from nacrith.prompt.encoder import MATRICES, NORMS

_EPS = 1e-12
_BERT = {
    "attention.output.dense": "output",
    "intermediate.dense": "up",
    "output.dense": "down",
}
_BERT_NORMS = {"attention.output.LayerNorm": "attention_norm", "output.LayerNorm": "output_norm"}


class Layer(nn.Module):  # type: ignore[misc]  # torch is not read by mypy
    """Attention and feed-forward part, each followed by its norm."""

    def __init__(self, width: int, inner: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        shapes = {"qkv": (3 * width, width), "output": (width, width)}
        shapes |= {"up": (inner, width), "down": (width, inner)}
        for name in MATRICES:
            self.register_parameter(name, nn.Parameter(torch.empty(shapes[name])))
            self.register_parameter(f"{name}_bias", nn.Parameter(torch.empty(shapes[name][0])))
        for name in NORMS:
            self.register_parameter(name, nn.Parameter(torch.empty(2, width)))

    def _linear(self, name: str, x: Tensor) -> Tensor:
        return functional.linear(x, getattr(self, name), getattr(self, f"{name}_bias"))

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """x: (sentences, pieces, width). mask: (sentences, 1, 1, pieces), false at the padding, or None."""
        count, length, width = x.shape
        qkv = self._linear("qkv", x).view(count, length, 3, self.heads, width // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        mixed = mixed.transpose(1, 2).reshape(count, length, width)
        x = norm(x + self._linear("output", mixed), self.attention_norm)
        inner = functional.gelu(self._linear("up", x), approximate="tanh")
        return norm(x + self._linear("down", inner), self.output_norm)


class Encoder(nn.Module):  # type: ignore[misc]
    """Log odds of keeping for each piece of padded sentences."""

    def __init__(self, embedding: Tensor, position: Tensor, layers: int, inner: int, heads: int) -> None:
        super().__init__()
        width = embedding.shape[1]
        self.heads = heads
        self.register_buffer("embedding", embedding)
        self.register_buffer("position", position)
        self.embedding_norm = nn.Parameter(torch.empty(2, width))
        self.layers = nn.ModuleList(Layer(width, inner, heads) for _ in range(layers))
        self.head = nn.Parameter(torch.zeros(width + 1))

    def forward(self, ids: Tensor, mask: Tensor | None) -> Tensor:
        x = functional.embedding(ids, self.embedding) + self.position[: ids.shape[1]]
        x = norm(x, self.embedding_norm)
        wide = None if mask is None else mask[:, None, None, :]
        for layer in self.layers:
            x = layer(x, wide)
        return x @ self.head[:-1] + self.head[-1]

    def freeze(self, layers: int) -> None:
        """Leave the norm of the embeddings and the lowest layers as they are, if any."""
        for part in self.layers[:layers]:
            part.requires_grad_(False)
        self.embedding_norm.requires_grad_(not layers)

    def arrays(self) -> dict[str, np.ndarray]:
        """What `nacrith.prompt.encoder.write_model` saves."""
        found = {
            "embedding": self.embedding,
            "position": self.position,
            "embedding_norm": self.embedding_norm.flatten(),
            "head": self.head,
        }
        for i, layer in enumerate(self.layers):
            for name in MATRICES:
                found[f"{i}.{name}"] = getattr(layer, name)
                found[f"{i}.{name}.bias"] = getattr(layer, f"{name}_bias")
            for name in NORMS:
                found[f"{i}.{name}"] = getattr(layer, name).flatten()
        return {name: x.detach().float().numpy() for name, x in found.items()}


def norm(x: Tensor, gain_and_bias: Tensor) -> Tensor:
    """LayerNorm over the last axis."""
    return functional.layer_norm(x, x.shape[-1:], gain_and_bias[0], gain_and_bias[1], _EPS)


def read_vocabulary(directory: Path) -> list[str]:
    """The pieces of a BERT checkpoint, in the order of their ids."""
    return (directory / "vocab.txt").read_text(encoding="utf-8").split("\n")[:-1]


def from_bert(directory: Path, chosen: Sequence[int], take: Sequence[int], positions: int) -> Encoder:
    """The encoder begun from a checkpoint (config.json, model.safetensors).

    chosen: ids of the pieces that its vocabulary keeps. take: which layers. positions: longest input.
    """
    from safetensors.torch import load_file

    try:
        config = jsontext.parse((directory / "config.json").read_bytes())
        tensors = load_file(directory / "model.safetensors")
        position = tensors["embeddings.position_embeddings.weight"][:positions]
        kind = tensors["embeddings.token_type_embeddings.weight"][0]
        made = Encoder(
            tensors["embeddings.word_embeddings.weight"][torch.tensor(list(chosen))].float(),
            (position + kind).float(),
            len(take),
            config["intermediate_size"],
            config["num_attention_heads"],
        )
        with torch.no_grad():
            _copy_norm(made.embedding_norm, tensors, "embeddings.LayerNorm")
            for layer, number in zip(made.layers, take, strict=True):
                _copy_layer(layer, tensors, f"encoder.layer.{number}.")
    except (OSError, KeyError, ValueError, RuntimeError) as error:
        raise ModelError(f"{directory}: not a BERT checkpoint that can be begun from: {error}") from None
    return made


def _copy_norm(target: Tensor, tensors: dict[str, Tensor], name: str) -> None:
    target.copy_(torch.stack([tensors[f"{name}.weight"], tensors[f"{name}.bias"]]))


def _copy_layer(layer: nn.Module, tensors: dict[str, Tensor], prefix: str) -> None:
    for theirs, ours in _BERT.items():
        getattr(layer, ours).copy_(tensors[f"{prefix}{theirs}.weight"])
        getattr(layer, f"{ours}_bias").copy_(tensors[f"{prefix}{theirs}.bias"])
    for theirs, ours in _BERT_NORMS.items():
        _copy_norm(getattr(layer, ours), tensors, prefix + theirs)
    for end, target in (("weight", layer.qkv), ("bias", layer.qkv_bias)):
        own = [tensors[f"{prefix}attention.self.{name}.{end}"] for name in ("query", "key", "value")]
        target.copy_(torch.cat(own))
