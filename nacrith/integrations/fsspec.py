"""A compression for fsspec: after `register()`, `fsspec.open("book.txt.nac", compression="infer")` decodes.

fsspec has no entry points for compressions, so the application calls `register`; importing nacrith does not.
The compression is named "nacrith" and has the suffix `.nac`.
"""

from __future__ import annotations

from typing import Any

from fsspec.compression import compr, register_compression

from nacrith.file import NacrithFile
from nacrith.stream import checked_level


def register(*, level: int | None = None, model: str | None = None, force: bool = False) -> None:
    """Register the compression with fsspec. A later call replaces an earlier one.

    level: for writing; None for the default. model: for writing and reading; None for the default model, or
    the model that an archive names. force: replace a compression of another package that has this name or
    suffix.
    """
    checked = checked_level(level)

    def opened(file: Any, mode: str = "rb", **_: Any) -> NacrithFile:
        return NacrithFile(file, mode, level=None if mode.startswith("r") else checked, model=model)

    again = getattr(compr.get("nacrith"), "__module__", "") == __name__
    register_compression("nacrith", opened, ["nac"], force=force or again)
