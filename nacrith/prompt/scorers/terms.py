"""Terms of sentences, and how often each sentence or paragraph has each term, as sparse counts."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

import numpy as np

from nacrith.arith import F64
from nacrith.prompt.segment import I64, WORD, Passage

_STOP = frozenset(
    re.findall(
        r"\w+",
        "a about after all also an and any are as at be because been before but by can could did do does for"
        " from had has have he her his how i if in into is it its may me more most my of on one or other our"
        " out over she so some such than that the their them then there these they this to up was we were"
        " what when where which who whom whose why will with would you your",
    )
)
_ENDINGS = ("ations", "ation", "ings", "ing", "ies", "ed", "es", "s", "ly", "e", "y")
_PART = re.compile(r"[^\W_]+")


def terms(p: Passage) -> list[tuple[int, str]]:
    """(sentence, term): words without their ending, those of a compound ("best-selling") too, and pairs of
    adjacent Han or Hiragana characters."""
    out: list[tuple[int, str]] = []
    words, sentence = p.words, p.sentence.tolist()
    solid, kinds = p.solid.tolist(), p.kinds.tolist()
    for i, word in enumerate(words):
        if kinds[i] != WORD:
            continue
        term = word.casefold()
        if solid[i]:
            out += [(sentence[i], t) for t in _of_word(term)]
            continue
        out.append((sentence[i], term))
        if i + 1 < len(words) and kinds[i + 1] == WORD and not solid[i + 1] and p.ends[i] == p.starts[i + 1]:
            out.append((sentence[i], term + words[i + 1]))
    return out


def _of_word(word: str) -> Iterator[str]:
    whole = word.replace("’", "'").removesuffix("'s")
    if whole.isalnum():
        if whole not in _STOP:
            yield stem(whole)
        return
    parts = [p for p in _PART.findall(whole) if p not in _STOP]
    yield from map(stem, parts)
    if len(parts) != 1 and whole not in _STOP:
        yield stem(whole)


def stem(term: str) -> str:
    """A word without the most frequent English endings, so that a question matches its answer."""
    if term.isascii() and len(term) > 4:
        for ending in _ENDINGS:
            if term.endswith(ending) and len(term) - len(ending) > 2:
                return term[: -len(ending)]
    return term


class Counts:
    """How often each row (a sentence, a paragraph) has each term.

    rows, columns, tf: (cells,) by row, then by term. place: (cells,) ascends with the first occurrence of
    the term in the row. starts: (rows + 1,) first cell of each row. idf: (terms,).
    """

    def __init__(self, rows: I64, columns: I64, weight: F64, shape: tuple[int, int]) -> None:
        self.shape = shape
        cells, self.place, cell = np.unique(rows * shape[1] + columns, return_index=True, return_inverse=True)
        self.tf = sums(cell, weight, len(cells))
        self.rows, self.columns = cells // shape[1], cells % shape[1]
        self.starts: I64 = np.searchsorted(self.rows, np.arange(shape[0] + 1))
        df = np.bincount(self.columns, minlength=shape[1])
        self.idf: F64 = np.log((shape[0] + 1) / (df + 0.5))

    def merged(self, group: I64) -> Counts:
        """The counts of groups of rows. group: (rows,) the group of each row, ascending from 0."""
        shape = (int(group[-1]) + 1, self.shape[1])
        return Counts(group[self.rows], self.columns, self.tf, shape)

    def of(self, row: int) -> I64:
        """The terms of a row."""
        return self.columns[self.starts[row] : self.starts[row + 1]]

    def first(self, row: int, count: int) -> I64:
        """The first terms of a row, in the order of the text."""
        order = np.argsort(self.place[self.starts[row] : self.starts[row + 1]])
        return self.of(row)[order[:count]]

    def bm25(self, weights: F64) -> F64:
        """(rows,) relevance to terms with weights, (terms,): BM25 with k1 = 1.2, b = 0.75."""
        length = sums(self.rows, self.tf, self.shape[0])
        norm = 1.2 * (0.25 + 0.75 * length / max(float(length.mean()), 1.0))
        gain = self.idf[self.columns] * self.tf * 2.2 / (self.tf + norm[self.rows])
        return sums(self.rows, gain * weights[self.columns], self.shape[0])


def counted(found: Iterable[tuple[int, str]], rows: int) -> tuple[Counts, dict[str, int]]:
    """The counts of (row, term), and the number of each term."""
    vocabulary: dict[str, int] = {}
    pairs = [(row, vocabulary.setdefault(term, len(vocabulary))) for row, term in found]
    table = np.array(pairs, np.int64).reshape(-1, 2)
    shape = (rows, max(len(vocabulary), 1))
    return Counts(table[:, 0], table[:, 1], np.ones(len(table)), shape), vocabulary


def sums(places: I64, values: F64, size: int) -> F64:
    """(size,) sums of the values at each place."""
    total: F64 = np.bincount(places, values, size).astype(np.float64)
    return total
