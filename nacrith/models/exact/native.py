"""The native library (codecs/nacrith.h) by ctypes: found, checked, and its errors turned into ours.

Every pointer that crosses the border is made here, from an array whose type, layout and size were
checked first. ctypes releases the interpreter's lock during a call.
"""

from __future__ import annotations

import ctypes
import os
import sys
import weakref
from functools import cache
from pathlib import Path

import numpy as np

from nacrith.errors import ModelError
from nacrith.models.exact.config import ExactConfig

ABI_VERSION = 4

_PACKAGED = Path(__file__).resolve().parents[2] / "_native"
_NAMES = {"win32": "nacrith_native.dll", "darwin": "libnacrith_native.dylib"}
_ARGUMENT, _MODEL, _MEMORY = 1, 2, 3


_SIZES = ("layers", "width", "heads", "kv_heads", "head_dim", "ffn", "vocab", "tied_head")


class _Config(ctypes.Structure):
    _fields_ = [
        *((name, ctypes.c_int64) for name in _SIZES),
        *((f"limit_{kind}", ctypes.c_int64) for kind in ("qkv", "o", "mlp", "down", "head")),
        ("rms_eps", ctypes.c_double),
    ]


class _Tensor(ctypes.Structure):
    _fields_ = [("name", ctypes.c_char_p), ("data", ctypes.c_void_p), ("bytes", ctypes.c_int64)]


_P = ctypes.c_void_p
_I32 = ctypes.c_int32
_I64 = ctypes.c_int64
_SIGNATURES: dict[str, tuple[object, list[object]]] = {
    "nacrith_abi_version": (ctypes.c_int32, []),
    "nacrith_last_error": (ctypes.c_char_p, []),
    "nacrith_kernels": (ctypes.c_char_p, [ctypes.c_int32]),
    "nacrith_destroy": (None, [_P]),
    "nacrith_engine_create": (
        ctypes.c_int32,
        [
            ctypes.POINTER(_Config),
            ctypes.POINTER(_Tensor),
            _I64,
            ctypes.c_char_p,
            ctypes.c_int32,
            ctypes.POINTER(_P),
        ],
    ),
    "nacrith_session_create": (ctypes.c_int32, [_P, _I64, _I64, _I64, _I64, ctypes.POINTER(_P)]),
    "nacrith_session_extend": (ctypes.c_int32, [_P, _P, _P, _P, _P]),
    "nacrith_session_keep": (ctypes.c_int32, [_P, _I64, _P, _I64]),
    "nacrith_session_rollback": (ctypes.c_int32, [_P, _I64, _I64]),
    "nacrith_ensemble_create": (
        ctypes.c_int32,
        [_I32, _I64, _I64, _P, _P, _P, _I64, ctypes.c_char_p, ctypes.POINTER(_P)],
    ),
    "nacrith_ensemble_counts": (ctypes.c_int32, [_P, _I32, _P, _P]),
    "nacrith_ensemble_encode": (ctypes.c_int32, [_P, _I64, _P, _P, _P, _P]),
}
"""Result and argument types of every function of the header, in its order."""


