"""Documents with labels made by a language model, so that the word classifier knows more than sentences.

The sentence compressions are news, one sentence each. Here any text is cut into excerpts, and the excerpts
into groups of sentences as inference reads them; of each group the words that carry the most bits, with the
excerpt before them in view, are the ones to keep: as many as people keep. Punctuation has no label, since it
follows its words by rule. What was labelled is kept in a file of `read_sentences`.
"""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path

import numpy as np

from nacrith.errors import NacrithError
from nacrith.models.protocol import LanguageModel
from nacrith.prompt.scorers.auto import is_english
from nacrith.prompt.scorers.language_model import SelfInformationScorer
from nacrith.prompt.segment import WORD, passage
from nacrith.training.corpus import documents
from nacrith.training.sentences import MISSING, Sentence, read_sentences

TOGETHER = 64
"""Units of a group: it is read as one by the model."""

KEPT = 0.374
"""Of the words: the rate of the sentence compressions."""

_EXCERPT = 2000  # characters, of one text


def excerpts(texts: Iterator[str], seed: int) -> Iterator[str]:
    """Of each English text up to _EXCERPT characters from the beginning of one of its paragraphs."""
    rng = random.Random(seed)
    for text in texts:
        begins = [0]
        while (at := text.find("\n\n", begins[-1])) >= 0:
            begins.append(at + 2)
        begin = rng.choice(begins)
        excerpt = text[begin : begin + _EXCERPT]
        if len(text) > begin + _EXCERPT:  # the last word may be half a one
            excerpt = excerpt[: max(excerpt.rfind(" "), excerpt.rfind("\n"), 0)]
        if is_english(excerpt):
            yield excerpt


def label(model: LanguageModel, texts: Iterator[str], units: int) -> Iterator[Sentence]:
    """Groups of sentences with labels, until they have so many units."""
    scorer = SelfInformationScorer(model)
    done = 0
    for text in texts:
        p = passage(text)
        (bits,) = scorer.score([p], "")
        for a, b in p.groups(TOGETHER):
            words = np.flatnonzero(p.kinds[a:b] == WORD)
            best = words[np.argsort(-bits[a:b][words], kind="stable")]
            keep = np.full(b - a, MISSING)
            keep[words] = 0
            keep[best[: round(KEPT * len(words))]] = 1
            if (keep == 1).any():
                yield p.words[a:b], keep.tolist()
                done += b - a
        if done >= units:
            return


def prepare(
    path: Path,
    sources: Sequence[Path],
    model: Callable[[], LanguageModel],
    units: int,
    seed: int,
    log: Callable[[str], None],
    leave_out: Collection[str] = (),
) -> list[Sentence]:
    """The documents in the file `path`, which is made out of `sources` (files and directories, without the
    corpus sources in `leave_out`) if it is not there."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        new = path.with_suffix(".new")
        made = 0
        with new.open("w", encoding="utf-8") as file:
            found = (d for root in sources for d in documents(root, leave_out))
            texts = (d.data.decode(errors="ignore") for d in found)
            for words, keep in label(model(), excerpts(texts, seed), units):
                file.write(json.dumps({"words": words, "keep": keep}) + "\n")
                before, made = made, made + len(words)
                if before // 50_000 != made // 50_000:
                    log(f"labelled {made:,} of {units:,} words")
        if not made:
            raise NacrithError(f"{', '.join(map(str, sources))}: no English text to make documents of")
        os.replace(new, path)
    made_of = read_sentences(path)
    log(f"{len(made_of):,} documents, {sum(len(w) for w, _ in made_of):,} words and punctuation marks")
    return made_of
