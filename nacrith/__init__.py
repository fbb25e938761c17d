"""Lossless compression of any file with a language model; archives decode on any machine.

    import nacrith
    small = nacrith.compress(b"some text")
    assert nacrith.decompress(small) == b"some text"
    with nacrith.open("book.txt.nac", "rt", encoding="utf-8") as file:
        first_line = file.readline()

The names follow `compression.zstd` (PEP 784). Bad input raises a `NacrithError`; nothing decodes to
wrong bytes. Importing this package is cheap: numpy and the model come with the first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from nacrith.errors import (
    CorruptError,
    ModelError,
    ModelMismatchError,
    ModelMissingError,
    NacrithError,
    PrefixError,
    TruncatedError,
    UnsupportedFormatError,
)

if TYPE_CHECKING:
    from nacrith.api import compress, decompress, info, open
    from nacrith.archive import StreamInfo
    from nacrith.bytelevel.joined import load_ensemble
    from nacrith.codec.levels import DEFAULT_LEVEL as COMPRESSION_LEVEL_DEFAULT
    from nacrith.file import NacrithFile
    from nacrith.models import load_model
    from nacrith.stream import Compressor, Decompressor

    engine: str
    """What exact models run on here: "native", "numpy" or "torch"."""

__version__ = "0.1.0"

__all__ = [
    "COMPRESSION_LEVEL_DEFAULT",
    "Compressor",
    "CorruptError",
    "Decompressor",
    "ModelError",
    "ModelMismatchError",
    "ModelMissingError",
    "NacrithError",
    "NacrithFile",
    "PrefixError",
    "StreamInfo",
    "TruncatedError",
    "UnsupportedFormatError",
    "compress",
    "decompress",
    "engine",
    "info",
    "load_ensemble",
    "load_model",
    "open",
]

_HOME = {
    "COMPRESSION_LEVEL_DEFAULT": ("nacrith.codec.levels", "DEFAULT_LEVEL"),
    "Compressor": ("nacrith.stream", "Compressor"),
    "Decompressor": ("nacrith.stream", "Decompressor"),
    "NacrithFile": ("nacrith.file", "NacrithFile"),
    "StreamInfo": ("nacrith.archive", "StreamInfo"),
    "compress": ("nacrith.api", "compress"),
    "decompress": ("nacrith.api", "decompress"),
    "info": ("nacrith.api", "info"),
    "load_ensemble": ("nacrith.bytelevel.joined", "load_ensemble"),
    "load_model": ("nacrith.models", "load_model"),
    "open": ("nacrith.api", "open"),
}
"""Where each name that is imported at its first use comes from: module, name there."""


def __getattr__(name: str) -> Any:
    if name == "engine":  # not kept: the environment may change
        return importlib.import_module("nacrith.models.exact.engines").engine()
    if name not in _HOME:
        raise AttributeError(f"module 'nacrith' has no attribute {name!r}")
    module, attribute = _HOME[name]
    value = getattr(importlib.import_module(module), attribute)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
