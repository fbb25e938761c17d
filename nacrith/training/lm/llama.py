"""The Llama architecture in torch, reduced to what training needs, with Hugging Face's tensor names.

Attention with rotary positions and grouped keys (Touvron et al. 2023), a gated feed-forward block,
RMSNorm before each, and tied embeddings. `quantised` applies the roundings of the exact engine
(formats/arithmetic-v1.md) in the forward pass, with straight-through gradients, so that training sees the
effect of int8 weights and of activations of 8 or 10 bits.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from nacrith.models.exact.conversion import BITS, act_limits
from nacrith.models.exact.ops import INT8_MAX
from nacrith.training.lm import fused
from nacrith.training.lm.vocabulary import START_ID


@dataclass(frozen=True)
class Shape:
    """Hyper-parameters. The defaults are shared by SmolLM2-135M and the models derived from it.

    start: the token at the beginning of every lane.
    """

    layers: int
    ffn: int
    vocab: int
    width: int = 576
    heads: int = 9
    kv_heads: int = 3
    head_dim: int = 64
    theta: float = 100_000.0
    eps: float = 1e-5
    max_context: int = 2048
    start: int = START_ID

    def parameters(self) -> int:
        """Number of weights and gains, with the embedding counted once."""
        attention = 2 * (self.heads + self.kv_heads) * self.head_dim * self.width
        layer = attention + 3 * self.ffn * self.width + 2 * self.width
        return self.layers * layer + (self.vocab + 1) * self.width


class Projection(nn.Linear):  # type: ignore[misc]  # torch is not read by mypy
    """A matrix product without bias. limit: of its quantised input, as in the exact engine."""

    def __init__(self, inputs: int, outputs: int, kind: str) -> None:
        super().__init__(inputs, outputs, bias=False)
        self.kind = kind
        self.limit = act_limits(BITS)[kind]
        self.quantised = False

    def forward(self, x: Tensor) -> Tensor:
        if not self.quantised:
            return functional.linear(x, self.weight)
        return functional.linear(rounded(x, self.limit), rounded(self.weight, INT8_MAX))


class Layer(nn.Module):  # type: ignore[misc]
    """Attention, then the feed-forward block, each added to the residual stream."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        width, queries, keys = shape.width, shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
        self.input_layernorm = nn.RMSNorm(width, shape.eps)
        self.post_attention_layernorm = nn.RMSNorm(width, shape.eps)
        self.self_attn = nn.ModuleDict(
            {
                "q_proj": Projection(width, queries, "qkv"),
                "k_proj": Projection(width, keys, "qkv"),
                "v_proj": Projection(width, keys, "qkv"),
                "o_proj": Projection(queries, width, "o"),
            }
        )
        self.mlp = nn.ModuleDict(
            {
                "gate_proj": Projection(width, shape.ffn, "mlp"),
                "up_proj": Projection(width, shape.ffn, "mlp"),
                "down_proj": Projection(shape.ffn, width, "down"),
            }
        )

    def heads(self, x: Tensor, turn: tuple[Tensor, Tensor]) -> Tensor:
        """Attention output for the stream x (sequences, tokens, width): (sequences, tokens, heads *
        head_dim)."""
        count, length, _ = x.shape
        x = self.input_layernorm(x)
        q, k, v = (
            self.self_attn[f"{n}_proj"](x).view(count, length, -1, self.shape.head_dim).transpose(1, 2)
            for n in "qkv"
        )
        q, k = rotate(q, turn), rotate(k, turn)
        mixed = functional.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
        return mixed.transpose(1, 2).reshape(count, length, -1)

    def neurons(self, x: Tensor) -> Tensor:
        """Activations of the feed-forward block for the stream x: (sequences, tokens, ffn)."""
        x = self.post_attention_layernorm(x)
        return functional.silu(self.mlp["gate_proj"](x)) * self.mlp["up_proj"](x)

    def forward(self, x: Tensor, turn: tuple[Tensor, Tensor]) -> Tensor:
        x = x + self.self_attn["o_proj"](self.heads(x, turn))
        return x + self.mlp["down_proj"](self.neurons(x))


