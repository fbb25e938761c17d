"""Words by the classifier that comes with the package: what would a person who shortens the sentence keep?"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import chain
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

from nacrith.cores import usable_cores
from nacrith.prompt.encoder import load_words
from nacrith.prompt.scorers.protocol import F64
from nacrith.prompt.segment import Passage
from nacrith.workers import run_all

_SHARE = 16  # sentences that a thread takes at a time


class WordScorer:
    """Probability that a word is kept, from its sentence alone, or a group of sentences if the model was
    trained on such. path: of a model file; None: the built-in."""

    name = "classifier"
    by_sentence = False

    def __init__(self, path: Path | None = None, *, threads: int | None = None) -> None:
        self.encoder = load_words(path)
        self.threads = threads
        self.causal = not self.encoder.together  # what follows may join the last group

    def score(self, passages: Sequence[Passage], query: str) -> list[F64]:
        """For each unit a probability; 0 for one that the tokenizer leaves out."""
        most = self.encoder.together
        read = [p.groups(most) if most else p.sentences for p in passages]
        sentences = [p.words[a:b] for p, places in zip(passages, read, strict=True) for a, b in places]
        shares = [sentences[i : i + _SHARE] for i in range(0, len(sentences), _SHARE)]
        # One thread for each product: these are small, and what they round must not depend on `threads`.
        tasks = [partial(self.encoder.score_words, share) for share in shares]
        with threadpool_limits(1, "blas"):
            found = chain.from_iterable(run_all(tasks, self.threads or usable_cores()))
        return [np.concatenate([np.empty(0), *(next(found) for _ in places)]) for places in read]
