"""Calls of codecs/learner for coding 2: sorted vocabularies and groups of lanes, by their handles."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nacrith.native import abi
from nacrith.native.library import Library, expect, payload_of, value


def vocabulary(
    library: Library, spelled: int, order: np.ndarray, text: np.ndarray, offsets: np.ndarray
) -> int:
    """A handle for a sorted vocabulary. order: int32 (V,); text: uint8 (n,); offsets: int32 (V + 1,), from 0
    to n. ValueError if it is not sorted."""
    expect((order, np.int32), (text, np.uint8), (offsets, np.int32))
    if offsets.shape != (len(order) + 1,) or offsets.min() < 0 or offsets[-1] != text.size:
        raise ValueError("arrays of a vocabulary do not fit each other")
    handle = abi.Handle()
    pointers = (a.ctypes.data for a in (order, text, offsets))
    library.check(library.c.nacrith_vocabulary_create(len(order), spelled, *pointers, handle))
    return value(handle)


def create(
    library: Library,
    vocabulary: int,
    number: int,
    capacity: int,
    tables: np.ndarray,
    prior: bytes,
    bits: int,
    lengths: Sequence[int],
    kernels: str | None,
    payload: bytes | None,
) -> int:
    """A handle for a group. number: of the ensemble. tables: int64 (2, 1024), of fixed.lg_table() and
    fixed.exp_table(). lengths: tokens of each lane. payload: what is to be decoded, None to encode."""
    expect((tables, np.int64))
    if tables.shape != (2, 1024):
        raise ValueError("an array of tables has another shape than (2, 1024)")
    lg, exp = (table.ctypes.data for table in tables)
    tokens = np.array(lengths, np.int64)
    name = None if kernels is None else kernels.encode()
    handle = abi.Handle()
    library.check(
        library.c.nacrith_group_create(
            vocabulary, number, capacity, lg, exp, prior, len(prior), bits, tokens.ctypes.data, len(tokens),
            name, payload, 0 if payload is None else len(payload), handle,
        )
    )  # fmt: skip
    return value(handle)


def take(
    library: Library,
    group: int,
    vocab: int,
    rows: np.ndarray,
    lanes: np.ndarray,
    at: np.ndarray,
    tokens: np.ndarray,
    *,
    code: bool,
) -> None:
    """Learn n tokens, and code them too if the group encodes and they belong to its payload. rows: int32
    (m, vocab); lanes, tokens: int32 (n,); at: int64 (n,), rows of `rows`."""
    pointers = _given(vocab, rows, lanes, at, tokens)
    call = library.c.nacrith_group_encode if code else library.c.nacrith_group_learn
    library.check(call(group, len(lanes), *pointers))


def decode(
    library: Library, group: int, vocab: int, rows: np.ndarray, lanes: np.ndarray, at: np.ndarray
) -> np.ndarray:
    """The tokens, int32 (n,), of n rows; arguments as in `take`. CorruptError if they cannot be right."""
    tokens = np.empty(len(lanes), np.int32)
    pointers = _given(vocab, rows, lanes, at, tokens)
    library.check(library.c.nacrith_group_decode(group, len(lanes), *pointers))
    return tokens


def finish(library: Library, group: int) -> bytes:
    """The payload of a group that has been encoded whole."""
    return payload_of(library, library.c.nacrith_group_finish, group)


def _given(
    vocab: int, rows: np.ndarray, lanes: np.ndarray, at: np.ndarray, tokens: np.ndarray
) -> tuple[int, ...]:
    """Pointers as the library takes them, to arrays that fit each other. ValueError for others."""
    expect((rows, np.int32), (lanes, np.int32), (at, np.int64), (tokens, np.int32))
    if rows.ndim != 2 or rows.shape[1] != vocab or lanes.ndim != 1 or at.shape != lanes.shape:
        raise ValueError("arrays of rows and lanes do not fit each other or the vocabulary")
    if tokens.shape != lanes.shape:
        raise ValueError("arrays of lanes and tokens do not fit each other")
    if len(at) and not 0 <= at.min() <= at.max() < len(rows):
        raise ValueError("a row is asked for that is not there")
    return tuple(a.ctypes.data for a in (lanes, at, rows, tokens))
