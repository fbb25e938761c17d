"""The training loop of language models. It is resumable at each saved step, with the same batches.

The rate rises, stays constant, and falls linearly to zero over the last part of the steps (Hagele et al.
2024); until the fall begins, the number of steps may be changed to fit the time available. With a
teacher, the loss in windows that the teacher predicts better is a mixture of the cross-entropy against
its distribution (Hinton et al. 2015) and that against the text.
"""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from nacrith import atomic
from nacrith.errors import NacrithError
from nacrith.training.lm.llama import Llama
from nacrith.training.lm.optimiser import optimisers
from nacrith.training.lm.tokens import U16, Sample, batches

Log = Callable[[str], None]


@dataclass(frozen=True)
class Recipe:
    """Everything that determines the result besides the initial model and the corpus.

    length: tokens of a window. count: windows of a step, computed `at_once` at a time. warmup: steps.
    cool: fraction of the steps over which the rate falls. distil: weight of the teacher's distribution, 0
    to 1. rounded: last fraction of the steps, which is trained with the roundings of the exact engine.
    """

    steps: int
    length: int = 512
    count: int = 8
    at_once: int = 8
    rate: float = 1e-3
    warmup: int = 50
    cool: float = 0.4
    decay: float = 0.1
    clip: float = 1.0
    muon: bool = False
    distil: float = 0.0
    rounded: float = 0.1
    seed: int = 1

    def rate_at(self, step: int) -> float:
        """The learning rate of a step; the first step is 0."""
        falling = (self.steps - step) / max(1.0, self.cool * self.steps)
        return self.rate * min(1.0, (step + 1) / max(1, self.warmup), falling)

    def flat_until(self) -> float:
        """The step until which `steps` may still be changed without changing the training so far."""
        return self.steps * (1 - max(self.cool, self.rounded))


def train(
    model: Llama,
    ids: U16,
    recipe: Recipe,
    state: Path,
    *,
    teacher: Llama | None = None,
    samples: Sequence[Sample] = (),
    every: int = 200,
    log: Log = print,
) -> None:
    """Train in place, resuming from `state` if it exists; if the recipe ends with roundings, they stay
    on.

    ids: of the corpus. every: steps between two validations; the state is saved at each of them.
    """
    device = model.embed_tokens.weight.device
    parts = optimisers(model, recipe.rate, recipe.decay, recipe.muon)
    first = _resume(model, parts, recipe, state, log)
    half = torch.autocast(device.type, torch.bfloat16, enabled=has_bfloat16(device))
    began, total = time.monotonic(), 0.0
    order = batches(ids, model.shape.start, recipe.length, recipe.count, recipe.seed, first)
    for step, batch in enumerate(islice(order, max(0, recipe.steps - first)), first):
        model.quantise(step >= recipe.steps * (1 - recipe.rounded))
        for part in parts:
            for group in part.param_groups:
                group["lr"] = recipe.rate_at(step) * group["scale"]
        for rows in batch.to(device, non_blocking=True).split(recipe.at_once):
            with half:
                loss = loss_of(model, teacher, rows, recipe.distil) * (len(rows) / recipe.count)
            loss.backward()
            total += loss.detach().item()
        torch.nn.utils.clip_grad_norm_(model.parameters(), recipe.clip)
        for part in parts:
            part.step()
            part.zero_grad(set_to_none=True)
        done = step + 1
        if done % 50 == 0:
            speed = (done - first) * recipe.count * recipe.length / (time.monotonic() - began)
            log(f"step {done} of {recipe.steps}: loss {total / 50:.4f}, {speed:,.0f} tokens/s")
            total = 0.0
        if done % every == 0 or done == recipe.steps:
            if samples:
                log(f"step {done}: {report(bits_per_byte(model, samples))}")
            _save(model, parts, recipe, state, done)
    model.quantise(recipe.rounded > 0)


def loss_of(model: Llama, teacher: Llama | None, rows: Tensor, distil: float) -> Tensor:
    """The loss. It includes the teacher only in windows that the teacher predicts better than the model
    does."""
    if teacher is None or not distil:
        return model.loss(rows)
    wanted = rows[:, 1:].flatten()
    with torch.no_grad():
        opinion = teacher.logits(teacher(rows[:, :-1])).float().flatten(0, 1)
        theirs = _by_window(functional.cross_entropy(opinion, wanted, reduction="none"), rows)
        opinion = functional.softmax(opinion, -1)
    logits = model.logits(model(rows[:, :-1])).float().flatten(0, 1)
    hard = _by_window(functional.cross_entropy(logits, wanted, reduction="none"), rows)
    soft = _by_window(functional.cross_entropy(logits, opinion, reduction="none"), rows)
    weight = torch.where(theirs < hard.detach(), distil, 0.0)
    return (weight * soft + (1 - weight) * hard).mean()


def _by_window(losses: Tensor, rows: Tensor) -> Tensor:
    return losses.view(len(rows), -1).mean(1)


def has_bfloat16(device: torch.device) -> bool:
    """Whether matrix products are faster in bfloat16 than in float32 on this device."""
    if device.type == "cpu":
        return bool(torch.cpu._is_amx_tile_supported())
    return device.type == "cuda" and torch.cuda.is_bf16_supported()


@torch.no_grad()  # type: ignore[untyped-decorator]
def bits_per_byte(model: Llama, samples: Sequence[Sample]) -> dict[str, float]:
    """Bits per byte by kind, and "mean": their mean."""
    device = model.embed_tokens.weight.device
    bits: defaultdict[str, float] = defaultdict(float)
    sizes: defaultdict[str, int] = defaultdict(int)
    for sample in samples:
        rows = torch.tensor([[model.shape.start, *sample.ids]], device=device)
        bits[sample.kind] += model.loss(rows).item() * len(sample.ids) / math.log(2)
        sizes[sample.kind] += sample.size
    found = {kind: bits[kind] / sizes[kind] for kind in sorted(bits)}
    return {"mean": sum(found.values()) / len(found)} | found


def report(found: dict[str, float]) -> str:
    """The result of `bits_per_byte` on one line."""
    return ", ".join(f"{kind} {bits:.3f}" for kind, bits in found.items()) + " bits per byte"


def _resume(model: Llama, parts: Sequence[Any], recipe: Recipe, state: Path, log: Log) -> int:
    if not state.exists():
        return 0
    saved = torch.load(state, weights_only=True, map_location=model.embed_tokens.weight.device)
    then = Recipe(**saved["recipe"])
    asked = asdict(recipe)
    if saved["step"] <= min(then.flat_until(), recipe.flat_until()):
        asked["steps"] = then.steps
    asked["at_once"] = then.at_once  # how a step is split changes its sums by rounding errors only
    if saved["recipe"] != asked:
        raise NacrithError(f"{state}: has another recipe; remove it, or train in another directory")
    model.load_state_dict(saved["model"])
    for part, found in zip(parts, saved["optimisers"], strict=True):
        part.load_state_dict(found)
    log(f"resuming after step {saved['step']}")
    return int(saved["step"])


def _save(model: Llama, parts: Sequence[Any], recipe: Recipe, state: Path, step: int) -> None:
    with atomic.Unfinished(state) as new:
        torch.save(
            {
                "model": model.state_dict(),
                "optimisers": [part.state_dict() for part in parts],
                "recipe": asdict(recipe),
                "step": step,
            },
            new.file,
        )
        new.publish()
