"""What stands before the data of a GGUF file: metadata as plain Python values, and the table of tensors.

For the exact engine's conversion, and for backends that read the weights themselves and leave the tokenizer
to us. (The reader of the package gguf maps the file, takes seconds for a vocabulary, and gives the weights of
a file of the other byte order as nonsense.) After the format's document, docs/gguf.md in ggml-org/ggml,
versions 2 and 3.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from nacrith.errors import ModelError
from nacrith.models.files import open_regular

_SCALARS = dict(enumerate("BbHhIif?", 0)) | {10: "Q", 11: "q", 12: "d"}
_FORMS = {kind: struct.Struct("<" + code) for kind, code in _SCALARS.items()}
_STRING, _ARRAY = 8, 9
_START, _LENGTH, _KIND, _PLACE = (struct.Struct(form) for form in ("<4sIQQ", "<Q", "<I", "<IQ"))
_MOST = 1 << 26  # bytes before the data; a vocabulary of 256,000 tokens takes 12 MB
_DIMENSIONS = 4
_ALIGNMENT = 32


@dataclass(frozen=True)
class Tensor:
    """Where a tensor lies. kind: its type in GGML's numbering. shape: the last index runs fastest. offset:
    from the beginning of the file."""

    name: str
    kind: int
    shape: tuple[int, ...]
    offset: int


def read_metadata(path: Path) -> dict[str, Any]:
    """ModelError if the file is no GGUF or is damaged."""
    return _read(path, tensors=False)[0]


def read_header(path: Path) -> tuple[dict[str, Any], list[Tensor]]:
    """The metadata and the tensors; ModelError likewise."""
    return _read(path, tensors=True)


def _read(path: Path, *, tensors: bool) -> tuple[dict[str, Any], list[Tensor]]:
    try:
        with open_regular(path) as file:
            reader = _Reader(file)
            fields, count = reader.metadata()
            return fields, reader.tensors(count, fields) if tensors else []
    except OSError as error:
        raise ModelError(f"{path}: cannot read it ({error.strerror}); check the permissions") from None
    except (ValueError, TypeError, struct.error) as error:
        raise ModelError(f"{path}: not a readable GGUF file ({error}): fetch it again") from None


class _Reader:
    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._size = os.fstat(file.fileno()).st_size
        self._at = 0

    def metadata(self) -> tuple[dict[str, Any], int]:
        """Also how many tensors there are."""
        magic, version, tensors, count = self._unpack(_START)
        if magic != b"GGUF":
            raise ValueError(f"it begins with {magic!r}")
        if version in (2 << 24, 3 << 24):
            raise ValueError("it is big-endian, and only little-endian ones are supported")
        if version not in (2, 3):
            raise ValueError(f"it is of version {version}, and 2 and 3 are supported")
        found: dict[str, Any] = {}
        for _ in range(count):
            key = self._string()
            found[key] = self._value(self._kind())
        return found, tensors

    def tensors(self, count: int, fields: dict[str, Any]) -> list[Tensor]:
        entries = []
        for _ in range(count):
            name, dimensions = self._string(), self._kind()
            if dimensions > _DIMENSIONS:
                raise ValueError(f"tensor {name!r} has {dimensions} dimensions")
            shape = tuple(self._unpack(_LENGTH)[0] for _ in range(dimensions))[::-1]
            entries.append((name, shape, *self._unpack(_PLACE)))
        alignment = fields.get("general.alignment", _ALIGNMENT)
        if type(alignment) is not int or alignment < 1:
            raise ValueError(f"general.alignment is {alignment!r}")
        start = -(-self._at // alignment) * alignment
        return [Tensor(name, kind, shape, start + offset) for name, shape, kind, offset in entries]

    def _unpack(self, form: struct.Struct) -> tuple[Any, ...]:
        return form.unpack(self._take(form.size))

    def _kind(self) -> int:
        return int(self._unpack(_KIND)[0])

    def _take(self, size: int) -> bytes:
        if size > self._size - self._at:
            raise ValueError(f"cut short at byte {self._size}")
        if size > _MOST - self._at:
            raise ValueError(f"more than {_MOST:,} bytes before the data")
        self._at += size
        data = self._file.read(size)
        if len(data) < size:
            raise ValueError("it was cut short while it was read")
        return data

    def _string(self) -> str:
        return self._take(self._unpack(_LENGTH)[0]).decode("utf-8", "replace")

    def _value(self, kind: int) -> Any:
        if kind == _STRING:
            return self._string()
        if kind == _ARRAY:
            return self._array(self._kind(), self._unpack(_LENGTH)[0])
        if kind not in _SCALARS:
            raise ValueError(f"a value of unknown type {kind} before byte {self._at}")
        return self._unpack(_FORMS[kind])[0]

    def _array(self, kind: int, count: int) -> list[Any]:
        if kind == _STRING:
            return [self._string() for _ in range(count)]
        if kind not in _SCALARS:
            raise ValueError(f"an array of unsupported type {kind} before byte {self._at}")
        form = np.dtype("<" + _SCALARS[kind])
        return np.frombuffer(self._take(count * form.itemsize), form).tolist()