class Library:
    """The loaded library. OSError or ModelError if the file is not one that fits this package."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._c = ctypes.CDLL(str(path))
        for name, (result, arguments) in _SIGNATURES.items():
            try:
                function = getattr(self._c, name)
            except AttributeError:
                raise ModelError(f"{path}: not nacrith's native library; install nacrith again") from None
            function.restype, function.argtypes = result, arguments
            if name == "nacrith_abi_version" and function() != ABI_VERSION:
                raise ModelError(
                    f"{path}: the native library has interface version {function()}, not {ABI_VERSION};"
                    " install nacrith again"
                )

    def kernels(self) -> list[str]:
        """Names of the sets of kernels that this processor runs, best first."""
        names: list[str] = []
        while name := self._c.nacrith_kernels(len(names)):
            names.append(name.decode())
        return names

    def destroy(self, handle: int) -> None:
        """Of an engine, session or ensemble."""
        self._c.nacrith_destroy(handle)

    def create_engine(
        self, config: ExactConfig, tensors: dict[str, np.ndarray], kernels: str | None, threads: int
    ) -> int:
        """A handle. The arrays must be contiguous, and live as long as the engine."""
        sizes = {name: int(getattr(config, name)) for name in _SIZES}
        limits = {f"limit_{kind}": limit for kind, limit in config.act_limits.items()}
        table = (_Tensor * len(tensors))()
        for entry, (name, array) in zip(table, tensors.items(), strict=True):
            if not array.flags.c_contiguous:
                raise ValueError(f"tensor {name} is not contiguous")
            entry.name, entry.data, entry.bytes = name.encode(), array.ctypes.data, array.nbytes
        handle = _P()
        self._check(
            self._c.nacrith_engine_create(
                _Config(**sizes, **limits, rms_eps=config.rms_eps),
                table,
                len(tensors),
                None if kernels is None else kernels.encode(),
                threads,
                handle,
            )
        )
        return _pointer(handle)

    def create_session(self, engine: int, lanes: int, window: int, rollback: int, batch: int) -> int:
        handle = _P()
        self._check(self._c.nacrith_session_create(engine, lanes, window, rollback, batch, handle))
        return _pointer(handle)

    def extend(
        self,
        session: int,
        counts: np.ndarray,
        ids: np.ndarray,
        rows: np.ndarray,
        depths: np.ndarray | None = None,
    ) -> None:
        """counts: int64 (lanes,), whose sum is n; ids: int32 (n,); rows: int32 (n, vocab), filled;
        depths: int64 (n,) if the tokens are those of trees."""
        _expect((counts, np.int64), (ids, np.int32), (rows, np.int32))
        if ids.shape != (counts.sum(),) or rows.ndim != 2 or len(rows) != len(ids):
            raise ValueError("arrays of tokens and rows do not fit the counts")
        if depths is not None:
            _expect((depths, np.int64))
            if depths.shape != ids.shape:
                raise ValueError("the array of depths does not fit the tokens")
        self._check(
            self._c.nacrith_session_extend(
                session,
                counts.ctypes.data,
                ids.ctypes.data,
                None if depths is None else depths.ctypes.data,
                rows.ctypes.data,
            )
        )

    def keep(self, session: int, lane: int, path: np.ndarray) -> None:
        """path: int64 (n,)."""
        _expect((path, np.int64))
        self._check(self._c.nacrith_session_keep(session, lane, path.ctypes.data, path.size))

    def rollback(self, session: int, lane: int, length: int) -> None:
        self._check(self._c.nacrith_session_rollback(session, lane, length))

    def create_ensemble(
        self, number: int, vocab: int, capacity: int, tables: np.ndarray, prior: bytes, kernels: str | None
    ) -> int:
        """A handle. number: the set; tables: int64 (2, 1024), fixed.lg_table() and fixed.exp_table()."""
        _expect((tables, np.int64))
        if tables.shape != (2, 1024):
            raise ValueError("an array of tables has another shape than (2, 1024)")
        handle = _P()
        lg, exp = (table.ctypes.data for table in tables)
        name = None if kernels is None else kernels.encode()
        self._check(
            self._c.nacrith_ensemble_create(number, vocab, capacity, lg, exp, prior, len(prior), name, handle)
        )
        return _pointer(handle)

    def ensemble_counts(
        self, ensemble: int, vocab: int, previous: int, row: np.ndarray, counts: np.ndarray
    ) -> None:
        """row: int32 (vocab,); counts: float32 (vocab,), filled."""
        _expect((row, np.int32), (counts, np.float32))
        if row.shape != (vocab,) or counts.shape != (vocab,):
            raise ValueError("arrays of a row and of counts do not fit the vocabulary")
        self._check(self._c.nacrith_ensemble_counts(ensemble, previous, row.ctypes.data, counts.ctypes.data))

    def ensemble_encode(
        self, ensemble: int, vocab: int, rows: np.ndarray, tokens: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """rows: int32 (n, vocab); tokens: int32 (n,). Returns low and count, uint32 (n,)."""
        _expect((rows, np.int32), (tokens, np.int32))
        n = len(tokens)
        if rows.shape != (n, vocab) or tokens.ndim != 1:
            raise ValueError("arrays of rows and tokens do not fit each other or the vocabulary")
        low, count = np.empty((2, n), np.uint32)
        pointers = (a.ctypes.data for a in (rows, tokens, low, count))
        self._check(self._c.nacrith_ensemble_encode(ensemble, n, *pointers))
        return low, count

    def _check(self, code: int) -> None:
        if code == 0:
            return
        why = self._c.nacrith_last_error().decode(errors="replace")
        if code == _ARGUMENT:
            raise ValueError(why)
        if code == _MEMORY:
            raise MemoryError(f"native engine: {why}")
        if code == _MODEL:
            raise ModelError(f"{why}; convert or fetch the model again")
        raise RuntimeError(f"native engine: {why}")


def _expect(*arrays: tuple[np.ndarray, type]) -> None:
    for array, dtype in arrays:
        if array.dtype != dtype or not array.flags.c_contiguous:
            raise ValueError(f"expected a contiguous array of {np.dtype(dtype)}, not {array.dtype}")


def _pointer(handle: ctypes.c_void_p) -> int:
    assert handle.value is not None, "a call that succeeded sets its handle"
    return handle.value


def release_with(owner: object, library: Library, handle: int, *kept: object) -> None:
    """Destroys `handle` when `owner` goes, and keeps `kept` alive until then. A forked child has the memory
    but not the threads that the library would wait for: there the handle is left alone."""
    weakref.finalize(owner, _release, library, handle, os.getpid(), kept)


def _release(library: Library, handle: int, process: int, kept: object) -> None:
    if os.getpid() == process:
        library.destroy(handle)


@cache
def load() -> Library:
    """The library that NACRITH_NATIVE_LIB names, or else the one in the package.

    ModelError says why there is none that works."""
    named = os.environ.get("NACRITH_NATIVE_LIB")
    path = Path(named) if named else _PACKAGED / _NAMES.get(sys.platform, "libnacrith_native.so")
    if not path.is_file():
        raise ModelError(f"{path}: there is no native engine; {_cure(bool(named))}")
    try:
        return Library(path)
    except OSError as error:
        raise ModelError(f"{path}: cannot load the native engine: {error}; install nacrith again") from None


def _cure(named: bool) -> str:
    """What to do where the library is missing. Python imports the source tree, which has none, wherever that
    is the current directory, even if a complete nacrith is installed; so that case gets its own words."""
    root = _PACKAGED.parent.parent
    if not named and (root / "codecs" / "CMakeLists.txt").is_file():
        return (
            f"nacrith was imported from the source tree {root}: run Python in another directory to use the"
            " nacrith that is installed, or run: pip install -e . there, or use NACRITH_BACKEND=numpy"
        )
    return "install nacrith again where there is a C++ compiler, or use NACRITH_BACKEND=numpy"
