"""Compression for fsspec: after `register()`, `fsspec.open("book.txt.nac", compression="infer")` decodes.

fsspec has no entry points for compressions, so whoever wants this one calls `register`; importing nacrith
never does. The suffix is `.nac`, the name "nacrith".
"""

from __future__ import annotations

from typing import Any

from fsspec.compression import register_compression

from nacrith.file import NacrithFile


def register(*, level: int | None = None, model: str | None = None, force: bool = False) -> None:
    """Make it known to fsspec. level, model: to compress with, and model to decompress with, too; None for
    the default, or what an archive names. force: in place of what goes by this name or suffix."""

    def opened(file: Any, mode: str = "rb", **_: Any) -> NacrithFile:
        return NacrithFile(file, mode, level=None if mode.startswith("r") else level, model=model)

    register_compression("nacrith", opened, ["nac"], force=force)
