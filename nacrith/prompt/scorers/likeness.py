"""How alike two words are in meaning, and how rare a word is in English: what words of a question find.

The word vectors are those of the built-in classifier (`encoder`), which has them from MiniLM: one for each
whole word of its vocabulary, which is sorted by frequency. A small matrix, trained on questions and the
sentences that answer them (bench/training/likeness.py), projects them so that what asks and what answers is
near ("wrote", "author"). The words are looked up alone, so a text costs no pass of a model. A word that is
not in the vocabulary, as most of other languages, is alike to itself only.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from io import BytesIO

import numpy as np

from nacrith import jsontext
from nacrith.arith import F32, F64
from nacrith.prompt.scorers.terms import stem

_FREQUENT = 119
"""The number of the most frequent word in the vocabulary; characters are before it."""
_ALIKE = 0.95  # most that two different words have in common


class Likeness:
    """vectors: (words, width) of unit length, not yet projected. words: number of the vector of each term.

    projection: (width, inner), centre: (inner,) projection of the mean vector. floor: cosine from which words
    are alike. rare: the weight of the most frequent word, and what the rarest has more.
    """

    def __init__(
        self,
        embedding: tuple[np.ndarray, F32],
        vocabulary: Sequence[str],
        projection: F32,
        centre: F32,
        floor: float,
        rare: tuple[float, float],
    ) -> None:
        self._embedding, self._scale = embedding
        self._projection, self._centre = projection, centre
        self._floor, self._rare = floor, rare
        self.size = len(vocabulary)
        self._place: dict[str, int] = {}
        for number, word in enumerate(vocabulary):
            if number >= _FREQUENT and word.isalpha():
                self._place.setdefault(stem(word), number)

    def places(self, terms: Sequence[str]) -> np.ndarray:
        """(terms,) number of the vector of each; `size` for a term without one."""
        return np.array([self._place.get(t, self.size) for t in terms], np.int64)

    def rarity(self, places: np.ndarray) -> F64:
        """(terms,) from 0 for the most frequent word to 1 for the rarest and for unknown ones."""
        share = np.log(np.maximum(places, _FREQUENT) / _FREQUENT) / np.log(self.size / _FREQUENT)
        out: F64 = np.minimum(share, 1.0)
        return out

    def weights(self, places: np.ndarray) -> F64:
        """(terms,) what each counts in a question."""
        return self._rare[0] + self._rare[1] * self.rarity(places)

    def vectors(self, places: np.ndarray) -> F32:
        """(terms, inner) of unit length, 0 for a term without one."""
        known = places < self.size
        rows = np.where(known, places, 0)
        x = self._embedding[rows].astype(np.float32) * self._scale[rows, None]
        x = (x @ self._projection - self._centre) * known[:, None]
        out: F32 = x / np.maximum(np.sqrt((x * x).sum(axis=1, keepdims=True)), 1e-9)
        return out

    def alike(self, query: F32, terms: F32) -> F64:
        """(query terms, terms) from 0 to less than 1; rounded, so that no machine ranks otherwise."""
        cosine = (query @ terms.T).astype(np.float64)
        thousandths = np.rint(1000 * np.clip((cosine - self._floor) / (1 - self._floor), 0.0, _ALIKE))
        found: F64 = thousandths / 1000
        return found


@cache
def built_in() -> Likeness:
    """The one that the package ships."""
    folder = files("nacrith.prompt").joinpath("weights")
    with np.load(BytesIO(folder.joinpath("likeness.npz").read_bytes()), allow_pickle=False) as mine:
        header = jsontext.parse(mine["header"].tobytes())
        projection = mine["projection"].astype(np.float32) * mine["projection.scale"][:, None]
        centre = mine["centre"]
    embedding, vocabulary = word_vectors(folder.joinpath("words.npz").read_bytes())
    return Likeness(embedding, vocabulary, projection, centre, header["floor"], tuple(header["rare"]))


def word_vectors(data: bytes) -> tuple[tuple[np.ndarray, F32], list[str]]:
    """int8 rows and scales of the embedding in a file of `encoder.write_model`, and its vocabulary."""
    with np.load(BytesIO(data), allow_pickle=False) as archive:  # members are read one by one
        vocabulary = archive["vocabulary"].tobytes().decode().split("\n")
        return (archive["embedding"], archive["embedding.scale"]), vocabulary
