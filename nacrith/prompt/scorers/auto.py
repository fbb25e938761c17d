"""Chooses a scorer if none is named."""

from __future__ import annotations

import re

from nacrith.prompt.scorers import make
from nacrith.prompt.scorers.protocol import Scorer

_READ = 20_000  # characters examined
_WORD = re.compile(r"[^\W\d_]+")
_COMMON = frozenset(
    ("the", "of", "and", "to", "in", "a", "is", "that", "for", "it", "was", "on", "with", "as", "by")
)
_SHARE = 0.12  # of the words of a text; English prose has 0.3, German 0.04


class AutoScorer:
    """lexrank: whole sentences, with and without a query, in every language. A scorer of words has to be
    named, since a sentence without some of its words may say something else."""

    name = "auto"

    def __init__(self, threads: int | None = None) -> None:
        self.threads = threads
        self._made: dict[str, Scorer] = {}

    def choose(self, query: str, text: str) -> Scorer:
        """The scorer for a prompt. text: "" if not all of it is known yet."""
        if "lexrank" not in self._made:
            self._made["lexrank"] = make("lexrank", threads=self.threads)
        return self._made["lexrank"]


def is_english(text: str) -> bool:
    """Whether the common words of English are frequent near the beginning."""
    words = _WORD.findall(text[:_READ].lower())
    return sum(w in _COMMON for w in words) >= max(1.0, _SHARE * len(words))
