"""Documents to train on, the same ones in the same order on every machine.

A corpus is a directory of shards of JSON lines ({"text", "source", "kind"}, .jsonl or .jsonl.xz) or of any
files at all, which are cut into documents at line ends. What is held out for validation is decided by a hash
of the document alone: more shards, or another order, move no document from one side to the other.
"""

from __future__ import annotations

import hashlib
import lzma
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from nacrith import jsontext
from nacrith.errors import NacrithError

HELD_OUT = 100
"""One document in this many, of a corpus of many, is never trained on."""

_SHARDS = (".jsonl", ".jsonl.xz")
_FIELDS = {"text", "source", "kind"}
_SMALLEST = 64  # bytes of a document worth training on
_PIECE = 1 << 14  # bytes at least of the documents that a plain file is cut into


@dataclass(frozen=True)
class Document:
    """Bytes of one text. kind: of the corpus's own naming, or the suffix of the file."""

    data: bytes
    source: str
    kind: str

    def digest(self) -> int:
        """64 bits of the hash of its bytes."""
        return int.from_bytes(hashlib.sha256(self.data).digest()[:8])

    def held_out(self, one_in: int = HELD_OUT) -> bool:
        """Whether it belongs to the validation set."""
        return self.digest() % one_in == 0


def documents(root: Path, leave_out: Collection[str] = ()) -> Iterator[Document]:
    """All documents of a directory (or a file) in the order of the paths, without the sources in `leave_out`.

    NacrithError if there is nothing to read or a shard is damaged.
    """
    paths = sorted(p for p in root.rglob("*") if p.is_file()) if root.is_dir() else [root]
    found = False
    for path in paths:
        for document in _shard(path) if path.name.endswith(_SHARDS) else _file(path):
            if document.source not in leave_out and len(document.data) >= _SMALLEST:
                found = True
                yield document
    if not found:
        raise NacrithError(f"{root}: no document of {_SMALLEST} bytes or more to train on")


def _file(path: Path) -> Iterator[Document]:
    kind = path.suffix.lstrip(".") or "file"
    piece = b""
    try:
        with path.open("rb") as lines:
            for line in lines:
                piece += line
                if len(piece) >= _PIECE:
                    yield Document(piece, path.name, kind)
                    piece = b""
    except OSError as error:
        raise NacrithError(f"{path}: cannot read it ({error.strerror})") from None
    yield Document(piece, path.name, kind)


def _shard(path: Path) -> Iterator[Document]:
    number = 0
    try:
        with lzma.open(path, "rb") if path.suffix == ".xz" else path.open("rb") as lines:
            for line in lines:
                number += 1
                row = jsontext.parse(line)
                if not isinstance(row, dict) or not isinstance(row.get("text"), str) or set(row) - _FIELDS:
                    break
                yield Document(row["text"].encode(), str(row.get("source", path.name)), str(row.get("kind")))
            else:
                return
    except (ValueError, lzma.LZMAError, EOFError) as error:
        raise NacrithError(f"{path}, line {max(1, number)}: a damaged shard: {error}") from None
    except OSError as error:
        raise NacrithError(f"{path}: cannot read it ({error.strerror})") from None
    if number == 1:  # JSON lines of somebody's own, not of a corpus
        yield from _file(path)
        return
    raise NacrithError(f'{path}, line {number}: not {{"text": ...}} as the lines before it')
