"""The model file (suffix .nacm), which contains everything that inference needs.

Its layout is little-endian, and specified in formats/model-v1.md:

    16  magic and version            32  fingerprint
     8  u32 header length, u32 info length
        header: canonical JSON (hyper-parameters, tensor table, tokenizer digest)
        info: JSON (name, source, licence; not part of the fingerprint)
        zero padding to 64 bytes, then the tensors, each at a multiple of 64 bytes

The fingerprint is the SHA-256 of the header and the tensor data: it covers exactly the bytes that can affect
an integer of the output. Tensors are sorted by name, so equal models give equal files.

A file is read into memory and hashed in a single pass. It is not memory-mapped, because verified content
would change when the file is overwritten.

Where large files are not allowed, a model file is a directory NAME.nacm of parts, which are concatenated in
the order of their names.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import hashlib
import io
import math
import os
import struct
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from nacrith import atomic, jsontext
from nacrith.errors import ModelError
from nacrith.models.exact.config import ExactConfig, canonical_json
from nacrith.models.exact.tensors import DTYPES, Kind, Tensors, check_table, check_values
from nacrith.models.files import open_regular
from nacrith.workers import Workers

PART_BYTES = 12 << 20
MAGIC = b"\x89NACM\r\n\x1a" + struct.pack("<II", 1, 0)
ALIGN = 64
_PREFIX = len(MAGIC) + 40
_DTYPE_NAMES = {v: k for k, v in DTYPES.items()}
_HEADER_MAX = 1 << 24
_CHUNK = 1 << 20  # bytes read and hashed at a time, which stay in the CPU cache
_SETTLED = 2.0  # seconds after which another write to a file is certain to change its times
_MALFORMED = (ValueError, KeyError, TypeError, AttributeError, IndexError, ArithmeticError, RecursionError)


class Stamp(NamedTuple):
    """Identifies the state of a file or its parts. settled: any later write is certain to change it."""

    parts: tuple[tuple[int, ...], ...]
    settled: bool


_UNREAD = Stamp((), False)  # of a model that was not read from a file


@dataclass(frozen=True)
class Description:
    """The content of a model file before its tensors. table: the kinds of the tensors, in file order."""

    config: ExactConfig
    table: Mapping[str, Kind]
    fingerprint: bytes
    info: dict[str, str]
    path: Path

    @property
    def name(self) -> str:
        return self.info.get("name", self.path.stem)


@dataclass(frozen=True)
class ModelFile:
    """The content of a model file. `tensors` are read-only, and not memory-mapped."""

    config: ExactConfig
    tensors: Tensors
    fingerprint: bytes
    info: dict[str, str]
    path: Path
    stamp: Stamp = _UNREAD

    @property
    def name(self) -> str:
        return self.info.get("name", self.path.stem)

    @property
    def tokenizer_definition(self) -> bytes:
        return self.tensors["tokenizer"].tobytes()

    def first_layers(self, count: int) -> ModelFile:
        """The same with the first `count` layers only: another function, and so of another fingerprint."""
        config = dataclasses.replace(self.config, layers=count)
        kept = {
            name: tensor
            for name, tensor in self.tensors.items()
            if not name.startswith("layers.") or int(name.split(".")[1]) < count
        }
        digest = hashlib.sha256(self.fingerprint + b"first layers" + count.to_bytes(4, "little")).digest()
        info = self.info | {"name": f"{self.name}, {count} layers"}
        return dataclasses.replace(self, config=config, tensors=kept, fingerprint=digest, info=info)

    def without_weights(self) -> ModelFile:
        """The same with the tokenizer as its only tensor, for use when an engine has taken the weights."""
        return dataclasses.replace(self, tensors={"tokenizer": self.tensors["tokenizer"]})


def write(
    path: Path,
    config: ExactConfig,
    tensors: Tensors,
    info: dict[str, str],
    *,
    named: Callable[[bytes], Path] | None = None,
) -> bytes:
    """Write a model file atomically; returns the fingerprint.

    named: computes from the fingerprint another path in the same directory, which is then used instead of
    `path`. ModelError for floats that `read` would reject.
    """
    check_values(config, tensors)
    table: dict[str, dict[str, object]] = {}
    offset = 0
    arrays = {}
    for name in sorted(tensors):
        array = np.ascontiguousarray(tensors[name])
        dtype = _DTYPE_NAMES[array.dtype.newbyteorder("<")]
        table[name] = {"dtype": dtype, "shape": list(array.shape), "offset": offset}
        arrays[name] = array
        offset = _aligned(offset + array.nbytes)
    header = canonical_json({"config": config.to_json(), "tensors": table, "data_bytes": offset})
    info_json = canonical_json(info)
    digest = hashlib.sha256(header)
    start = _PREFIX + len(header) + len(info_json)
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic.Unfinished(path) as new:
        file = new.file
        file.write(MAGIC + bytes(32) + struct.pack("<II", len(header), len(info_json)))
        file.write(header + info_json + bytes(_aligned(start) - start))
        for array in arrays.values():
            for part in (array.reshape(-1).view(np.uint8).data, bytes(-array.nbytes % ALIGN)):
                digest.update(part)
                file.write(part)
        file.seek(len(MAGIC))
        file.write(digest.digest())
        file.flush()
        atomic.sync_file(file.fileno())
        new.publish(path if named is None else named(digest.digest()))
    return digest.digest()


def read(path: Path) -> ModelFile:
    """Read a model file and verify its fingerprint. ModelError names what is wrong."""
    with _opened(path) as source:
        found, digest = _describe(path, source)
        data = _aligned_memory(source.size - source.at)
        source.fill(data, digest)
        data.flags.writeable = False
        tensors: Tensors = {}
        at = 0
        for name, (dtype, shape) in found.table.items():
            size = math.prod(shape) * DTYPES[dtype].itemsize
            tensors[name] = data[at : at + size].view(DTYPES[dtype]).reshape(shape)
            at += _aligned(size)
        if digest.digest() != found.fingerprint:
            raise ValueError("the contents do not match the fingerprint")
        check_values(found.config, tensors)
        return ModelFile(found.config, tensors, found.fingerprint, found.info, path, source.stamp)


def describe(path: Path) -> Description:
    """Read the description of a model file, without its tensors. ModelError names what is wrong."""
    with _opened(path) as source:
        return _describe(path, source)[0]


def recheck(path: Path, fingerprint: bytes, stamp: Stamp) -> Stamp:
    """Check that the file on the disk is still the model of this fingerprint; ModelError if it is not.

    The file is read again only if it may have been written since `stamp` was taken. Returns the new stamp.
    """
    with _opened(path) as source:
        if stamp.settled and source.stamp.parts == stamp.parts:
            return stamp
        found, digest = _describe(path, source)
        buffer = np.empty(_CHUNK, np.uint8)
        while left := source.size - source.at:
            source.fill(buffer[:left], digest)
        if not digest.digest() == found.fingerprint == fingerprint:
            raise ValueError("the file has been changed since the model was loaded")
        return source.stamp


def _describe(path: Path, source: _Source) -> tuple[Description, hashlib._Hash]:
    """The description, and the hash object to be continued with the tensor data."""
    prefix = source.take(min(_PREFIX, source.size))
    if len(prefix) < _PREFIX or not prefix.startswith(MAGIC):
        raise ValueError("not a nacrith model file of version 1" if prefix else "empty model file")
    header_size, info_size = struct.unpack("<II", prefix[-8:])
    start = _aligned(_PREFIX + header_size + info_size)
    if max(header_size, info_size) > _HEADER_MAX or start > source.size:
        raise ValueError("damaged header")
    header, info = source.take(header_size), source.take(info_size)
    source.take(start - source.at)
    try:
        fields = jsontext.parse(header)
        texts = {str(k): str(v) for k, v in jsontext.parse(info).items()}
        size = int(fields["data_bytes"])
        if start + size != source.size:
            raise ModelError(f"{source.size} bytes long, not {start + size}")
        config = ExactConfig.from_json(fields["config"])
        table = _table(fields["tensors"], size)
        check_table(config, table)
    except _MALFORMED as error:
        raise ValueError(f"damaged header ({error})") from None
    digest = prefix[len(MAGIC) : len(MAGIC) + 32]
    return Description(config, table, digest, texts, path), hashlib.sha256(header)


def _table(entries: dict[str, dict[str, object]], size: int) -> dict[str, Kind]:
    """The kinds of the tensors by name, in order. ValueError unless they fill `size` bytes without gaps."""
    table: dict[str, Kind] = {}
    end = 0
    for name in sorted(entries):
        dtype, shape, offset = (entries[name][key] for key in ("dtype", "shape", "offset"))
        if not (isinstance(dtype, str) and isinstance(shape, list) and len(shape) <= 3):
            raise ValueError(f"tensor {name} is of no known kind")
        if any(type(n) is not int or n < 0 for n in shape) or offset != end:
            raise ValueError(f"tensor {name} does not lie behind the one before it")
        table[name] = dtype, tuple(shape)
        end = _aligned(end + math.prod(shape) * DTYPES[dtype].itemsize)
        if end > size:
            raise ValueError(f"tensor {name} lies outside the file")
    if end != size:
        raise ValueError("bytes that belong to no tensor")
    return table


def fingerprint(path: Path) -> bytes:
    """The fingerprint in the prefix of a model file; b"" for any other file."""
    try:
        with open_regular(_parts(path)[0]) as file:
            start = file.read(len(MAGIC) + 32)
    except (OSError, IndexError):
        return b""
    return start[len(MAGIC) :] if start.startswith(MAGIC) else b""


def split(path: Path, directory: Path) -> None:
    """Store the model file `path` as parts in a new directory."""
    data = path.read_bytes()
    directory.mkdir()
    for i, start in enumerate(range(0, len(data), PART_BYTES)):
        (directory / f"part{i:02}").write_bytes(data[start : start + PART_BYTES])


def size(path: Path) -> int:
    """The total size of all parts, in bytes."""
    return sum(part.stat().st_size for part in _parts(path))


def remove(path: Path) -> None:
    """Delete the file, or its parts and their directory. If the directory contains anything else, OSError is
    raised and nothing is deleted."""
    parts = _parts(path)
    if path.is_dir() and len(parts) < len(list(path.iterdir())):
        raise OSError(errno.ENOTEMPTY, os.strerror(errno.ENOTEMPTY))
    for part in parts:
        part.unlink()
    if path.is_dir():
        path.rmdir()


def _parts(path: Path) -> list[Path]:
    return sorted(path.glob("part*")) if path.is_dir() else [path]


class _Source:
    """The parts of a model file, read as one stream."""

    def __init__(self, files: list[io.BufferedReader]) -> None:
        self._files = files
        self._workers = Workers(2)
        stats = [os.fstat(file.fileno()) for file in files]
        newest = max((max(s.st_mtime, s.st_ctime) for s in stats), default=0.0)
        self.stamp = Stamp(
            tuple((s.st_dev, s.st_ino, s.st_size, s.st_mtime_ns, s.st_ctime_ns) for s in stats),
            newest < time.time() - _SETTLED,
        )
        self.size = sum(s.st_size for s in stats)
        self.at = 0

    def take(self, size: int) -> bytes:
        data = np.empty(size, np.uint8)
        self.fill(data)
        return data.tobytes()

    def fill(self, array: np.ndarray, digest: hashlib._Hash | None = None) -> None:
        """Fill `array` (uint8) with the next bytes and, if `digest` is given, hash them. ValueError if the
        file ends before."""
        view, read = array.data, array.data[:0]
        for begin in range(0, len(view), _CHUNK):
            chunk = view[begin : begin + _CHUNK]
            if digest is None or begin == 0:
                self._read(chunk)
            else:  # hash one chunk while the next is read
                self._workers.run([partial(digest.update, read), partial(self._read, chunk)])
            read = chunk
        if digest is not None:
            digest.update(read)
        self.at += len(view)

    def _read(self, chunk: memoryview) -> None:
        done = 0
        while done < len(chunk):
            if not self._files:
                raise ValueError("it was cut short while it was read")
            count = self._files[0].readinto(chunk[done:])
            if not count:
                self._files.pop(0)
            done += count


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[_Source]:
    """Open a model file for reading; errors within the context become ModelErrors that name the file."""
    with contextlib.ExitStack() as files:
        try:
            yield _Source([files.enter_context(open_regular(part)) for part in _parts(path)])
        except ModelError as error:
            raise ModelError(f"{path}: {error}") from None
        except ValueError as error:
            raise ModelError(f"{path}: {error}; convert or fetch the model again") from None
        except OSError as error:
            raise ModelError(f"{path}: cannot read the model file: {error.strerror}") from None


def _aligned_memory(size: int) -> np.ndarray:
    """Uninitialised memory that starts at a multiple of ALIGN, as the data does in the file."""
    memory = np.empty(size + ALIGN, np.uint8)
    skip = -memory.ctypes.data % ALIGN
    return memory[skip : skip + size]


def _aligned(n: int) -> int:
    return -(-n // ALIGN) * ALIGN
