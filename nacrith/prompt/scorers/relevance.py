"""Relevance of sentences to a query, by words alone: what a sentence, its surroundings and its links say.

A sentence that answers often shares little with the question. So besides its own BM25 counts:

- its paragraph: the best sentence of it, and BM25 of all of it; in a long paragraph (a transcript) the
  sentences around it;
- a second hop: the terms of the best sentences, together with the terms of the query that these lack, are a
  second query ("the director of X" needs what the text says about him, far from X);
- links: a paragraph whose first words, its title, occur in one of the best sentences;
- words that mean alike (`likeness`), of the sentence and of its paragraph, and what kind of thing is asked
  for (`cues`): an answer often has none of the question's words.

In a few passages every word is rare. So a term of the query also counts by how rare it is in English.

All weights were chosen on parts of HotpotQA, NQ-open, SQuAD and QMSum that bench.prompts.asked, which
measures, does not report.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from nacrith.arith import F64
from nacrith.lazy import lazy
from nacrith.prompt.scorers.likeness import Likeness
from nacrith.prompt.scorers.terms import Counts, sums
from nacrith.prompt.segment import I64

_BEST, _PARAGRAPH, _AROUND = 0.5, 0.75, 1.0
"""Weights of a paragraph's best sentence, of a paragraph, and of the surroundings in a long one."""
_FIRST = 0.2  # of the first sentence, which tells what a paragraph is about
_HOP, _LINK = 0.5, 0.7
_TOP = 5  # sentences that the second hop and the links start from
_HEAD = 3  # terms that are the title of a paragraph
_LONG = 12  # sentences of a long paragraph
_SIMILAR, _SHARED, _LEAST = 0.4, 0.7, 4
"""Weight of a term that shares this part of its characters, and at least so many, with a query's term."""
_MEANT, _MEANT_AROUND, _CUE = 0.5, 0.7, 0.2
"""Weights of words that mean alike, in a sentence and in its paragraph, and of cues."""
_FREQUENT = 0.3  # weight of the most frequent English word; the rarest has 1
_MOST = 64  # terms of a query that are compared with words that begin or mean alike


@dataclass
class Query:
    """A query and the terms of a text. terms: of the query. vocabulary: number of each term of the text.
    cues: (sentences,) as of `cues`. likeness: None to go by words alone."""

    terms: Sequence[str]
    vocabulary: dict[str, int]
    cues: F64 | None = None
    likeness: Likeness | None = None

    @lazy
    def weights(self) -> F64:
        """(terms of the text,) how much each counts."""
        found = asked(list(self.terms), self.vocabulary)
        if self.likeness is None or not self.vocabulary:
            return found
        there = np.flatnonzero(found)
        names = list(self.vocabulary)
        rarity = self.likeness.rarity(self.likeness.places([names[i] for i in there]))
        found[there] *= _FREQUENT + (1 - _FREQUENT) * rarity
        return found

    @lazy
    def alike(self) -> tuple[F64, F64]:
        """(query terms, terms of the text) how alike they are, 1 for the same; and (query terms,) weights of
        a sum of 1. Of a long query, the heaviest terms."""
        assert self.likeness is not None
        terms = list(dict.fromkeys(self.terms))
        places = self.likeness.places(terms)
        weights = self.likeness.weights(places)
        heaviest = np.argsort(-weights, kind="stable")[:_MOST]
        vectors = self.likeness.vectors(places[heaviest])
        found = self.likeness.alike(
            vectors, self.likeness.vectors(self.likeness.places(list(self.vocabulary)))
        )
        for row, k in enumerate(heaviest.tolist()):
            if terms[k] in self.vocabulary:
                found[row, self.vocabulary[terms[k]]] = 1.0
        chosen = weights[heaviest]
        return found, chosen / max(float(chosen.sum()), 1e-9)


def asked(query: list[str], vocabulary: dict[str, int]) -> F64:
    """(terms,) weight of each term for a query: 1 for its own terms, less for those that begin alike
    (Iran, Iranian). Of a long query, later terms count for themselves only."""
    weights = np.zeros(max(len(vocabulary), 1))
    near: dict[str, list[str]] = {}
    query = list(dict.fromkeys(query))
    for term in query[_MOST:]:
        if term in vocabulary:
            weights[vocabulary[term]] = 1.0
    query = query[:_MOST]
    wanted = {t[:_LEAST] for t in query}
    for term in vocabulary:
        if term[:_LEAST] in wanted:
            near.setdefault(term[:_LEAST], []).append(term)
    for term in query:
        for other in near.get(term[:_LEAST], ()):
            shared = _alike(term, other)
            if other == term:
                weights[vocabulary[other]] = 1.0
            elif shared >= max(_LEAST, _SHARED * max(len(term), len(other))):
                weights[vocabulary[other]] = max(weights[vocabulary[other]], _SIMILAR)
    return weights


def _alike(a: str, b: str) -> int:
    """The number of characters in which both begin alike."""
    return next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))


