"""The metadata of a GGUF file of any architecture, as plain Python values, in a fraction of a second.

What a backend that reads the weights itself leaves to us: the tokenizer. (The package gguf, which the exact
engine's conversion uses, reads tensors too and takes seconds for a vocabulary.) After the format's document,
docs/gguf.md in ggml-org/ggml, versions 2 and 3.
"""

from __future__ import annotations

import mmap
import struct
from pathlib import Path
from typing import Any

import numpy as np

from nacrith.errors import ModelError

_SCALARS = dict(enumerate("BbHhIif?", 0)) | {10: "Q", 11: "q", 12: "d"}
_STRING, _ARRAY = 8, 9
_LENGTH = struct.Struct("<Q")


def read_metadata(path: Path) -> dict[str, Any]:
    """ModelError if the file is no GGUF or is damaged."""
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return _Reader(data).metadata()
    except OSError as error:
        raise ModelError(f"{path}: cannot read it ({error.strerror}); check the permissions") from None
    except (ValueError, struct.error) as error:  # ValueError: an empty file, too
        raise ModelError(f"{path}: not a readable GGUF file ({error}): fetch it again") from None


class _Reader:
    def __init__(self, data: mmap.mmap) -> None:
        self._data = data
        self._at = 0

    def metadata(self) -> dict[str, Any]:
        magic, version, _, count = self._unpack(struct.Struct("<4sIQQ"))
        if magic != b"GGUF" or version not in (2, 3):
            raise ValueError(f"magic {magic!r}, version {version}")
        found = {}
        for _ in range(count):
            key = self._string()
            found[key] = self._value(self._kind())
        return found

    def _unpack(self, form: struct.Struct) -> tuple[Any, ...]:
        values = form.unpack_from(self._data, self._at)
        self._at += form.size
        return values

    def _kind(self) -> int:
        return int(self._unpack(struct.Struct("<I"))[0])

    def _take(self, size: int) -> bytes:
        if size > len(self._data) - self._at:
            raise ValueError(f"cut short at byte {len(self._data)}")
        self._at += size
        return self._data[self._at - size : self._at]

    def _string(self) -> str:
        return self._take(self._unpack(_LENGTH)[0]).decode("utf-8", "replace")

    def _value(self, kind: int) -> Any:
        if kind == _STRING:
            return self._string()
        if kind == _ARRAY:
            return self._array(self._kind(), self._unpack(_LENGTH)[0])
        if kind not in _SCALARS:
            raise ValueError(f"a value of unknown type {kind} before byte {self._at}")
        return self._unpack(struct.Struct("<" + _SCALARS[kind]))[0]

    def _array(self, kind: int, count: int) -> list[Any]:
        if kind == _STRING:
            return [self._string() for _ in range(count)]
        if kind not in _SCALARS:
            raise ValueError(f"an array of unsupported type {kind} before byte {self._at}")
        form = np.dtype("<" + _SCALARS[kind])
        return np.frombuffer(self._take(count * form.itemsize), form).tolist()
