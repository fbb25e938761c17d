"""Short paired trials of how a small model is trained: the same time for each, the same held-out documents.

    python -m bench.training.trials SHARD.jsonl.xz --work DIR [--trials derived scratch ...] [--seconds S]
                                    [--rate X] [--vocab N] [--layers N] [--ffn N] [--documents N]
                                    [--threads T] [--model M]

SHARD: lines of {"text", "source", "kind"}. Every trial trains for S seconds (the steps that fit are found by
timing three of them; the rate falls over the second half) and then says the bits per byte of what was held
out, by kind. The vocabulary, the tokens and the derived start are made once in DIR; several of these commands
may run side by side with `--threads 1`, each being as slow as the others.

derived: from the start that `nacrith train` derives of M (default SmolLM2-135M). distil: the same, with M as
the teacher. muon: the same as derived, its matrices trained by Muon. scratch: from nothing, with a rate 25
times as high.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import torch

from nacrith.models import store
from nacrith.training.corpus import Document, documents
from nacrith.training.lm import job, loop, optimiser
from nacrith.training.lm.llama import Llama
from nacrith.training.lm.tokens import batches, read_store, validation, write_store

TRIALS = ("derived", "distil", "muon", "scratch")
SCRATCH_RATE = 25
LEAVE_OUT = ("dotnet/csharplang", "libsdl-org/sdlwiki")


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    summary = (__doc__ or "").partition("\n")[0]
    parser = argparse.ArgumentParser(prog="python -m bench.training.trials", description=summary)
    parser.add_argument("shard", type=Path)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--trials", nargs="+", choices=TRIALS, default=TRIALS)
    parser.add_argument("--seconds", type=float, default=260)
    parser.add_argument("--rate", type=float, default=1e-4)
    parser.add_argument("--vocab", type=int, default=16384)
    parser.add_argument("--layers", type=int, default=12)
    parser.add_argument("--ffn", type=int, default=768)
    parser.add_argument("--documents", type=int, default=2000, help="to train on")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--model", default=store.LARGE_MODEL)
    return parser.parse_args(arguments)


def seconds_of_a_step(model: Llama, teacher: Llama | None, ids: Any, recipe: loop.Recipe) -> float:
    """Measured at a rate of zero, after one step that warms up."""
    parts = optimiser.optimisers(model, 0.0, 0.0, recipe.muon)
    begun = 0.0
    for i, rows in enumerate(islice(batches(ids, model.shape.start, recipe.length, recipe.count, 1), 4)):
        if i == 1:
            begun = time.monotonic()
        loop.loss_of(model, teacher, rows, recipe.distil).backward()
        for part in parts:
            part.step()
            part.zero_grad(set_to_none=True)
    return (time.monotonic() - begun) / 3


def prepared(options: argparse.Namespace) -> tuple[job.Job, list[Document], list[Document]]:
    """The job that all trials share, and its documents to train on and to judge by."""
    found = list(islice(documents(options.shard, LEAVE_OUT), options.documents))
    taught, held = job.split(found, 100)
    options.work.mkdir(parents=True, exist_ok=True)
    shared = job.Job(
        [options.shard],
        store.find(options.model),
        options.work,
        "trial",
        layers=options.layers,
        ffn=options.ffn,
        vocab=options.vocab,
        recipe=loop.Recipe(steps=1, count=2, at_once=2, rate=options.rate, warmup=8, cool=0.5, rounded=0.0),
    )
    return shared, taught, held


def main(arguments: list[str] | None = None) -> int:
    options = parse(arguments)
    torch.set_num_threads(options.threads)
    shared, taught, held = prepared(options)
    for name in options.trials:

        def log(line: str, name: str = name) -> None:
            print(f"{name}: {line}", file=sys.stderr, flush=True)

        recipe = replace(shared.recipe, distil=float(name == "distil"), muon=name == "muon")
        base = shared.base
        if name == "scratch":
            recipe, base = replace(recipe, rate=SCRATCH_RATE * recipe.rate), None
        asked = replace(shared, recipe=recipe, base=base, width=576, heads=9, kv_heads=3)
        model, tokenizer, teacher = job.begin(asked, taught, log)
        tokens = options.work / "tokens.npy"
        if not tokens.exists():
            write_store(tokens, taught, tokenizer, model.shape.start)
        ids = read_store(tokens, tokenizer.vocab_size)
        samples = validation(held, tokenizer, recipe.length, 4)
        before = loop.bits_per_byte(model, samples)
        steps = int(options.seconds / seconds_of_a_step(model, teacher, ids, recipe))
        state = options.work / f"{name}-{options.rate:g}.pt"
        state.unlink(missing_ok=True)
        loop.train(model, ids, replace(recipe, steps=steps), state, teacher=teacher, log=log)
        after = loop.bits_per_byte(model, samples)
        print(
            f"{name}, rate {recipe.rate:g}, {steps} steps of {recipe.count * recipe.length} tokens:\n"
            f"  before: {loop.report(before)}\n  after:  {loop.report(after)}",
            flush=True,
        )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
