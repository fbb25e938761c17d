"""Calls of codecs/engine/: engines and sessions, by their handles."""

from __future__ import annotations

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
    """A handle. sizes, limits: those of abi.SIZES and abi.LIMITS. The arrays must be contiguous. Those of
    `embed`, gains and rotation tables must live as long as the engine; matrices and scales are copied."""
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
    """counts: int64 (lanes,), whose sum is n; ids: int32 (n,); rows: int32 (n, vocab), filled;
    depths: int64 (n,) if the tokens are those of trees."""
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
    """path: int64 (n,)."""
    expect((path, np.int64))
    library.check(library.c.nacrith_session_keep(session, lane, path.ctypes.data, path.size))


def rollback(library: Library, session: int, lane: int, length: int) -> None:
    library.check(library.c.nacrith_session_rollback(session, lane, length))
