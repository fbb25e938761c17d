"""Muon for the matrices inside the layers (Jordan et al. 2024), AdamW for everything else.

Muon's update of a matrix is its momentum, orthogonalised by five Newton-Schulz steps and scaled to the
root mean square of AdamW's updates (Liu et al. 2025, "Muon is scalable for LLM training"), so that both
parts use the same rate. For small batches on a CPU, the Newton-Schulz steps cost as much as they gain;
`muon=False` is AdamW alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

_NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
_STEPS = 5
_MOMENTUM = 0.95
_LIKE_ADAM = 0.2  # root mean square of an AdamW update, in units of the rate


class Muon(torch.optim.Optimizer):  # type: ignore[misc]  # torch is not read by mypy
    """For matrices only."""

    def __init__(self, parameters: Iterable[Any], rate: float, decay: float) -> None:
        super().__init__(list(parameters), {"lr": rate, "weight_decay": decay})

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def step(self, closure: None = None) -> None:
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is None:
                    continue
                state = self.state[weight]
                if not state:
                    state["momentum"] = torch.zeros_like(weight)
                momentum = state["momentum"].lerp_(weight.grad, 1 - _MOMENTUM)
                update = orthogonal(weight.grad.lerp(momentum, _MOMENTUM))
                scale = _LIKE_ADAM * max(weight.shape) ** 0.5
                weight.mul_(1 - group["lr"] * group["weight_decay"])
                weight.add_(update.to(weight.dtype), alpha=-group["lr"] * scale)


def orthogonal(matrix: Tensor) -> Tensor:
    """About U V' of the matrix U S V', its singular values between 0.7 and 1.2."""
    x = matrix.bfloat16() if matrix.is_cuda else matrix
    x = x / (x.norm() + 1e-7)
    tall = x.shape[0] > x.shape[1]
    if tall:
        x = x.T
    a, b, c = _NEWTON_SCHULZ
    for _ in range(_STEPS):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.T if tall else x


USUAL = 0.05
"""Root mean square of the entries of a matrix that is trained at the nominal rate."""

_SMALLEST = 0.02
"""Lower bound: matrices that write into the stream start with smaller values and have to grow."""


def optimisers(model: Any, rate: float, decay: float, muon: bool) -> list[torch.optim.Optimizer]:
    """The optimisers of a model. Each weight's rate is proportional to its initial root mean square, kept
    as "scale" of its group: Adam changes all entries by equal amounts, and the matrices of one model
    differ in size by a factor of a hundred. Gains of the norms and the embedding have no weight decay."""
    inside = {id(p) for p in model.layers.parameters() if p.ndim == 2}
    matrices: list[dict[str, Any]] = []
    rest: list[dict[str, Any]] = []
    for weight in model.parameters():
        chosen, own_decay = (matrices, decay) if id(weight) in inside else (rest, 0.0)
        chosen.append({"params": [weight], "weight_decay": own_decay, "scale": _scale(weight)})
    if muon:
        return [_adam(rest, rate), Muon(matrices, rate, decay)]
    return [_adam(rest + matrices, rate)]


def _adam(groups: list[dict[str, Any]], rate: float) -> torch.optim.Optimizer:
    return torch.optim.AdamW(groups, lr=rate, betas=(0.9, 0.98), fused=True)


def _scale(weight: Tensor) -> float:
    size = float(weight.detach().square().mean().sqrt())
    return max(size, _SMALLEST) / USUAL if weight.ndim == 2 else size
