"""The container: bytes to blocks and back. Knows no model; `formats/archive-v1.md` is its contract.

Reader and writer bring numpy and the compression libraries with them, so they are imported at their
first use: `scan` alone is light, and `nacrith info` and `nacrith --help` answer at once.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from nacrith.archive.blockcodec import BlockCodec, CodecId, Progress
from nacrith.archive.records import Metadata
from nacrith.archive.scan import BlockInfo, StreamInfo, scan

if TYPE_CHECKING:
    from nacrith.archive.reader import ArchiveReader, Damage
    from nacrith.archive.writer import ArchiveWriter

__all__ = [
    "ArchiveReader",
    "ArchiveWriter",
    "BlockCodec",
    "BlockInfo",
    "CodecId",
    "Damage",
    "Metadata",
    "Progress",
    "StreamInfo",
    "scan",
]

_HOME = {"ArchiveReader": "reader", "Damage": "reader", "ArchiveWriter": "writer"}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
