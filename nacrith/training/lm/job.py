"""From files to a model file: the work of `nacrith train`.

Training starts from a given model (which keeps what it knows), from a smaller one derived from it
(`derive`), or from random weights. Tokenised data and checkpoints are kept in a folder, so that an
interrupted run can be resumed.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch

from nacrith import atomic
from nacrith.errors import NacrithError
from nacrith.models.tokenizer.byte_bpe import ByteTokenizer
from nacrith.training.corpus import Document, documents
from nacrith.training.lm import checkpoint, export
from nacrith.training.lm.derive import derive, grouping, smaller, with_vocabulary
from nacrith.training.lm.llama import Llama, Shape
from nacrith.training.lm.loop import SAVE_EVERY, Log, Recipe, bits_per_byte, report, train
from nacrith.training.lm.tokens import U16, Sample, read_store, validation, write_store
from nacrith.training.lm.vocabulary import train_vocabulary

PASSES = 3
"""Passes over the data, unless the number of steps is given."""

_FIT = 48  # windows that a derived model's matrices are fitted on
_VOCABULARY_BYTES = 100_000_000
_SAMPLES = 8  # validation documents of each kind
_SAMPLE_TOKENS = 512


@dataclass(frozen=True)
class Job:
    """A training job.

    base: path of the initial model, None for random weights. layers, ffn, vocab: of a smaller model,
    derived from the base or with random weights; None for the base's. width, heads, kv_heads: of a model
    with random weights. leave_out: sources of the corpus to skip. times: how often documents of a kind
    occur in a pass; 1 if not given. held_out: one document in this many is held out. steps: None for
    PASSES over the data. half, save_every: as of `train`.
    """

    data: Sequence[Path]
    base: Path | None
    work: Path
    name: str
    layers: int | None = None
    ffn: int | None = None
    vocab: int | None = None
    width: int = 512
    heads: int = 8
    kv_heads: int = 4
    leave_out: Collection[str] = ()
    times: Mapping[str, int] = field(default_factory=dict)
    held_out: int = 100
    steps: int | None = None
    recipe: Recipe = field(default_factory=lambda: Recipe(steps=0))
    device: str = "cpu"
    half: bool | None = None
    save_every: float = SAVE_EVERY
    licence: str = "unknown"


@dataclass(frozen=True)
class Trained:
    """The model, and bits per byte of the held-out documents: before and after, by kind. stopped: why it is
    not trained to the end, or ""."""

    model: Llama
    tokenizer: ByteTokenizer
    before: dict[str, float]
    after: dict[str, float]
    stopped: str = ""

    def write(self, job: Job, path: Path) -> bytes:
        """Write the exact model file; returns its fingerprint."""
        info = {"name": job.name, "source": "nacrith train", "licence": job.licence}
        return export.write_exact(self.model, self.tokenizer, path, info)


@dataclass(frozen=True)
class Prepared:
    """What the first step needs. ids: of the documents to train on. samples: of those held out."""

    model: Llama
    tokenizer: ByteTokenizer
    teacher: Llama | None
    ids: U16
    samples: list[Sample]
    recipe: Recipe


def prepare(job: Job, log: Log) -> Prepared:
    """Read the data, and make model and tokens unless an earlier run with the same `work` has."""
    job.work.mkdir(parents=True, exist_ok=True)
    found = [d for root in job.data for d in documents(root, job.leave_out)]
    taught, held = split(found, job.held_out)
    model, tokenizer, teacher = begin(job, taught, log)
    store = job.work / "tokens.npy"
    if not store.exists():
        weighted = (d for d in taught for _ in range(job.times.get(d.kind, 1)))
        counts = write_store(store, weighted, tokenizer, model.shape.start)
        log(f"tokens to train on: {sum(counts.values()):,} ({json.dumps(counts)})")
    samples = validation(held, tokenizer, _SAMPLE_TOKENS, _SAMPLES)
    del found, taught, held
    ids = read_store(store, tokenizer.vocab_size)
    recipe = job.recipe
    length = max(1, min(recipe.length, len(ids) // (2 * recipe.count)))
    steps = job.steps or max(1, PASSES * len(ids) // (recipe.count * length))
    recipe = replace(recipe, steps=steps, length=length, warmup=min(recipe.warmup, 1 + steps // 10))
    return Prepared(model, tokenizer, teacher, ids, samples, recipe)


def run(job: Job, log: Log, stopping: Callable[[], str] = lambda: "") -> Trained:
    """Run the job. It resumes an interrupted run with the same `work`. stopping: as of `train`."""
    ready = prepare(job, log)
    model, samples = ready.model, ready.samples
    before = bits_per_byte(model, samples)
    log(f"{model.shape.parameters():,} parameters; held out: {report(before)}")
    stopped = train(
        model,
        ready.ids,
        ready.recipe,
        job.work / "state.pt",
        teacher=ready.teacher,
        samples=samples,
        save_every=job.save_every,
        half=job.half,
        stopping=stopping,
        log=log,
    )
    return Trained(model, ready.tokenizer, before, bits_per_byte(model, samples), stopped)


def split(found: Sequence[Document], one_in: int) -> tuple[list[Document], list[Document]]:
    """Training and held-out documents: at least one of each, if there are two."""
    if len(found) < 2:
        raise NacrithError("the data is one document of 16 KB at most: too little to train on")
    held = [d for d in found if d.held_out(one_in)]
    if not held or len(held) == len(found):
        held = [min(found, key=lambda d: d.digest())]
    out = {id(d) for d in held}
    return [d for d in found if id(d) not in out], held


def begin(job: Job, taught: Sequence[Document], log: Log) -> tuple[Llama, ByteTokenizer, Llama | None]:
    """The initial model, its tokenizer, and the teacher if the recipe has one."""
    device = torch.device(job.device)
    tokenizer = _vocabulary(job, taught) if job.vocab else None
    if job.base is None:
        if tokenizer is None or job.layers is None:
            raise NacrithError("training from random weights needs the sizes: layers and vocabulary")
        head_dim = job.width // job.heads
        ffn = job.ffn or 8 * job.width // 3 // 64 * 64
        shape = Shape(job.layers, ffn, tokenizer.vocab_size, job.width, job.heads, job.kv_heads, head_dim)
        model = Llama(shape)
        model.initialise(job.recipe.seed)
        return model.to(device), tokenizer, None
    source = checkpoint.open_source(job.base)
    large, own = checkpoint.load(source), checkpoint.tokenizer_of(source)
    if tokenizer is None:
        tokenizer = own
    else:
        large = with_vocabulary(large, own, tokenizer)
    large = large.to(device)
    teacher = large.eval().requires_grad_(False) if job.recipe.distil else None
    if job.layers is None and job.ffn is None:
        return large if teacher is None else _copy(large), tokenizer, teacher
    begun = job.work / "derived.pt"
    groups = grouping(large.shape.layers, job.layers or large.shape.layers)
    ffn = job.ffn or large.shape.ffn
    if begun.exists():
        small = Llama(smaller(large.shape, groups, ffn, job.recipe.length)).to(device)
        small.load_state_dict(torch.load(begun, weights_only=True, map_location=device))
    else:
        small = derive(
            large,
            groups,
            ffn,
            _windows(taught, tokenizer, large.shape.start, job.recipe.length).to(device),
            log,
        )
        with atomic.Unfinished(begun) as new:
            torch.save(small.state_dict(), new.file)
            new.publish()
    return small, tokenizer, teacher


def _copy(model: Llama) -> Llama:
    made = Llama(model.shape).to(model.embed_tokens.weight.device)
    made.load_state_dict(model.state_dict())
    return made


def _vocabulary(job: Job, taught: Sequence[Document]) -> ByteTokenizer:
    """The new vocabulary: trained once on an even sample of the documents, then read back."""
    assert job.vocab
    path = job.work / f"vocabulary-{job.vocab}.json"
    if not path.exists():
        total = sum(len(d.data) for d in taught)
        every = max(1, total // _VOCABULARY_BYTES)
        made = train_vocabulary((d.data for d in taught[::every]), job.vocab)
        atomic.write(path, made.definition)
    return ByteTokenizer.from_definition(path.read_bytes())


def _windows(taught: Sequence[Document], tokenizer: ByteTokenizer, start: int, length: int) -> torch.Tensor:
    """(windows, length) ids of documents spread over the data."""
    rows = []
    for document in taught[:: max(1, len(taught) // (2 * _FIT))]:
        ids = tokenizer.encode(document.data[: 16 * length])[: length - 1]
        if len(ids) == length - 1:
            rows.append([start, *ids])
    if not rows:
        raise NacrithError(f"no document of {length} tokens to fit a derived model on")
    return torch.tensor(rows[:_FIT])
