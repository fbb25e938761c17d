"""Chooses a scorer if none is named: sentences if there is a query, else words."""

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
    """lexrank if there is a query or the text is not English, since the built-in classifier knows only
    English."""

    name = "auto"

    def __init__(self, threads: int | None = None) -> None:
        self.threads = threads
        self._made: dict[str, Scorer] = {}

    def choose(self, query: str, text: str) -> Scorer:
        """The scorer for a prompt. text: "" if not all of it is known yet; then only the query decides."""
        name = "lexrank" if query.strip() or (text and not is_english(text)) else "classifier"
        if name not in self._made:
            self._made[name] = make(name, threads=self.threads)
        return self._made[name]


def is_english(text: str) -> bool:
    """Whether the common words of English are frequent near the beginning."""
    words = _WORD.findall(text[:_READ].lower())
    return sum(w in _COMMON for w in words) >= max(1.0, _SHARE * len(words))
