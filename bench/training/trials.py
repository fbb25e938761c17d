"""Short paired trials of how a small model is trained: the same time for each, the same held-out documents.

    python -m bench.training.trials SHARD.jsonl.xz --work DIR [--trials derived scratch ...] [--seconds S]
                                    [--rate X] [--vocab N] [--layers N] [--ffn N] [--documents N]
                                    [--threads T] [--model M] [--count N]

SHARD: lines of {"text", "source", "kind"}. Every trial trains for S seconds (the steps that fit are found by
timing three of them; the rate falls over the second half) and then says the bits per byte of what was held
out, by kind. The vocabulary, the tokens and the derived start are made once in DIR; several of these commands
may run side by side with `--threads 1`, each being as slow as the others.

derived: from the start that `nacrith train` derives of M (default SmolLM2-135M). distil: the same, with M as
the teacher. muon: the same as derived, its matrices trained by Muon. folded: the same as derived, of text
without capitals: a mark says that the next letter, or all letters of the next word, are capitals; the bits
are of the bytes before that. scratch: from nothing, with a rate 25 times as high.
"""

from __future__ import annotations

import argparse
import re
import sys
import time
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import torch

from nacrith.models import store
from nacrith.models.tokenizer.byte_bpe import ByteTokenizer
from nacrith.training.corpus import Document, documents
from nacrith.training.lm import job, loop, optimiser
from nacrith.training.lm.llama import Llama
from nacrith.training.lm.tokens import Sample, batches, read_store, validation, write_store

TRIALS = ("derived", "distil", "muon", "folded", "scratch")
SCRATCH_RATE = 25
HELD_BYTES = 1200
"""Of a held-out document: so few that every trial reads all of them in a window."""

MARKS = (b"\x01", b"\x02")
"""Before a capital, and before a word of capitals; documents with these bytes are left out."""

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
    parser.add_argument("--count", type=int, default=2, help="windows of a step")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--model", default=store.LARGE_MODEL)
    return parser.parse_args(arguments)


def folded(data: bytes) -> bytes:
    """Small letters and marks, from which the data can be told. A mark stands before the space of its word,
    so that the word remains the token that it is elsewhere."""
    data = re.sub(rb"( ?)([A-Z]{2,})(?![a-z])", lambda m: MARKS[1] + m[0].lower(), data)
    return re.sub(rb"( ?)([A-Z])", lambda m: MARKS[0] + m[0].lower(), data)


def original(sample: Sample, tokenizer: ByteTokenizer) -> Sample:
    """The sample, its size that of the text before folding."""
    data = tokenizer.decode(sample.ids)
    return replace(sample, size=len(data) - sum(data.count(mark) for mark in MARKS))


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


def texts(options: argparse.Namespace) -> list[Document]:
    """The documents of all trials, to train on and to judge by."""
    every = documents(options.shard, LEAVE_OUT)
    return list(islice((d for d in every if not any(m in d.data for m in MARKS)), options.documents))


def asked(options: argparse.Namespace, name: str) -> job.Job:
    """What the trial does."""
    work = options.work / "folded" if name == "folded" else options.work
    work.mkdir(parents=True, exist_ok=True)
    base = None if name == "scratch" else store.find(options.model)
    rate = options.rate * (SCRATCH_RATE if name == "scratch" else 1)
    recipe = loop.Recipe(
        steps=1,
        count=options.count,
        at_once=2,
        rate=rate,
        warmup=8,
        cool=0.5,
        rounded=0.0,
        distil=float(name == "distil"),
        muon=name == "muon",
    )
    sizes = dict(layers=options.layers, ffn=options.ffn, vocab=options.vocab, width=576, heads=9, kv_heads=3)
    return job.Job([options.shard], base, work, "trial", recipe=recipe, **sizes)


def main(arguments: list[str] | None = None) -> int:
    options = parse(arguments)
    torch.set_num_threads(options.threads)
    kept, left_out = job.split(texts(options), 100)
    short = [replace(d, data=d.data[:HELD_BYTES]) for d in left_out]
    for name in options.trials:

        def log(line: str, name: str = name) -> None:
            print(f"{name}: {line}", file=sys.stderr, flush=True)

        wanted, taught, held = asked(options, name), kept, short
        if name == "folded":
            taught, held = ([replace(d, data=folded(d.data)) for d in part] for part in (kept, short))
        model, tokenizer, teacher = job.begin(wanted, taught, log)
        tokens = wanted.work / "tokens.npy"
        if not tokens.exists():
            write_store(tokens, taught, tokenizer, model.shape.start)
        ids = read_store(tokens, tokenizer.vocab_size)
        recipe = wanted.recipe
        samples = [original(s, tokenizer) for s in validation(held, tokenizer, 1024, 4)]
        before = loop.bits_per_byte(model, samples)
        steps = int(options.seconds / seconds_of_a_step(model, teacher, ids, recipe))
        state = wanted.work / f"{name}-{options.rate:g}.pt"
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
