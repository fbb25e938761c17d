"""Trains the word classifier: which words of a sentence would a person keep?

The data are sentence compressions and, optionally, documents. The optimiser is AdamW, with a rate that
rises, stays constant, and falls to zero over the last part of the steps (Hagele et al. 2024), so that the
number of steps may be changed until the fall begins. Training is resumable and reproducible: the seed
determines the order of the batches, and the state is saved every few hundred steps. The result is the
int8 model file that `nacrith.prompt.encoder` reads.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from nacrith import atomic
from nacrith.errors import NacrithError
from nacrith.prompt.encoder import BEGIN, END, NUMBER, UNKNOWN, WordEncoder, wordpiece, write_model
from nacrith.training.documents import TOGETHER
from nacrith.training.encoder import Encoder, from_bert, read_vocabulary
from nacrith.training.sentences import (
    MISSING,
    Batch,
    Sentence,
    batches,
    encode,
    mixed,
    plain,
    read_sentences,
)

_DECAY = 0.01
_CLIP = 1.0
_SPECIAL = ("[PAD]", UNKNOWN, BEGIN, END)
Log = Callable[[str], None]


@dataclass(frozen=True)
class Recipe:
    """Everything that determines the result.

    take: layers of the checkpoint, from the lowest. frozen: number of them that are not trained. pieces:
    of a batch. warmup: steps. decay: fraction of the steps over which the rate falls. least: occurrences
    in the training data below which a piece is dropped from the vocabulary (single characters stay).
    longest: pieces of a training sentence. positions: most pieces of an input, two of which are special.
    share: fraction of the batches that are documents, if there are any.
    """

    take: tuple[int, ...] = (0, 1, 2, 3)
    frozen: int = 1
    steps: int = 1600
    pieces: int = 1024
    rate: float = 3e-4
    warmup: int = 60
    decay: float = 0.35
    least: int = 10
    longest: int = 126
    positions: int = 256
    seed: int = 1
    share: float = 0.0


def choose_vocabulary(vocabulary: Sequence[str], texts: Sequence[Sentence], least: int) -> list[int]:
    """Ids of the pieces to keep: those in use, single characters of Latin script, and the special ones."""
    tokenizer = wordpiece(vocabulary)
    words = Counter(w for sentence, _ in texts for w in sentence)
    counts: Counter[int] = Counter()
    distinct = list(words)
    for word, found in zip(distinct, tokenizer.encode_batch(distinct, add_special_tokens=False), strict=True):
        for number in found.ids:
            counts[number] += words[word]
    kept = []
    for number, piece in enumerate(vocabulary):
        bare = piece.removeprefix("##")
        single = len(bare) == 1 and ord(bare) < 0x250
        if counts[number] >= least or single or piece in (*_SPECIAL, NUMBER):
            kept.append(number)
    return kept


def train(
    start: Path,
    data: Path,
    validation: Sequence[Path],
    work: Path,
    recipe: Recipe,
    log: Log,
    *,
    documents: Sequence[Sentence] = (),
    threads: int | None = None,
    every: int = 250,
    checked: int = 2000,
) -> Path:
    """Train and write `work`/words.npz; resume an earlier run in `work`.

    start: directory of a BERT checkpoint. data, validation: files for `read_sentences`. documents: groups
    of sentences, for `recipe.share` of the batches. every: steps between two saved states. checked:
    sentences used of each validation file.
    """
    if threads:
        torch.set_num_threads(threads)
    torch.manual_seed(recipe.seed)
    work.mkdir(parents=True, exist_ok=True)
    texts = list(plain(read_sentences(data), recipe.seed))
    full = read_vocabulary(start)
    chosen = choose_vocabulary(full, [*texts, *documents], recipe.least)
    vocabulary = [full[i] for i in chosen]
    tokenizer = wordpiece(vocabulary)
    checks = [(p.name, list(plain(read_sentences(p, checked), recipe.seed))) for p in validation]
    model = from_bert(start, chosen, recipe.take, recipe.positions)
    model.freeze(recipe.frozen)
    longest = min(recipe.longest, len(model.position) - 2)
    encoded = encode(texts, tokenizer, longest)
    log(f"{len(encoded.lengths):,} sentences, {len(encoded.ids):,} pieces, vocabulary of {len(vocabulary):,}")

    def save() -> Path:
        path = work / "words.npz"
        info = {"recipe": asdict(recipe), "together": TOGETHER if documents else 0}
        write_model(path, model.arrays(), vocabulary, model.heads, info)
        return path

    def check() -> dict[str, float]:
        exact = encoder_of(model, vocabulary)
        return {name: round(f1_at_rate(exact, rows), 4) for name, rows in checks}

    ids = (vocabulary.index(BEGIN), vocabulary.index(END))
    order = batches(encoded, recipe.pieces, recipe.seed, ids)
    if documents:
        others = encode(documents, tokenizer, longest)
        order = mixed(order, batches(others, recipe.pieces, recipe.seed, ids), recipe.share)
    _run(model, order, recipe, work / "state.pt", every, log, check)
    return save()


def encoder_of(model: Encoder, vocabulary: Sequence[str]) -> WordEncoder:
    """The model as inference computes it, before it is rounded to int8."""
    arrays = model.arrays()
    ones = {f"{n}.scale": np.ones(len(x), np.float32) for n, x in arrays.items() if x.ndim == 2}
    return WordEncoder(arrays | ones, model.heads, vocabulary)


def f1_at_rate(encoder: WordEncoder, rows: Sequence[Sentence]) -> float:
    """F1 of the kept words, if as many words of each sentence are kept as the person kept."""
    hits = wanted = 0
    for keep, (_, labels) in zip(encoder.score_words([w for w, _ in rows]), rows, strict=True):
        count = sum(labels)
        best = np.argsort(-keep, kind="stable")[:count]
        hits += sum(labels[i] for i in best)
        wanted += count
    return hits / max(1, wanted)


def _run(
    model: Encoder,
    order: Iterator[Batch],
    recipe: Recipe,
    state: Path,
    every: int,
    log: Log,
    check: Callable[[], dict[str, float]],
) -> None:
    trained = [p for p in model.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(trained, lr=recipe.rate, betas=(0.9, 0.98), weight_decay=_DECAY)
    step = _resume(model, optimiser, recipe, state, log)
    fall = recipe.steps * recipe.decay
    began, seen, total, count = time.monotonic(), 0, 0.0, 0
    for batch in islice(order, step, recipe.steps):
        rate = recipe.rate * min((step + 1) / recipe.warmup, 1.0, (recipe.steps - step) / fall)
        for group in optimiser.param_groups:
            group["lr"] = rate
        mask = None if batch.mask.all() else torch.from_numpy(batch.mask)
        logits = model(torch.from_numpy(batch.ids), mask)
        labels = torch.from_numpy(batch.labels)
        known = labels != MISSING
        loss = functional.binary_cross_entropy_with_logits(logits[known], labels[known].float())
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, _CLIP)
        optimiser.step()
        step += 1
        seen += int(batch.mask.sum())
        total, count = total + loss.item(), count + 1
        if step % 50 == 0:
            speed = seen / (time.monotonic() - began)
            log(f"step {step} of {recipe.steps}: loss {total / count:.4f}, {speed:,.0f} pieces/s")
            total, count = 0.0, 0
        if step % every == 0 or step == recipe.steps:
            log(f"step {step}: F1 {check()}")
            _save(model, optimiser, recipe, state, step)


def _resume(model: Encoder, optimiser: Any, recipe: Recipe, state: Path, log: Log) -> int:
    if not state.exists():
        return 0
    saved = torch.load(state, weights_only=True)
    before_the_fall = saved["step"] <= min(
        n * (1 - recipe.decay) for n in (saved["recipe"]["steps"], recipe.steps)
    )
    asked = _plain(recipe)
    if before_the_fall:
        asked["steps"] = saved["recipe"]["steps"]
    if saved["recipe"] != asked:
        raise NacrithError(f"{state}: has another recipe; remove it, or train in another directory")
    model.load_state_dict(saved["model"])
    optimiser.load_state_dict(saved["optimiser"])
    log(f"resuming after step {saved['step']}")
    return int(saved["step"])


def _save(model: Encoder, optimiser: Any, recipe: Recipe, state: Path, step: int) -> None:
    with atomic.Unfinished(state) as new:
        torch.save(
            {
                "model": model.state_dict(),
                "optimiser": optimiser.state_dict(),
                "recipe": _plain(recipe),
                "step": step,
            },
            new.file,
        )
        new.publish()


def _plain(recipe: Recipe) -> dict[str, Any]:
    return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(recipe).items()}
