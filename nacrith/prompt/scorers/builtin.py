"""Words by the classifier that comes with the package: what would a person who shortens the sentence keep?"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

from nacrith.prompt.encoder import load_words
from nacrith.prompt.scorers.protocol import F64
from nacrith.prompt.segment import Passage


class WordScorer:
    """Probability that a word is kept, from its sentence alone. path: of a model file; None: the built-in."""

    name = "classifier"
    by_sentence = False
    causal = True

    def __init__(self, path: Path | None = None, *, threads: int | None = None) -> None:
        self.encoder = load_words(path)
        self.threads = threads

    def score(self, passages: Sequence[Passage], query: str) -> list[F64]:
        """For each unit a probability; 0 for one that the tokenizer leaves out."""
        sentences = [p.words[a:b] for p in passages for a, b in p.sentences]
        with threadpool_limits(self.threads, "blas"):
            found = iter(self.encoder.score_words(sentences))
        return [np.concatenate([np.empty(0), *(next(found) for _ in p.sentences)]) for p in passages]
