"""Drafters, and their names."""

from __future__ import annotations

from nacrith.decoding.drafters.ahead import Ahead
from nacrith.decoding.drafters.lookup import Lookup
from nacrith.decoding.drafters.model import DraftModel
from nacrith.decoding.drafters.ngram import NGram
from nacrith.decoding.drafters.protocol import Drafter, Follower, Guess, Row
from nacrith.decoding.drafters.recursive import Recursive
from nacrith.decoding.drafters.recycling import Recycling
from nacrith.errors import DecodingError
from nacrith.models import load_model
from nacrith.models.exact.model import ExactModel
from nacrith.models.protocol import LanguageModel

__all__ = [
    "NAMES",
    "Ahead",
    "DraftModel",
    "Drafter",
    "Follower",
    "Guess",
    "Lookup",
    "NGram",
    "Recursive",
    "Recycling",
    "Row",
    "Which",
    "drafters",
    "drafters_alone",
]

NAMES = ("recycling", "lookup", "ngram")
"""Drafters that need no model."""

AUTO = ("recycling", "lookup")

Which = str | Drafter | list[Drafter] | Recursive | None


def drafters(which: Which, model: LanguageModel) -> list[Drafter] | Recursive:
    """The drafters meant: None or "none" for none, names joined by +, of which "auto" stands for
    recycling+lookup, or objects.

    Beside NAMES there are "model:NAME", for a model by its name or path, "pearl:NAME", for one that drafts in
    a thread of its own, and "skip:N", for the first N layers of `model` itself; "rsd:NAME" stands alone,
    since it is verified by another rule. model: that is to be drafted for. DecodingError for an unknown name;
    ModelMissingError for a model that is not here.
    """
    if which is None or which == "none":
        return []
    if isinstance(which, Recursive):
        return which
    if not isinstance(which, str):
        return [*which] if isinstance(which, list) else [which]
    if which.startswith("rsd:"):
        return Recursive(_load(which[4:], model), model)
    return [_make(name, model) for name in _names(which, ("model:", "pearl:", "skip:"))]


def drafters_alone(which: Which, vocab: int) -> list[Drafter]:
    """As `drafters`, for a model of `vocab` tokens that another runtime has: none that is a model itself."""
    if isinstance(which, Recursive):
        raise DecodingError("drafter rsd verifies its drafts by itself; another runtime has its own way")
    if which is None or which == "none":
        return []
    if not isinstance(which, str):
        return [*which] if isinstance(which, list) else [which]
    return [_plain(name, vocab) for name in _names(which)]


def _names(which: str, kinds: tuple[str, ...] = ()) -> list[str]:
    """The names joined by +. kinds: what other names than NAMES may begin with."""
    names = [part for name in which.split("+") for part in (AUTO if name == "auto" else (name,))]
    unknown = [name for name in names if name not in NAMES and not (kinds and name.startswith(kinds))]
    if unknown or len(set(names)) < len(names):
        more = (
            ", model:NAME, pearl:NAME and skip:LAYERS, each once, joined by +; or rsd:NAME alone"
            if kinds
            else ""
        )
        raise DecodingError(f"drafter {which!r}: give none, auto, or some of {', '.join(NAMES)}{more}")
    return names


def _make(name: str, model: LanguageModel) -> Drafter:
    kind, _, about = name.partition(":")
    if kind == "model":
        return DraftModel(_load(about, model), model)
    if kind == "pearl":
        return Ahead(DraftModel(_load(about, model, threads=1), model))
    if kind == "skip":
        return DraftModel(_first_layers(model, about), model)
    return _plain(kind, model.vocab_size)


def _plain(name: str, vocab: int) -> Drafter:
    if name == "recycling":
        return Recycling(vocab)
    return Lookup() if name == "lookup" else NGram()


def _load(name: str, target: LanguageModel, threads: int | None = None) -> LanguageModel:
    """The model of this name, by default with as many threads as its target."""
    return load_model(name, threads=threads or getattr(target, "threads", None))


def _first_layers(model: LanguageModel, count: str) -> LanguageModel:
    if not isinstance(model, ExactModel):
        raise DecodingError(f"drafter skip: only exact models skip layers, and {model.name} is none")
    layers = model.file.config.layers
    if not (count.isascii() and count.isdigit() and 1 <= int(count) <= layers):
        raise DecodingError(f"drafter 'skip:{count}': give a number of layers, 1 to {layers}")
    return model.first_layers(int(count))
