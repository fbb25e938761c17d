"""The container: it turns bytes into blocks and back. `formats/archive-v1.md` specifies it.

It knows neither models nor compression libraries. The names are imported at their first use, so that what
needs few of them, such as `nacrith --help`, starts quickly.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nacrith.archive.blockcodec import BlockCodec, CodecId, Progress
    from nacrith.archive.reader import ArchiveReader, Damage
    from nacrith.archive.records import Metadata
    from nacrith.archive.scanner import BlockInfo, StreamInfo, scan
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

_HOME = {
    "ArchiveReader": "reader",
    "ArchiveWriter": "writer",
    "BlockCodec": "blockcodec",
    "BlockInfo": "scanner",
    "CodecId": "blockcodec",
    "Damage": "reader",
    "Metadata": "records",
    "Progress": "blockcodec",
    "StreamInfo": "scanner",
    "scan": "scanner",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
