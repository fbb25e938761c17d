"""The sentence compression data (Filippova and Altun 2013) as pieces and labels, in a repeatable order.

A file is .jsonl or .jsonl.xz, one {"words": [...], "keep": [0 or 1, ...]} a line. The training copy is
lower-cased, has ## for every number and <unk> for rare words. Numbers are one number for the model anyway;
<unk> is replaced by a rare word of the data, drawn at random, since at inference a rare word is pieces, not
[UNK]. Quotation marks and clitics lose what the Penn Treebank does to them.
"""

from __future__ import annotations

import lzma
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from nacrith import jsontext
from nacrith.errors import NacrithError
from nacrith.prompt.encoder import NUMBER, pieces

I32 = npt.NDArray[np.int32]
Sentence = tuple[list[str], list[int]]

_PLAIN = {"##": NUMBER, "#": NUMBER, "``": '"', "''": '"', "`": "'", "-lrb-": "(", "-rrb-": ")"}
_RARE = 5  # occurrences at most of a word that may stand for <unk>
_UNKNOWN = "<unk>"

MISSING = 2
"""Label of a word, or a piece of one, that is not judged."""


def read_sentences(path: Path, limit: int | None = None) -> list[Sentence]:
    """Words and labels, the first `limit` of the file."""
    out: list[Sentence] = []
    try:
        with lzma.open(path, "rt", encoding="utf-8") if path.suffix == ".xz" else path.open() as file:
            for line in file:
                row = jsontext.parse(line)
                words, keep = [str(w) for w in row["words"]], [int(k) for k in row["keep"]]
                if len(words) != len(keep):
                    raise ValueError("words and labels differ in number")
                out.append((words, keep))
                if len(out) == limit:
                    break
    except (ValueError, KeyError, TypeError, lzma.LZMAError) as error:
        raise NacrithError(f"{path}, line {len(out) + 1}: not a sentence with labels: {error}") from None
    return out


def plain(sentences: Sequence[Sentence], seed: int) -> Iterator[Sentence]:
    """The sentences as people write them, as far as that can be told."""
    counts = Counter(w for words, _ in sentences for w in words)
    rare = sorted(w for w, n in counts.items() if n <= _RARE and w.isalpha()) or [_UNKNOWN]
    rng = random.Random(seed)
    for words, keep in sentences:
        out = [rng.choice(rare) if w == _UNKNOWN else _PLAIN.get(w, w) for w in words]
        for i in range(1, len(out)):
            if out[i] == "n't":  # don't is d-o-n-'-t for a tokenizer that cuts at the apostrophe
                out[i - 1], out[i] = out[i - 1] + "n", "'t"
        yield out, keep


@dataclass(frozen=True)
class Pieces:
    """Sentences one after the other. ids, labels: (pieces,); starts: (sentences + 1,)."""

    ids: I32
    labels: I32
    starts: I32

    @property
    def lengths(self) -> I32:
        return np.diff(self.starts)


def encode(sentences: Sequence[Sentence], tokenizer: Tokenizer, longest: int) -> Pieces:
    """Pieces of all sentences of at most `longest` pieces; a word's label is that of its first piece.
    NacrithError if there is none."""
    ids: list[int] = []
    labels: list[int] = []
    starts = [0]
    for (_, keep), (found, words) in zip(
        sentences, pieces(tokenizer, [words for words, _ in sentences]), strict=True
    ):
        if 0 < len(found) <= longest:
            ids += found
            labels += [keep[w] if i == 0 or words[i - 1] != w else MISSING for i, w in enumerate(words)]
            starts.append(len(ids))
    if len(starts) == 1:
        raise NacrithError(f"none of {len(sentences)} texts has 1 to {longest} pieces: give others")
    return Pieces(np.array(ids, np.int32), np.array(labels, np.int32), np.array(starts, np.int32))


@dataclass(frozen=True)
class Batch:
    """ids, labels, mask: (sentences, pieces); mask is 0 at the padding, labels there are missing."""

    ids: I32
    labels: I32
    mask: npt.NDArray[np.bool_]


def batches(data: Pieces, size: int, seed: int, ends: tuple[int, int]) -> Iterator[Batch]:
    """Endless batches of about `size` pieces and of sentences of like length, the same for the same seed.

    ends: ids before and after each sentence.
    """
    for epoch in range(1 << 30):
        rng = np.random.default_rng([seed, epoch])
        order = rng.permutation(len(data.lengths))
        for group in np.array_split(order, max(1, len(order) // 8192)):
            group = group[np.argsort(data.lengths[group], kind="stable")]
            places = np.cumsum(data.lengths[group] + 2) // size
            cuts = np.flatnonzero(np.diff(places)) + 1
            made = np.split(group, cuts)
            for i in rng.permutation(len(made)):
                yield _batch(data, made[i], ends)


def mixed(first: Iterator[Batch], second: Iterator[Batch], share: float) -> Iterator[Batch]:
    """Batches of both; `share` of them, evenly spread, of the second."""
    for step in range(1 << 30):
        yield next(second if int((step + 1) * share) > int(step * share) else first)


def _batch(data: Pieces, rows: npt.NDArray[np.int64], ends: tuple[int, int]) -> Batch:
    lengths = data.lengths[rows] + 2
    shape = len(rows), int(lengths.max())
    ids = np.zeros(shape, np.int32)
    labels = np.full(shape, MISSING, np.int32)
    for i, row in enumerate(rows):
        a, b = data.starts[row], data.starts[row + 1]
        ids[i, : b - a + 2] = [ends[0], *data.ids[a:b], ends[1]]
        labels[i, 1 : b - a + 1] = data.labels[a:b]
    return Batch(ids, labels, np.arange(shape[1]) < lengths[:, None])
