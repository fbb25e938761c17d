"""The functions of codecs/engine/, which work on handles of engines and sessions."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping

import numpy as np

from nacrith.native import abi
from nacrith.native.library import Library, expect, value


def create(
    library: Library,
    sizes: Mapping[str, int],
    limits: Mapping[str, int],
    rms_eps: float,
    tensors: Mapping[str, np.ndarray],
    kernels: str | None,
    threads: int,
) -> int:
    """Create an engine; returns its handle.

    sizes, limits: by the names in abi.SIZES and abi.LIMITS. The arrays must be contiguous. The library copies
    matrices and scales; the arrays of `embed`, the gains and the rotation tables must outlive the engine.
    """
    table = (abi.Tensor * len(tensors))()
    for entry, (name, array) in zip(table, tensors.items(), strict=True):
        if not array.flags.c_contiguous:
            raise ValueError(f"tensor {name} is not contiguous")
        entry.name, entry.data, entry.bytes = name.encode(), array.ctypes.data, array.nbytes
    config = abi.Config(*(sizes[name] for name in abi.SIZES), *(limits[kind] for kind in abi.LIMITS), rms_eps)
    wanted = None if kernels is None else kernels.encode()
    handle = abi.Handle()
    library.check(library.c.nacrith_engine_create(config, table, len(tensors), wanted, threads, handle))
    return value(handle)


def create_session(library: Library, engine: int, lanes: int, window: int, rollback: int, batch: int) -> int:
    handle = abi.Handle()
    library.check(library.c.nacrith_session_create(engine, lanes, window, rollback, batch, handle))
    return value(handle)


def extend(
    library: Library,
    session: int,
    counts: np.ndarray,
    ids: np.ndarray,
    rows: np.ndarray,
    depths: np.ndarray | None = None,
) -> None:
    """Evaluate tokens and fill `rows`. counts: int64 (lanes,), with sum n; ids: int32 (n,); rows: int32
    (n, vocab); depths: int64 (n,) if the tokens are nodes of trees."""
    expect((counts, np.int64), (ids, np.int32), (rows, np.int32))
    if ids.shape != (counts.sum(),) or rows.ndim != 2 or len(rows) != len(ids):
        raise ValueError("arrays of tokens and rows do not fit the counts")
    if depths is not None:
        expect((depths, np.int64))
        if depths.shape != ids.shape:
            raise ValueError("the array of depths does not fit the tokens")
    library.check(
        library.c.nacrith_session_extend(
            session,
            counts.ctypes.data,
            ids.ctypes.data,
            None if depths is None else depths.ctypes.data,
            rows.ctypes.data,
        )
    )


def keep(library: Library, session: int, lane: int, path: np.ndarray) -> None:
    """Append the nodes of a path to the lane. path: int64 (n,)."""
    expect((path, np.int64))
    library.check(library.c.nacrith_session_keep(session, lane, path.ctypes.data, path.size))


def rollback(library: Library, session: int, lane: int, length: int) -> None:
    library.check(library.c.nacrith_session_rollback(session, lane, length))


def bare(library: Library, kernels: str, *, bytes_only: bool, rounds: int) -> int:
    """Multiply about 1,000 x `rounds` numbers in registers, as the kernels do; returns how many.

    bytes_only: by the instructions for activations of one byte, if the set has any. 0 for a set without
    instructions of its own."""
    products = ctypes.c_int64()
    library.check(library.c.nacrith_bare(kernels.encode(), bytes_only, rounds, ctypes.byref(products)))
    return products.value
