"""Drafters, and their names."""

from __future__ import annotations

from nacrith.decoding.drafters.lookup import Lookup
from nacrith.decoding.drafters.ngram import NGram
from nacrith.decoding.drafters.protocol import Drafter, Follower, Guess, Row
from nacrith.decoding.drafters.recycling import Recycling
from nacrith.errors import DecodingError

__all__ = ["NAMES", "Drafter", "Follower", "Guess", "Lookup", "NGram", "Recycling", "Row", "drafters"]

NAMES = ("recycling", "lookup", "ngram")


def drafters(which: str | Drafter | list[Drafter] | None, vocab: int) -> list[Drafter]:
    """The drafters meant: None or "none" for none, names joined by +, "auto" for recycling+lookup, or
    objects.

    vocab: of the model. DecodingError for an unknown name.
    """
    if which is None or which == "none":
        return []
    if not isinstance(which, str):
        return [*which] if isinstance(which, list) else [which]
    names = ["recycling", "lookup"] if which == "auto" else which.split("+")
    unknown = [name for name in names if name not in NAMES]
    if unknown or len(set(names)) < len(names):
        raise DecodingError(
            f"drafter {which!r}: give none, auto, or some of {', '.join(NAMES)}, each once, joined by +"
        )
    return [_make(name, vocab) for name in names]


def _make(name: str, vocab: int) -> Drafter:
    if name == "recycling":
        return Recycling(vocab)
    return Lookup() if name == "lookup" else NGram()