def relevance(sentences: Counts, paragraph: I64, asks: Query) -> F64:
    """(sentences,) scores, at least 0; all 0 if nothing has a term of the query.

    paragraph: (sentences,) paragraph of each, ascending from 0 without gaps.
    """
    query = asks.weights
    own = _scaled(sentences.bm25(query))
    if not own.any():
        return own
    edges = np.flatnonzero(np.diff(paragraph, prepend=-1, append=paragraph[-1] + 1))
    paragraphs = sentences.merged(paragraph)
    near = own + _BEST * _most(own, edges)[paragraph] + _AROUND * _scaled(_surroundings(own, edges))
    if len(edges) > 2:
        near += _PARAGRAPH * _scaled(paragraphs.bm25(query))[paragraph]
    near = _scaled(near)
    if asks.likeness is not None:
        meant = _meant(sentences, asks)
        around = _scaled(_surroundings(meant, edges))
        near += _MEANT * np.where(around > 0, around, meant)
        if len(edges) > 2:
            near += _MEANT_AROUND * _meant(paragraphs, asks)[paragraph]
    if asks.cues is not None:
        near += _CUE * asks.cues
    near = _scaled(near)
    first = np.zeros(len(near))
    first[edges[:-1]] = _FIRST * _most(near, edges)
    near += first
    top = np.argsort(-near, kind="stable")[:_TOP]
    score = near + _HOP * _scaled(sentences.bm25(_second_query(sentences, query, top, near)))
    if len(edges) > 2:
        score += _LINK * _links(sentences, paragraphs, paragraph, top, near)[paragraph]
    return score


def _meant(rows: Counts, asks: Query) -> F64:
    """(rows,) from 0 to 1: how alike to a term of the query the most alike word of a row is, on average."""
    alike, weights = asks.alike
    out = np.zeros(rows.shape[0])
    some = np.flatnonzero(np.diff(rows.starts) > 0)
    for found, weight in zip(alike, weights.tolist(), strict=True):
        out[some] += weight * np.maximum.reduceat(found[rows.columns], rows.starts[some])
    return out


def _scaled(x: F64) -> F64:
    """x with a maximum of 1, unless nothing is above 0."""
    most = float(x.max())
    return x / most if most > 0 else np.zeros(len(x))


def _most(x: F64, edges: I64) -> F64:
    """(paragraphs,) the highest value of each."""
    found: F64 = np.maximum.reduceat(x, edges[:-1])
    return found


def _surroundings(x: F64, edges: I64) -> F64:
    """For each sentence of a long paragraph the sum of x around it, which decays by 1/e within the square
    root of the paragraph's length; 0 in other paragraphs."""
    out = np.zeros(len(x))
    for a, b in pairwise(edges.tolist()):
        if b - a <= _LONG:
            continue
        decay = float(np.exp(-((b - a) ** -0.5)))
        values = x[a:b].tolist()
        for order in (range(b - a), range(b - a - 1, -1, -1)):
            total = 0.0
            for i in order:
                total = total * decay + values[i]
                out[a + i] += total
        out[a:b] -= x[a:b]
    return out


def _second_query(sentences: Counts, query: F64, top: I64, near: F64) -> F64:
    """(terms,) weights: of the new terms of the best sentences the score of these, and 1 for the terms of
    the query that none of them has."""
    weights = np.zeros(len(query))
    for i in top.tolist():
        here = sentences.of(i)
        weights[here] = np.maximum(weights[here], near[i])
    missing = (query > 0) & (weights == 0)
    weights[query > 0] = 0
    weights[missing] = 1.0
    return weights


def _titles(sentences: Counts, paragraph: I64) -> tuple[I64, I64]:
    """(paragraph, term) for the first terms of the first sentence of each paragraph that has terms."""
    some = np.flatnonzero(np.diff(sentences.starts) > 0)
    owners, at = np.unique(paragraph[some], return_index=True)
    owner: list[int] = []
    head: list[int] = []
    for number, row in zip(owners.tolist(), some[at].tolist(), strict=True):
        found = sentences.first(row, _HEAD).tolist()
        owner += [number] * len(found)
        head += found
    return np.array(owner, np.int64), np.array(head, np.int64)


def _links(sentences: Counts, paragraphs: Counts, paragraph: I64, top: I64, near: F64) -> F64:
    """(paragraphs,) how far the title of each occurs in one of the best sentences of other ones."""
    idf = np.maximum(paragraphs.idf, 0.0)
    owner, head = _titles(sentences, paragraph)
    size = paragraphs.shape[0]
    mass = np.maximum(sums(owner, idf[head], size), 1e-9)
    best = np.zeros(size)
    there = np.zeros(len(idf), bool)
    for i in top.tolist():
        there[:] = False
        there[sentences.of(i)] = True
        share = sums(owner, idf[head] * there[head], size) / mass
        share[paragraph[i]] = 0
        best = np.maximum(best, share**2 * near[i] / near[top[0]])
    return best
