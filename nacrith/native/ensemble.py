"""The functions of codecs/learner/ensemble, which work on the handle of the predictors of one block."""

from __future__ import annotations

import numpy as np

from nacrith.native import abi
from nacrith.native.library import Library, expect, value


def create(
    library: Library,
    number: int,
    vocab: int,
    capacity: int,
    tables: np.ndarray,
    prior: bytes,
    kernels: str | None,
) -> int:
    """Create the predictors of set `number`; returns their handle. tables: int64 (2, 1024), the tables of
    fixed.lg_table() and fixed.exp_table()."""
    expect((tables, np.int64))
    if tables.shape != (2, 1024):
        raise ValueError("an array of tables has another shape than (2, 1024)")
    lg, exp = (table.ctypes.data for table in tables)
    name = None if kernels is None else kernels.encode()
    handle = abi.Handle()
    library.check(
        library.c.nacrith_ensemble_create(number, vocab, capacity, lg, exp, prior, len(prior), name, handle)
    )
    return value(handle)


def counts(
    library: Library, ensemble: int, vocab: int, previous: int, row: np.ndarray, out: np.ndarray
) -> None:
    """Mix the model's row with the predictors. row: int32 (vocab,); out: float32 (vocab,), is filled."""
    expect((row, np.int32), (out, np.float32))
    if row.shape != (vocab,) or out.shape != (vocab,):
        raise ValueError("arrays of a row and of counts do not fit the vocabulary")
    library.check(library.c.nacrith_ensemble_counts(ensemble, previous, row.ctypes.data, out.ctypes.data))


def encode(
    library: Library, ensemble: int, vocab: int, rows: np.ndarray, tokens: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The intervals of known tokens. rows: int32 (n, vocab); tokens: int32 (n,). Returns low and count,
    uint32 (n,) each."""
    expect((rows, np.int32), (tokens, np.int32))
    n = len(tokens)
    if rows.shape != (n, vocab) or tokens.ndim != 1:
        raise ValueError("arrays of rows and tokens do not fit each other or the vocabulary")
    low, count = np.empty((2, n), np.uint32)
    pointers = (a.ctypes.data for a in (rows, tokens, low, count))
    library.check(library.c.nacrith_ensemble_encode(ensemble, n, *pointers))
    return low, count