class Llama(nn.Module):  # type: ignore[misc]
    """Maps token ids to the stream before the output matrix; `logits` and `loss` continue from there."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.embed_tokens = nn.Embedding(shape.vocab, shape.width)
        self.layers = nn.ModuleList(Layer(shape) for _ in range(shape.layers))
        self.norm = nn.RMSNorm(shape.width, shape.eps)
        self.quantised = False
        self._trained = Layer.forward  # what computes a layer while gradients are recorded
        self.round_to(BITS)

    def compile_layers(self) -> None:
        """Compile what training computes of a layer, once for all layers and each shape of a batch: norms,
        rotations and gates then pass over memory once. `machine.compiles` says whether it works here."""
        self._trained = torch.compile(Layer.forward, dynamic=False)

    def initialise(self, seed: int) -> None:
        """Random initial weights: normal; outputs into the stream decrease with depth."""
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for name, weight in self.named_parameters():
                if weight.ndim == 1:
                    weight.fill_(1.0)
                else:
                    into_stream = name.endswith(("o_proj.weight", "down_proj.weight"))
                    shrink = (2 * self.shape.layers) ** -0.5 if into_stream else 1.0
                    weight.normal_(0.0, 0.02 * shrink, generator=generator)

    def round_to(self, bits: int) -> None:
        """Choose the bits of activations, 8 or 10, for when the roundings are on."""
        self.limits = act_limits(bits)
        for part in self.modules():
            if isinstance(part, Projection):
                part.limit = self.limits[part.kind]

    def quantise(self, on: bool) -> None:
        """Switch the exact engine's roundings on or off."""
        self.quantised = on
        for part in self.modules():
            if isinstance(part, Projection):
                part.quantised = on

    def table(self) -> Tensor:
        """The embedding and output matrix, rounded if quantised."""
        return rounded(self.embed_tokens.weight, INT8_MAX) if self.quantised else self.embed_tokens.weight

    def forward(self, ids: Tensor) -> Tensor:
        """ids: (sequences, tokens), each from position 0. Returns (sequences, tokens, width), normalised."""
        x = functional.embedding(ids, self.table())
        turn = rotation(self.shape, ids.shape[1], x.device)
        compute = self._trained if torch.is_grad_enabled() else Layer.forward
        for layer in self.layers:
            x = compute(layer, x, turn)
        return self.norm(x)

    def logits(self, stream: Tensor) -> Tensor:
        """(..., width) of `forward` to (..., vocab)."""
        if self.quantised:
            stream = rounded(stream, self.limits["head"])
        return functional.linear(stream, self.table())

    def loss(self, ids: Tensor) -> Tensor:
        """Mean nats per token of ids (sequences, tokens + 1), given the first one of each sequence."""
        stream = self(ids[:, :-1])
        if self.quantised:
            stream = rounded(stream, self.limits["head"])
        half = torch.is_autocast_enabled(stream.device.type)
        return fused.cross_entropy(stream.flatten(0, 1), self.table(), ids[:, 1:].flatten(), half)


def rotation(shape: Shape, length: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Cosines and sines, each (length, head_dim / 2)."""
    half = shape.head_dim // 2
    rates = shape.theta ** (-torch.arange(half, dtype=torch.float64, device=device) / half)
    angles = torch.arange(length, dtype=torch.float64, device=device)[:, None] * rates
    return angles.cos().float(), angles.sin().float()


def rotate(x: Tensor, turn: tuple[Tensor, Tensor]) -> Tensor:
    """x: (..., tokens, head_dim), whose halves are the two coordinates of each pair."""
    cos, sin = (t.to(x.dtype) for t in turn)
    a, b = x.chunk(2, dim=-1)
    return torch.cat([a * cos - b * sin, b * cos + a * sin], dim=-1)


def rounded(x: Tensor, limit: int) -> Tensor:
    """x rounded per row to the integers of [-limit, limit] times a scale; its gradient is x's."""
    scale = x.detach().abs().amax(-1, keepdim=True).clamp_min(1e-30) / limit
    near = (x.detach() / scale).round() * scale
    return x + (near - x.detach())
