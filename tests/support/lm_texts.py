"""Texts for the tests of training: long enough for a small vocabulary, and fixed, as the formats are."""

from __future__ import annotations

from pathlib import Path

from paths import FORMATS

TEXTS = [(FORMATS / name).read_bytes() for name in ("archive-v1.md", "coding-v2.md", "model-v1.md")]


def write_texts(folder: Path) -> Path:
    """The texts as files of a folder."""
    for name, text in zip("abc", TEXTS, strict=True):
        (folder / f"{name}.py").write_bytes(text)
    return folder
