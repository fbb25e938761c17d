"""Rounding the weights of a trained model so that its outputs change least (GPTQ, Frantar et al. 2023).

The conversion rounds each weight to the nearest multiple of its row's scale. Here the columns of a matrix
are rounded one after another, and the columns still to come make up for the error of each as far as the
inputs of the matrix are correlated. The results are multiples of the very scales that the conversion finds,
so it changes nothing more. Sums of floats are fine here, since this is done once: what is hashed is the
result.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from nacrith.models.exact.ops import INT8_MAX
from nacrith.training.lm.llama import Layer, Llama, Projection, rotation, rounded

DAMPING = 0.01
"""Added to the diagonal of the products of the inputs, in units of its mean."""


@torch.no_grad()  # type: ignore[untyped-decorator]
def round_weights(model: Llama, ids: Tensor) -> float:
    """Round the matrices of all layers in place, for the text of ids (sequences, tokens).

    Each layer sees the inputs that the layers before it give when rounded. The embedding is left to the
    conversion. Returns the mean, over the matrices, of the squared error of their outputs in units of that of
    rounding to the nearest: at most 1.
    """
    was = model.quantised
    model.quantise(True)
    turn = rotation(model.shape, ids.shape[1], ids.device)
    x = functional.embedding(ids, model.table())
    shares = []
    for layer in model.layers:
        x, found = _round_layer(layer, x, turn)
        shares += found
    model.quantise(was)
    return sum(shares) / len(shares)


def _round_layer(layer: Layer, x: Tensor, turn: tuple[Tensor, Tensor]) -> tuple[Tensor, list[float]]:
    """Round a layer for the stream x before it. Returns the stream behind it, and the matrices' shares."""
    a, m = layer.self_attn, layer.mlp
    shares = _round_all([a["q_proj"], a["k_proj"], a["v_proj"]], layer.input_layernorm(x))
    gathered = layer.heads(x, turn)
    shares += _round_all([a["o_proj"]], gathered)
    x = x + a["o_proj"](gathered)
    shares += _round_all([m["gate_proj"], m["up_proj"]], layer.post_attention_layernorm(x))
    active = layer.neurons(x)
    shares += _round_all([m["down_proj"]], active)
    return x + m["down_proj"](active), shares


def _round_all(parts: Sequence[Projection], inputs: Tensor) -> list[float]:
    """Round matrices that have the same inputs."""
    seen = rounded(inputs, parts[0].limit).flatten(0, -2)
    gram = (seen.T @ seen).double()
    shares = []
    for part in parts:
        made, share = rounded_for(part.weight, gram)
        part.weight.copy_(made)
        shares.append(share)
    return shares


def rounded_for(weight: Tensor, gram: Tensor) -> tuple[Tensor, float]:
    """The rounding of a matrix (out, in) for inputs x with the given sum of x x^T (in, in), in binary64.

    Returns it with its share of the squared error of rounding to the nearest: at most 1, since a row is only
    changed if that makes its outputs better.
    """
    scale = weight.abs().amax(1, keepdim=True).clamp_min(2.0**-100) / INT8_MAX
    near = (weight / scale).round()
    ready = _with_feedback(weight / scale, near, gram).to(near.dtype)
    worse, better = (_errors(weight / scale - q, gram) for q in (near, ready))
    chosen = torch.where((better < worse)[:, None], ready, near)
    units = scale[:, 0].double().square()
    before = float((worse * units).sum())
    return chosen * scale, float((torch.minimum(better, worse) * units).sum()) / before if before else 1.0


def _errors(difference: Tensor, gram: Tensor) -> Tensor:
    """The summed squares of the errors of each row's outputs."""
    wide = difference.double()
    return ((wide @ gram) * wide).sum(1)


def _with_feedback(weight: Tensor, near: Tensor, gram: Tensor) -> Tensor:
    """Integers for a matrix in units of its scales. The largest of each row stays, as it makes the scale."""
    size = len(gram)
    damped = gram + torch.eye(size, dtype=gram.dtype, device=gram.device) * (
        gram.diagonal().mean() * DAMPING + 1e-30
    )
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(damped))
    factor = torch.linalg.cholesky(inverse, upper=True).float()
    fixed = near.abs() == INT8_MAX
    left = weight.float().clone()
    out = torch.empty_like(left)
    for j in range(size):
        q = left[:, j].round().clamp(-INT8_MAX, INT8_MAX)
        out[:, j] = torch.where(fixed[:, j], near[:, j], q)
        error = (left[:, j] - out[:, j]) / factor[j, j]
        left[:, j + 1 :] -= error[:, None] * factor[j, j + 1 :]
    return out
