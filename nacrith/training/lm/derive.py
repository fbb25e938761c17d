"""A smaller model out of a larger one: fewer layers, narrower feed-forward parts, another vocabulary.

Each layer of the small model stands for a group of neighbouring layers of the large one. It takes over the
strongest of their groups of heads and of their neurons, and its two output matrices are then fitted by
weighted least squares, so that the small model's stream, with all its errors so far, lands where the large
one's stream is behind the group. What is solved in closed form on some ten thousand tokens does not have to
be healed by gradient steps. Token rows are taken over by their bytes; a token that the large vocabulary lacks
gets the mean of the pieces that the large tokenizer makes of it (Gee et al. 2022, "Fast vocabulary
transfer").

Related: FLAP (An et al. 2024) and SliceGPT (Ashkboos et al. 2024) repair pruned matrices by regression;
ShortGPT (Men et al. 2024) drops layers whole.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from itertools import pairwise

import torch
from torch import Tensor
from torch.nn import functional

from nacrith.errors import ModelError
from nacrith.models.tokenizer.byte_bpe import ByteTokenizer
from nacrith.training.lm.llama import Layer, Llama, Shape, rotation
from nacrith.training.lm.vocabulary import START_ID

RIDGE = 0.02
"""Pull of the fit towards the weights taken over, in units of the mean square of the features."""

Log = Callable[[str], None]


def with_vocabulary(large: Llama, old: ByteTokenizer, new: ByteTokenizer) -> Llama:
    """The same layers with rows for the tokens of `new`."""
    table = large.embed_tokens.weight.detach()
    rows = [table[list(old.encode(new.decode([i])))].mean(0) for i in range(new.vocab_size) if i != START_ID]
    rows.insert(START_ID, table[large.shape.start])
    model = Llama(replace(large.shape, vocab=new.vocab_size, start=START_ID))
    state = large.state_dict() | {"embed_tokens.weight": torch.stack(rows)}
    model.load_state_dict(state)
    return model


@torch.no_grad()  # type: ignore[untyped-decorator]
def derive(large: Llama, groups: Sequence[Sequence[int]], ffn: int, ids: Tensor, log: Log) -> Llama:
    """The small model. groups: which layers each of its layers stands for, in order. ffn: its neurons.

    ids: (sequences, tokens) to fit on, some ten thousand tokens in all.
    """
    small = Llama(smaller(large.shape, groups, ffn, ids.shape[1]))
    small.embed_tokens.load_state_dict(large.embed_tokens.state_dict())
    small.norm.load_state_dict(large.norm.state_dict())
    turn = rotation(large.shape, ids.shape[1], ids.device)
    theirs = functional.embedding(ids, large.embed_tokens.weight)
    ours = theirs.clone()
    for layer, group in zip(small.layers, groups, strict=True):
        members = [large.layers[i] for i in group]
        for member in members:
            theirs = _in_parts(partial(member, turn=turn), theirs)
        _take_heads(layer, members, ours, turn)
        weight = theirs.square().mean(-1, keepdim=True).rsqrt()
        gathered = _in_parts(partial(layer.heads, turn=turn), ours)
        _take_neurons(layer, members, ours + layer.self_attn["o_proj"](gathered))
        both = torch.cat([gathered, layer.neurons(ours + layer.self_attn["o_proj"](gathered))], -1)
        start = torch.cat([layer.self_attn["o_proj"].weight, layer.mlp["down_proj"].weight], 1)
        fitted = _fit(both, theirs - ours, weight, start)
        layer.self_attn["o_proj"].weight.copy_(fitted[:, : gathered.shape[-1]])
        middle = ours + layer.self_attn["o_proj"](gathered)
        active = layer.neurons(middle)  # once more: their input has moved with the output of the heads
        layer.mlp["down_proj"].weight.copy_(
            _fit(active, theirs - middle, weight, fitted[:, gathered.shape[-1] :])
        )
        ours = middle + layer.mlp["down_proj"](active)
        balance(layer)
        miss = ((theirs - ours) * weight).square().mean()
        log(f"layers {group}: {miss:.3f} of the stream's square is missed")
    return small


def smaller(shape: Shape, groups: Sequence[Sequence[int]], ffn: int, length: int) -> Shape:
    """Of the derived model. length: of the windows that it is made and trained on: it looks back twice as far
    at most, since what the large model knew of more distant text is lost (bench.coding.blocks)."""
    return replace(shape, layers=len(groups), ffn=ffn, max_context=min(shape.max_context, 2 * length))


def grouping(large: int, small: int) -> list[list[int]]:
    """Which layers of `large` each of `small` layers stands for: the ends alone, the middle in even groups.

    The first and the last layers change the stream most (Men et al. 2024).
    """
    if not 1 <= small <= large:
        raise ModelError(f"a model of {large} layers cannot become one of {small}")
    first, last = min(small - 1, max(1, small // 4)), small // 6
    middle = small - first - last
    cuts = [first + (large - first - last) * i // middle for i in range(middle + 1)]
    inner = [list(range(a, b)) for a, b in pairwise(cuts)]
    return [[i] for i in range(first)] + inner + [[i] for i in range(large - last, large)]


def _in_parts(step: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """`step` over some sequences at a time: bounds the memory of what lies between."""
    return torch.cat([step(part) for part in x.split(8)])


def _take_heads(layer: Layer, members: Sequence[Layer], stream: Tensor, turn: tuple[Tensor, Tensor]) -> None:
    """The groups of heads (keys, values and the queries that share them) that put most into the stream."""
    shape = layer.shape
    rows = shape.heads // shape.kv_heads * shape.head_dim
    layer.input_layernorm.weight.fill_(1.0)  # gains go into the matrices: members have different ones
    strength, parts = [], []
    for member in members:
        gain = member.input_layernorm.weight
        found = _in_parts(partial(member.heads, turn=turn), stream[: min(16, len(stream))]).flatten(0, 1)
        for g in range(shape.kv_heads):
            mine, keys = slice(g * rows, (g + 1) * rows), slice(g * shape.head_dim, (g + 1) * shape.head_dim)
            output = member.self_attn["o_proj"].weight[:, mine]
            strength.append(functional.linear(found[4:, mine], output).square().mean())
            q, k, v = (member.self_attn[f"{n}_proj"].weight * gain for n in "qkv")
            parts.append((q[mine], k[keys], v[keys], output))
    best = torch.stack(strength).topk(shape.kv_heads).indices.sort().values.tolist()
    for i, name in enumerate("qkv"):
        layer.self_attn[f"{name}_proj"].weight.copy_(torch.cat([parts[b][i] for b in best]))
    layer.self_attn["o_proj"].weight.copy_(torch.cat([parts[b][3] for b in best], 1))


def _take_neurons(layer: Layer, members: Sequence[Layer], stream: Tensor) -> None:
    """The neurons that put most into the stream."""
    layer.post_attention_layernorm.weight.fill_(1.0)
    strength, parts = [], []
    for member in members:
        gain = member.post_attention_layernorm.weight
        down = member.mlp["down_proj"].weight
        sums = sum(member.neurons(x).flatten(0, 1).square().sum(0) for x in stream[:16].split(8))
        strength.append(sums * down.square().sum(0))
        parts.append((member.mlp["gate_proj"].weight * gain, member.mlp["up_proj"].weight * gain, down.T))
    best = torch.cat(strength).topk(layer.shape.ffn).indices.sort().values
    gate, up, down = (torch.cat([p[i] for p in parts])[best] for i in range(3))
    layer.mlp["gate_proj"].weight.copy_(gate)
    layer.mlp["up_proj"].weight.copy_(up)
    layer.mlp["down_proj"].weight.copy_(down.T)


@torch.no_grad()  # type: ignore[untyped-decorator]
def balance(layer: Layer) -> None:
    """Move scale between matrices so that each pair that is multiplied has equal norms: queries and keys,
    values and outputs, ups and downs. The same function; but Adam moves every weight as far, so that a small
    matrix before a large one would be destroyed before the other has learnt anything."""
    shape = layer.shape
    size, share = shape.head_dim, shape.heads // shape.kv_heads
    q, k, v, o = (layer.self_attn[f"{n}_proj"].weight for n in "qkvo")
    for g in range(shape.kv_heads):
        mine, keys = slice(g * share * size, (g + 1) * share * size), slice(g * size, (g + 1) * size)
        even = _root_mean_square(q[mine]) / _root_mean_square(k[keys])
        q[mine] /= even.sqrt()
        k[keys] *= even.sqrt()
        even = _root_mean_square(o[:, mine]) / _root_mean_square(v[keys])
        o[:, mine] /= even.sqrt()
        v[keys] *= even.sqrt()
    up, down = layer.mlp["up_proj"].weight, layer.mlp["down_proj"].weight
    even = (down.norm(dim=0) / up.norm(dim=1).clamp_min(1e-12)).clamp_min(1e-12)
    up *= even.sqrt()[:, None]
    down /= even.sqrt()


def _root_mean_square(x: Tensor) -> Tensor:
    return x.square().mean().sqrt()


def _fit(features: Tensor, target: Tensor, weight: Tensor, start: Tensor) -> Tensor:
    """The matrix (outputs, features) nearest to `start` that makes `target` of `features`.

    Tokens count by the inverse of their stream's square, since the next layer normalises it.
    """
    x, y = ((t * weight).flatten(0, 1).double() for t in (features, target))
    gram = x.T @ x
    scale = gram.diagonal().mean() * RIDGE
    gram.diagonal().add_(scale)
    return torch.linalg.solve(gram, x.T @ y + scale * start.T.double()).T.float()
