"""Cross-entropy of a large vocabulary without the logits of all tokens at once.

The output matrix is applied to a few rows at a time, and the gradients of both factors are computed right
there, while the logits are in the cache: never more than `ROWS` rows of them exist. The plain way takes as
many operations, and keeps tokens * vocabulary floats several times over. After Hsu et al. 2024, "Liger
Kernel".
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

ROWS = 256
"""Tokens whose logits exist at a time: 16 MB of float32 for 16,384 symbols."""


def cross_entropy(stream: Tensor, table: Tensor, wanted: Tensor, half: bool) -> Tensor:
    """Mean nats per token. stream: (tokens, width). table: (vocab, width). wanted: (tokens,), the ids.
    half: multiply in bfloat16. Sums are in float32."""
    if torch.is_grad_enabled():
        found: Tensor = _CrossEntropy.apply(stream, table, wanted, half)
        return found
    return _computed(stream, table, wanted, half, None, None)


class _CrossEntropy(torch.autograd.Function):  # type: ignore[misc]  # torch is not read by mypy
    @staticmethod
    def forward(ctx: Any, stream: Tensor, table: Tensor, wanted: Tensor, half: bool) -> Tensor:
        by_stream = torch.empty_like(stream)
        by_table = torch.zeros_like(table, dtype=torch.float32)
        loss = _computed(stream, table, wanted, half, by_stream, by_table)
        ctx.save_for_backward(by_stream, by_table)
        return loss

    @staticmethod
    def backward(ctx: Any, *outer: Any) -> tuple[Tensor, Tensor, None, None]:
        by_stream, by_table = ctx.saved_tensors
        return by_stream * outer[0].to(by_stream.dtype), by_table * outer[0], None, None


def _computed(
    stream: Tensor,
    table: Tensor,
    wanted: Tensor,
    half: bool,
    by_stream: Tensor | None,
    by_table: Tensor | None,
) -> Tensor:
    """The mean; its gradients are stored into the last two, if given."""
    kind = torch.bfloat16 if half else torch.float32
    factor = table.detach().to(kind)
    total = torch.zeros((), device=stream.device)
    with torch.autocast(stream.device.type, enabled=False):
        for begin in range(0, len(stream), ROWS):
            rows = stream.detach()[begin : begin + ROWS].to(kind)
            ids = wanted[begin : begin + ROWS, None]
            logits = (rows @ factor.T).float()
            norm = logits.logsumexp(-1, keepdim=True)
            total += (norm - logits.gather(-1, ids)).sum()
            if by_stream is None or by_table is None:
                continue
            error = logits.sub_(norm).exp_()  # the probabilities
            error.scatter_add_(-1, ids, torch.full_like(ids, -1, dtype=error.dtype))
            error = error.div_(len(stream)).to(kind)
            by_stream[begin : begin + ROWS] = error @ factor
            by_table += error.T @ rows
    return total / len(stream)
