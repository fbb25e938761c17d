"""The kinds of foreign models that can be converted: a new one is a module beside this, and a line here."""

from __future__ import annotations

from pathlib import Path

from nacrith.errors import ModelError
from nacrith.models.exact.conversion import LlamaSource
from nacrith.models.sources import gguf, safetensors
from nacrith.models.sources.kind import SourceKind

KINDS: list[SourceKind] = [
    gguf.KIND,
    safetensors.KIND,
]
"""The first that matches a path reads it."""


def kind_of(path: Path) -> SourceKind | None:
    """The kind of a foreign model; None if the path is of no kind that is known."""
    return next((kind for kind in KINDS if kind.matches(path)), None)


def read(path: Path) -> LlamaSource:
    """Open a foreign model; ModelError if it cannot be read, or is of no kind that is known."""
    kind = kind_of(path)
    if kind is None:
        raise ModelError(f"{path}: not a model; supported are {names()}")
    return kind.read(path)


def files_of(path: Path) -> list[Path]:
    """The files whose content decides which model this is."""
    kind = kind_of(path)
    return [path] if kind is None else kind.files(path)


def suffixes() -> tuple[str, ...]:
    """Endings by which a name is taken for the path of a foreign model."""
    return tuple(kind.suffix for kind in KINDS if kind.suffix)


def names() -> str:
    """All kinds, for messages."""
    *first, last = [kind.name for kind in KINDS]
    return f"{', '.join(first)} and {last}" if first else last
