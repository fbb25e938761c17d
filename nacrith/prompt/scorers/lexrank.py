"""Scores sentences by their relevance to a query, else by their centrality. No model, linear time.

With a query: `relevance`. Without one, or where nothing in the text has a word of it: continuous LexRank
(Erkan and Radev 2004), PageRank over sentences, linked by the cosine of their tf-idf vectors. Without a
threshold the matrix of cosines is X X', where X is the sparse matrix of unit vectors. It is never computed:
a step of the walk is two sparse products.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nacrith.arith import F64
from nacrith.prompt.scorers.cues import cues
from nacrith.prompt.scorers.likeness import built_in
from nacrith.prompt.scorers.relevance import Query, relevance
from nacrith.prompt.scorers.terms import Counts, counted, sums, terms
from nacrith.prompt.segment import I64, Passage, passage

_DAMPING = 0.85
_STEPS = 60
_REPEATED = 0.1  # of the score is left for a sentence that is there already
_BRIEF = 20  # characters; a shorter sentence may be said again: "Yes."


class LexRankScorer:
    """Scores are relative to the best sentence, which has 1."""

    name = "lexrank"
    by_sentence = True
    causal = False

    def score(self, passages: Sequence[Passage], query: str) -> list[F64]:
        sizes = [len(p.sentences) for p in passages]
        before = np.cumsum([0, *sizes]).tolist()
        total = before[-1]
        found = [(a + row, term) for p, a in zip(passages, before, strict=False) for row, term in terms(p)]
        if not found:
            return [np.zeros(n) for n in sizes]
        counts, vocabulary = counted(found, total)
        score = np.zeros(total)
        if query:
            words = [term for _, term in terms(passage(query))]
            signs = cues(query, [p.sentence_text(i) for p in passages for i in range(len(p.sentences))])
            score = relevance(counts, paragraphs(passages), Query(words, vocabulary, signs, built_in()))
        if not score.any():
            score = _walk(counts)
        score *= _fresh(passages)
        return np.split(score / score.max(), before[1:-1])


def _fresh(passages: Sequence[Passage]) -> F64:
    """(sentences,) 1, or less for a sentence that an earlier one equals but for case and white space."""
    seen: set[str] = set()
    out: list[float] = []
    for p in passages:
        for number in range(len(p.sentences)):
            plain = " ".join(p.sentence_text(number).casefold().split())
            out.append(_REPEATED if plain in seen else 1.0)
            if len(plain) > _BRIEF:
                seen.add(plain)
    return np.array(out)


def paragraphs(passages: Sequence[Passage]) -> I64:
    """(sentences,) number of the paragraph of each sentence, ascending; a passage begins a new one."""
    begins: list[bool] = []
    for p in passages:
        gaps = p.gaps
        begins += [i == 0 or gaps[a].count("\n") > 1 for i, (a, _) in enumerate(p.sentences)]
    return np.cumsum(begins) - 1


def _walk(counts: Counts) -> F64:
    """The stationary distribution of the walk along cosines, which restarts anywhere."""
    rows, columns = counts.rows, counts.columns
    size, width = counts.shape
    weights = counts.tf * counts.idf[columns]
    norms = np.sqrt(sums(rows, weights**2, size))
    values = weights / norms[rows]

    def step(x: F64) -> F64:
        """X X' x."""
        return sums(rows, values * sums(columns, values * x[rows], width)[columns], size)

    start = np.full(size, 1.0 / size)
    degree = step(np.ones(size))
    degree[degree <= 0] = 1.0
    rank = start
    for _ in range(_STEPS):
        went = step(rank / degree)
        rank = _DAMPING * went + (1 - _DAMPING * went.sum()) * start
    return rank
