"""The training loop of language models. It is resumable at each step, with the same batches.

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
from nacrith.models.exact.conversion import BITS
from nacrith.training.lm.llama import Llama
from nacrith.training.lm.machine import Machine, compiles, measure
from nacrith.training.lm.optimiser import optimisers
from nacrith.training.lm.tokens import U16, Sample, batches

Log = Callable[[str], None]

SAVE_EVERY = 180.0
"""Seconds between two states."""

_WORTH_COMPILING = 1e14
"""Operations of a run from which on its layers are compiled, which takes half a minute: some ten minutes."""

_REPORT = 50  # steps between two lines about loss and speed


@dataclass(frozen=True)
class Recipe:
    """Everything that determines the result besides the initial model and the corpus.

    length: tokens of a window. count: windows of a step, computed `at_once` at a time. warmup: steps.
    cool: fraction of the steps over which the rate falls. distil: weight of the teacher's distribution, 0
    to 1. rounded: last fraction of the steps, which is trained with the roundings of the exact engine, for
    activations of `bits`: 8 or 10.
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
    bits: int = BITS
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
    save_every: float = SAVE_EVERY,
    half: bool | None = None,
    stopping: Callable[[], str] = lambda: "",
    log: Log = print,
) -> str:
    """Train in place, resuming from `state` if it exists; if the recipe ends with roundings, they stay
    on. Returns why it stopped before the last step, or "".

    ids: of the corpus. every: steps between two validations. save_every: seconds between two states, which
    are also saved at each validation and in the end. half: multiply in bfloat16; None for what is faster.
    stopping: gives a reason to stop, or "".
    """
    device = model.embed_tokens.weight.device
    model.round_to(recipe.bits)
    parts = optimisers(model, recipe.rate, recipe.decay, recipe.muon)
    first = _resume(model, parts, recipe, state, log)
    machine = measure(device, half)
    left = (recipe.steps - first) * recipe.count * recipe.length
    worth = 6 * model.shape.parameters() * left > _WORTH_COMPILING
    if worth and device.type == "cpu" and compiles():  # on a GPU it has not been measured
        model.compile_layers()
    meter = _Meter(model, recipe, machine, log)
    saved, reason = time.monotonic(), ""
    order = batches(ids, model.shape.start, recipe.length, recipe.count, recipe.seed, first)
    done = first
    for batch in islice(order, max(0, recipe.steps - first)):
        reason = _step(model, parts, batch.to(device), recipe, done, teacher, machine.half, stopping, meter)
        if reason:
            break
        done += 1
        meter.tell(done)
        checked = done % every == 0 or done == recipe.steps
        if checked and samples:
            log(f"step {done}: {report(bits_per_byte(model, samples))}")
        if checked or time.monotonic() - saved >= save_every:
            _save(model, parts, recipe, state, done)
            saved = time.monotonic()
    if reason:
        _save(model, parts, recipe, state, done)
        log(f"stopped after step {done} of {recipe.steps}: {reason}")
    else:
        model.quantise(recipe.rounded > 0)
    return reason


def _step(
    model: Llama,
    parts: Sequence[Any],
    batch: Tensor,
    recipe: Recipe,
    step: int,
    teacher: Llama | None,
    half: bool,
    stopping: Callable[[], str],
    meter: _Meter,
) -> str:
    """Take a step; the first is 0. Returns "", or the reason to stop, and has then changed no weight."""
    model.quantise(step >= recipe.steps * (1 - recipe.rounded))
    for rows in batch.split(recipe.at_once):
        if reason := stopping():
            for part in parts:
                part.zero_grad(set_to_none=True)
            return reason
        with torch.autocast(batch.device.type, torch.bfloat16, enabled=half):
            loss = loss_of(model, teacher, rows, recipe.distil) * (len(rows) / recipe.count)
        loss.backward()
        meter.total += loss.detach().item()
    torch.nn.utils.clip_grad_norm_(model.parameters(), recipe.clip)
    for part in parts:
        for group in part.param_groups:
            group["lr"] = recipe.rate_at(step) * group["scale"]
        part.step()
        part.zero_grad(set_to_none=True)
    return ""


class _Meter:
    """Reports loss and speed. total: of the losses of the steps since the last report."""

    def __init__(self, model: Llama, recipe: Recipe, machine: Machine, log: Log) -> None:
        self._recipe, self._machine, self._log = recipe, machine, log
        self._weights = sum(p.numel() for p in model.parameters() if p.ndim == 2)
        self._began, self._steps, self.total = time.monotonic(), 0, 0.0
        floats = "bfloat16" if machine.half else "float32"
        log(f"products in {floats}: {machine.peak / 1e9:,.0f} GFLOP/s at most")

    def tell(self, done: int) -> None:
        self._steps += 1
        if done % _REPORT and done != self._recipe.steps:
            return
        seconds = time.monotonic() - self._began
        speed = self._steps * self._recipe.count * self._recipe.length / seconds
        share = 100 * self._machine.share(self._weights, speed)
        self._log(
            f"step {done} of {self._recipe.steps}: loss {self.total / self._steps:.4f},"
            f" {speed:,.0f} tokens/s, {share:.0f} % of the peak"
        )
        self._began, self._steps, self.total = time.monotonic(), 0, 0.0


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
    if saved["step"] <= then.steps * (1 - then.rounded):
        asked["bits"] = then.bits  # nothing has been rounded yet
    asked["at_once"] = then.at_once  # how a step is split changes its sums by rounding errors only
    if asdict(then) != asked:
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
        new.file.flush()
        atomic.sync_file(new.file.fileno())
        new.publish()
