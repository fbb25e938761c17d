"""Trains the projection of word vectors by which the scorer lexrank finds words that mean alike.

    python -m bench.training.likeness --data DIR --out FILE [--epochs N] [--inner N] [--seed N]

DIR holds nq-open-oracle.jsonl.xz and squad11.tokenised-val4k.jsonl.xz (`bench.prompts.asked`). Trained on the
questions of NQ-open that bench.prompts.prompt does not report, and whose passage is the answer of none that
it does, without the first `--held` of them, on which weights are chosen; and on 1,500 questions of SQuAD's
training file. Each has hard passages beside its own, and the model ranks the sentences of all: listwise
softmax, a sentence is right if the answer is in it. A sentence's score is the mean, weighted by how rare the
question's words are, of how alike the most alike word of the sentence is (MaxSim, Khattab and Zaharia 2020),
that of its paragraph, and the score of `relevance` by words alone. Needs torch; minutes on one core.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bench.common import ROOT
from bench.prompts import asked
from nacrith import atomic
from nacrith.prompt.encoder import quantised
from nacrith.prompt.scorers.lexrank import paragraphs
from nacrith.prompt.scorers.likeness import Likeness, word_vectors
from nacrith.prompt.scorers.relevance import Query, relevance
from nacrith.prompt.scorers.terms import counted, terms
from nacrith.prompt.segment import passage

_WORDS = ROOT / "nacrith" / "prompt" / "weights" / "words.npz"
_SQUAD = 1500  # questions
_BATCH = 8
_SHARP = 3.0  # of the softmax


class Example:
    """A question and its sentences as arrays: q, u places of the terms of both, exact whether they are the
    same, rows and columns the terms of sentences, lexical the score by words alone, right the sentences."""

    def __init__(self, row: asked.Asked, plain: Likeness) -> None:
        p = passage(row.text)
        counts, vocabulary = counted(terms(p), len(p.sentences))
        wanted = list(dict.fromkeys(t for _, t in terms(passage(row.question))))
        self.q, self.u = plain.places(wanted), plain.places(list(vocabulary))
        self.exact = np.array([[a == b for b in vocabulary] for a in wanted], bool).reshape(
            -1, len(vocabulary)
        )
        self.rows, self.columns = torch.tensor(counts.rows), torch.tensor(counts.columns)
        self.paragraph = torch.tensor(paragraphs([p]))
        lexical = relevance(counts, self.paragraph.numpy(), Query(wanted, vocabulary))
        self.lexical = torch.tensor(lexical / max(float(lexical.max()), 1e-9), dtype=torch.float32)
        texts = [" ".join(p.sentence_text(i).split()) for i in range(len(p.sentences))]
        self.right = torch.tensor([any(" ".join(a.split()) in t for a in row.answers) for t in texts])


class Model(torch.nn.Module):
    """The projection, begun as principal components; floor, rare as in `Likeness`; weights of the score."""

    def __init__(self, vectors: np.ndarray, plain: Likeness, inner: int) -> None:
        super().__init__()
        self.plain = plain
        self.register_buffer("vectors", torch.tensor(np.vstack([vectors, np.zeros_like(vectors[:1])])))
        axes = np.linalg.svd(vectors[119:12000], full_matrices=False)[2]
        self.projection = torch.nn.Parameter(torch.tensor(axes[:inner].T.copy()))
        self.floor = torch.nn.Parameter(torch.tensor(0.3))
        self.rare = torch.nn.Parameter(torch.tensor([0.2, 1.0]))
        self.weights = torch.nn.Parameter(torch.tensor([4.0, 1.0, 2.0]))

    def forward(self, x: Example) -> torch.Tensor:
        if not len(x.q):
            return self.weights[0] * x.lexical
        q, u = (torch.nn.functional.normalize(self.vectors[p] @ self.projection, dim=1) for p in (x.q, x.u))
        alike = ((q @ u.T - self.floor) / (1 - self.floor)).clamp(0, 0.95)
        alike = torch.where(torch.tensor(x.exact), torch.ones(()), alike)
        rarity = torch.tensor(self.plain.rarity(x.q), dtype=torch.float32)
        weight = torch.relu(self.rare[0] + self.rare[1] * rarity) + 1e-3
        rows, paragraph = (i.expand(len(q), -1) for i in (x.rows, x.paragraph))
        most = torch.zeros(len(q), len(x.lexical)).scatter_reduce(1, rows, alike[:, x.columns], "amax")
        around = torch.zeros(len(q), int(x.paragraph[-1]) + 1).scatter_reduce(1, paragraph, most, "amax")
        own, near = ((weight[:, None] * m).sum(0) / weight.sum() for m in (most, around))
        return self.weights[0] * x.lexical + self.weights[1] * own + self.weights[2] * near[x.paragraph]


def examples(folder: Path, held: int, plain: Likeness) -> list[Example]:
    rows = asked.unreported(folder)[held:] + asked.squad_training(folder, _SQUAD)
    made = [Example(row, plain) for row in rows]
    return [x for x in made if x.right.any()]


def train(model: Model, every: list[Example], epochs: int, seed: int) -> None:
    rng = random.Random(seed)
    others = [model.floor, model.rare, model.weights]
    optimizer = torch.optim.AdamW(
        [{"params": [model.projection], "lr": 3e-3}, {"params": others, "lr": 1e-2}], weight_decay=0
    )
    rates = [group["lr"] for group in optimizer.param_groups]
    for epoch in range(epochs):
        rng.shuffle(every)
        total = 0.0
        for i, x in enumerate(every):
            scores = _SHARP * model(x)
            loss = torch.logsumexp(scores, 0) - torch.logsumexp(scores[x.right], 0)
            (loss / _BATCH).backward()
            total += float(loss.detach())
            if i % _BATCH == _BATCH - 1:
                for group, rate in zip(optimizer.param_groups, rates, strict=True):
                    group["lr"] = rate * (1 - (epoch + i / len(every)) / epochs)
                optimizer.step()
                optimizer.zero_grad()
        print(f"epoch {epoch}: loss {total / len(every):.4f}", file=sys.stderr, flush=True)
    print(f"floor, rare, weights: {[p.tolist() for p in others]}", file=sys.stderr)


def save(path: Path, model: Model, mean: np.ndarray) -> None:
    """Write what `likeness.built_in` reads."""
    projection = model.projection.detach().numpy()
    rows, scale = quantised(projection)
    rare = [round(max(0.0, float(x)), 4) for x in model.rare.tolist()]
    header: dict[str, Any] = {"floor": round(model.floor.item(), 4), "rare": rare}
    made = BytesIO()
    out = {
        "projection": rows,
        "projection.scale": scale,
        "centre": (mean @ (rows * scale[:, None])).astype(np.float32),
        "header": np.frombuffer(json.dumps(header).encode(), np.uint8),
    }
    np.savez(made, allow_pickle=False, **out)
    atomic.write(path, made.getvalue())


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.training.likeness")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--inner", type=int, default=64)
    parser.add_argument("--held", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(options.seed)
    (rows, scale), vocabulary = word_vectors(_WORDS.read_bytes())
    vectors = rows.astype(np.float32) * scale[:, None]
    mean = vectors.mean(0)
    vectors = vectors - mean
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    empty = np.zeros((vectors.shape[1], 1), np.float32)
    plain = Likeness((rows, scale), vocabulary, empty, empty[0], 0.3, (0.0, 1.0))
    model = Model(vectors, plain, options.inner)
    train(model, examples(options.data, options.held, plain), options.epochs, options.seed)
    save(options.out, model, mean)


if __name__ == "__main__":
    main()
