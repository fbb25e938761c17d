"""What every kind of foreign model has to provide: how it is recognised, identified and read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from nacrith.models.exact.conversion import LlamaSource


@dataclass(frozen=True)
class SourceKind:
    """One kind of foreign model.

    name: as messages list it. suffix: of its files, with the dot; "" if it is a directory. matches: whether
    an existing path is of this kind. files: those whose content decides which model it is, in a fixed order;
    converted models are remembered by the hash of these. read: opens it; ModelError for a model that the
    exact engine cannot run.
    """

    name: str
    suffix: str
    matches: Callable[[Path], bool]
    files: Callable[[Path], list[Path]]
    read: Callable[[Path], LlamaSource]
