"""Sentences by their centrality and their nearness to a query. No model, linear in the text.

Continuous LexRank (Erkan and Radev 2004): PageRank over sentences, linked by the cosine of their tf-idf
vectors; with a query the walk restarts at sentences like it (Otterbacher, Erkan and Radev 2005). Without a
threshold the matrix of cosines is X X', X the sparse matrix of unit vectors, so that it is never made: a
step of the walk is two sparse products.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from nacrith.prompt.scorers.protocol import F64
from nacrith.prompt.segment import I64, WORD, Passage, passage

_DAMPING = 0.85
_QUERY_DAMPING = 0.3
"""With a query most of the score is likeness to it; `bench.prompts.prompt` measures it."""
_STEPS = 60
_STOP = frozenset(
    re.findall(
        r"\w+",
        "a about after all also an and any are as at be because been before but by can could did do does for"
        " from had has have he her his how i if in into is it its may me more most my of on one or other our"
        " out over she so some such than that the their them then there these they this to up was we were"
        " what when where which who whom whose why will with would you your",
    )
)


class LexRankScorer:
    """LexRank with a bias to the query. Scores are relative to the best sentence, which has 1."""

    name = "lexrank"
    by_sentence = True
    causal = False

    def score(self, passages: Sequence[Passage], query: str) -> list[F64]:
        counts = [len(p.sentences) for p in passages]
        total = sum(counts)
        vocabulary: dict[str, int] = {}
        rows: list[int] = []
        columns: list[int] = []
        base = 0
        for p, n in zip(passages, counts, strict=True):
            for sentence, term in _terms(p):
                rows.append(base + sentence)
                columns.append(vocabulary.setdefault(term, len(vocabulary)))
            base += n
        if not total or not vocabulary:
            return [np.zeros(n) for n in counts]
        matrix = _Matrix(np.array(rows), np.array(columns), (total, len(vocabulary)))
        start = np.full(total, 1.0 / total)
        damping = _DAMPING
        if query:
            known = [vocabulary[t] for _, t in _terms(passage(query)) if t in vocabulary]
            near = matrix.nearness(np.bincount(np.array(known, np.int64), minlength=len(vocabulary)))
            if near.sum() > 0:
                start, damping = near / near.sum(), _QUERY_DAMPING
        rank = _walk(matrix, start, damping)
        return np.split(rank / rank.max(), np.cumsum(counts)[:-1])


def _terms(p: Passage) -> list[tuple[int, str]]:
    """(sentence, term): words without their ending, and pairs of adjacent Han or Hiragana characters."""
    out: list[tuple[int, str]] = []
    words, sentence = p.words, p.sentence.tolist()
    solid, kinds = p.solid.tolist(), p.kinds.tolist()
    for i, word in enumerate(words):
        if kinds[i] != WORD:
            continue
        term = word.casefold()
        if solid[i]:
            if term not in _STOP:
                out.append((sentence[i], _stem(term)))
            continue
        out.append((sentence[i], term))
        if i + 1 < len(words) and kinds[i + 1] == WORD and not solid[i + 1] and p.ends[i] == p.starts[i + 1]:
            out.append((sentence[i], term + words[i + 1]))
    return out


def _stem(term: str) -> str:
    """A word without possessive and the commonest English endings, so that a question finds its answer."""
    term = term.replace("’", "'").removesuffix("'s")
    if term.isascii() and len(term) > 4:
        for ending in ("ations", "ation", "ings", "ing", "ies", "ed", "es", "s", "ly", "e", "y"):
            if term.endswith(ending) and len(term) - len(ending) > 2:
                return term[: -len(ending)]
    return term


class _Matrix:
    """Sparse tf-idf vectors of the sentences, each of length 1; empty sentences stay 0."""

    def __init__(self, rows: I64, columns: I64, shape: tuple[int, int]) -> None:
        self.shape = shape
        cells, tf = np.unique(rows * shape[1] + columns, return_counts=True)
        self.rows, self.columns = cells // shape[1], cells % shape[1]
        df = np.bincount(self.columns, minlength=shape[1])
        self.idf: F64 = np.log((shape[0] + 1) / (df + 0.5))
        self.tf: F64 = tf.astype(np.float64)
        weights = self.tf * self.idf[self.columns]
        norms = np.sqrt(np.bincount(self.rows, weights**2, shape[0]))
        self.values: F64 = weights / norms[self.rows]

    def spread(self, x: F64) -> F64:
        """X x of a vector over the terms."""
        return _sums(self.rows, self.values * x[self.columns], self.shape[0])

    def gather(self, x: F64) -> F64:
        """X' x of a vector over the sentences."""
        return _sums(self.columns, self.values * x[self.rows], self.shape[1])

    def nearness(self, query: I64) -> F64:
        """Relevance of each sentence to a query of so many of each term: BM25 (k1 = 1.2, b = 0.75)."""
        length = np.bincount(self.rows, self.tf, self.shape[0])
        norm = 1.2 * (0.25 + 0.75 * length / max(float(length.mean()), 1.0))
        gain = self.idf[self.columns] * self.tf * 2.2 / (self.tf + norm[self.rows])
        return _sums(self.rows, gain * (query[self.columns] > 0), self.shape[0])


def _sums(places: I64, values: F64, size: int) -> F64:
    """(size,) sums of the values at each place."""
    sums: F64 = np.bincount(places, values, size).astype(np.float64)
    return sums


def _walk(matrix: _Matrix, start: F64, damping: float) -> F64:
    """The stationary distribution of the walk that restarts at `start`."""
    degree = matrix.spread(matrix.gather(np.ones(matrix.shape[0])))
    degree[degree <= 0] = 1.0
    rank = start
    for _ in range(_STEPS):
        step = matrix.spread(matrix.gather(rank / degree))
        rank = damping * step + (1 - damping * step.sum()) * start
    return rank
