"""Compression for fsspec: after `register()`, `fsspec.open("book.txt.nac", compression="infer")` decodes.

fsspec has no entry points for compressions, so whoever wants this one calls `register`; importing nacrith
never does. The suffix is `.nac`, the name "nacrith".
"""

from __future__ import annotations

from typing import Any

from fsspec.compression import compr, register_compression

from nacrith.file import NacrithFile
from nacrith.stream import checked_level


def register(*, level: int | None = None, model: str | None = None, force: bool = False) -> None:
    """Make it known to fsspec. level, model: to compress with, and model to decompress with, too; None for
    the default, or what an archive names. force: in place of what another package has registered by this name
    or suffix. Called again, it takes the place of what it registered before."""
    checked = checked_level(level)

    def opened(file: Any, mode: str = "rb", **_: Any) -> NacrithFile:
        return NacrithFile(file, mode, level=None if mode.startswith("r") else checked, model=model)

    again = getattr(compr.get("nacrith"), "__module__", "") == __name__
    register_compression("nacrith", opened, ["nac"], force=force or again)
