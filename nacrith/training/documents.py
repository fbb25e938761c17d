"""Documents labelled by a language model: training data for the word classifier beyond single sentences.

The sentence compressions are news, one sentence each. Here any text is cut into excerpts, and the
excerpts into groups of sentences, as at inference. In each group the words with the most bits, given the
preceding part of the excerpt, are labelled as those to keep, at the same rate as people keep words.
Punctuation has no label, since a rule lets it follow its words. The labels are stored in a file for
`read_sentences`.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path

import numpy as np

from nacrith import atomic
from nacrith.errors import NacrithError
from nacrith.models.protocol import LanguageModel
from nacrith.prompt.scorers.auto import is_english
from nacrith.prompt.scorers.language_model import SelfInformationScorer
from nacrith.prompt.segment import WORD, passage
from nacrith.training.corpus import documents
from nacrith.training.sentences import MISSING, Sentence, read_sentences

TOGETHER = 64
"""Units of a group, which the model reads as one."""

KEPT = 0.374
"""Rate of kept words: that of the sentence compressions."""

_EXCERPT = 2000  # characters, of one text


def excerpts(texts: Iterator[str], seed: int) -> Iterator[str]:
    """Of each English text, up to _EXCERPT characters from the beginning of one of its paragraphs."""
    rng = random.Random(seed)
    for text in texts:
        begins = [0]
        while (at := text.find("\n\n", begins[-1])) >= 0:
            begins.append(at + 2)
        begin = rng.choice(begins)
        excerpt = text[begin : begin + _EXCERPT]
        if len(text) > begin + _EXCERPT:  # the last word may be cut
            excerpt = excerpt[: max(excerpt.rfind(" "), excerpt.rfind("\n"), 0)]
        if is_english(excerpt):
            yield excerpt


def label(model: LanguageModel, texts: Iterator[str], units: int) -> Iterator[Sentence]:
    """Labelled groups of sentences, until they have `units` units."""
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
    """The documents in the file `path`. If it does not exist, it is made from `sources` (files and
    directories, without the corpus sources in `leave_out`)."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        made = 0
        with atomic.Unfinished(path) as new:
            found = (d for root in sources for d in documents(root, leave_out))
            texts = (d.data.decode(errors="ignore") for d in found)
            for words, keep in label(model(), excerpts(texts, seed), units):
                new.file.write(json.dumps({"words": words, "keep": keep}).encode() + b"\n")
                before, made = made, made + len(words)
                if before // 50_000 != made // 50_000:
                    log(f"labelled {made:,} of {units:,} words")
            if not made:
                raise NacrithError(f"{', '.join(map(str, sources))}: no English text to make documents of")
            new.publish()
    made_of = read_sentences(path)
    log(f"{len(made_of):,} documents, {sum(len(w) for w, _ in made_of):,} words and punctuation marks")
    return made_of
