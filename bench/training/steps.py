"""How long a step of training takes: plainly, and with compiled layers.

    python -m bench.training.steps [--model M] [--count N] [--length L] [--rounds R] [--threads T]

M: a model file (default: the embedded model). A step is N windows of L random tokens, forward and backward
and the optimiser. The ways take turns in one process; medians of the rounds.
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path

import torch
from torch import Tensor

from bench import common
from nacrith.models import store
from nacrith.training.lm import checkpoint, machine
from nacrith.training.lm.llama import Llama
from nacrith.training.lm.optimiser import optimisers

RATE = 1e-6  # the time of a step does not depend on it


def step(model: Llama, parts: list[torch.optim.Optimizer], rows: Tensor) -> float:
    """Seconds of one step."""
    begun = time.perf_counter()
    model.loss(rows).backward()
    for part in parts:
        part.step()
        part.zero_grad(set_to_none=True)
    return time.perf_counter() - begun


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m bench.training.steps", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--model", type=Path, default=store.find(store.DEFAULT_MODEL))
    parser.add_argument("--count", type=int, default=4)
    parser.add_argument("--length", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    source = checkpoint.open_source(options.model)
    eager, compiled = checkpoint.load(source), checkpoint.load(source)
    ways = {"plain": eager}
    if machine.compiles():
        compiled.compile_layers()
        ways["compiled"] = compiled
    rows = torch.randint(eager.shape.vocab, (options.count, options.length + 1))
    parts = {model: optimisers(model, RATE, 0.0, False) for model in ways.values()}
    times: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(options.rounds + 1):  # the first warms up
        for name, model in ways.items():
            seconds = step(model, parts[model], rows)
            if turn:
                times[name].append(seconds)
    weights = sum(p.numel() for p in eager.parameters() if p.ndim == 2)
    peak = machine.measure(torch.device("cpu"), False)
    tokens, first = options.count * options.length, statistics.median(times["plain"])
    table = []
    for name, found in times.items():
        seconds = statistics.median(found)
        speed = tokens / seconds
        table.append(
            [name, f"{speed:.0f}", f"{100 * peak.share(weights, speed):.0f} %", f"{first / seconds:.2f}"]
        )
    print(
        f"{common.machine()}, {options.threads} threads, steps of {options.count} x {options.length} tokens"
    )
    print(common.markdown_table(["step", "tokens/s", "of the peak", "times as fast"], table))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
