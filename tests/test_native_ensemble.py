"""The native ensembles equal those in Python: every count of every step, whatever the kernels.

Skipped where the library is not built, as in test_native.py.
"""

from __future__ import annotations

import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_native import KERNELS, each_kernels, needs_library

from nacrith import native, predictors
from nacrith.coder import cdf
from nacrith.models.exact import backends
from nacrith.native import ensemble as ensemble_calls
from nacrith.predictors import ModelAlone
from nacrith.predictors.cascade import Cascade
from nacrith.predictors.native import NativeEnsemble
from nacrith.predictors.prior import Prior, formula, load

MOST = 1 << 30
KINDS = ("random", "peaked", "extreme", "constant", "right", "wrong")


def sequence(rng: np.random.Generator, n: int, vocab: int, fresh: float) -> np.ndarray:
    """Tokens in part copied from before, so that contexts of all orders come again; `fresh`: how often a
    run is new. Some tokens are frequent, with many successors."""
    ids = (rng.random(n) ** 3 * vocab).astype(np.int32)
    at = 0
    while at < n:
        run = min(int(rng.integers(1, 40)), n - at)
        if at and rng.random() > fresh:
            begin = int(rng.integers(0, at))
            for i in range(run):
                ids[at + i] = ids[begin + i]
        at += run
    return ids


def rows_for(rng: np.random.Generator, ids: np.ndarray, vocab: int, kind: str) -> np.ndarray:
    """int32 (n, vocab): what a model might say before each token; "right" and "wrong": of the token."""
    n = len(ids)
    rows = rng.normal(0, 3 * 65536, (n, vocab)).astype(np.int32)
    if kind == "peaked":
        rows[np.arange(n), rng.integers(0, vocab, n)] += 40 << 16
    elif kind == "extreme":
        rows = rng.choice(np.array([-MOST, -5, 0, 7, MOST], np.int32), (n, vocab))
    elif kind == "constant":
        rows[:] = rng.integers(-MOST, MOST, (n, 1))
    elif kind == "right":
        rows[np.arange(n), ids] += 8 << 16
    elif kind == "wrong":
        rows[np.arange(n), ids] = -MOST
    return rows


def mixed_rows(rng: np.random.Generator, ids: np.ndarray, vocab: int) -> np.ndarray:
    each = np.array([rows_for(rng, ids, vocab, kind) for kind in KINDS])
    return each[rng.integers(0, len(KINDS), len(ids)), np.arange(len(ids))]


def assert_equal(vocab: int, capacity: int, prior: Prior, ids, rows, kernels, *, cut: int | None = None):
    """Step by step up to `cut`, the rest in one call."""
    want = Cascade(vocab, capacity, prior)
    got = NativeEnsemble(1, vocab, capacity, prior, kernels)
    cut = len(ids) if cut is None else cut
    for row, token in zip(rows[:cut], ids[:cut].tolist(), strict=True):
        counts = want.counts(row).copy()
        assert np.array_equal(got.counts(row), counts)
        assert counts.min() >= 1
        assert int(counts.astype(np.int64).sum()) == cdf.TOTAL
        want.update(token)
        got.update(token)
    for a, b in zip(
        want.intervals(rows[cut:], ids[cut:].tolist()), got.intervals(rows[cut:], ids[cut:]), strict=True
    ):
        assert np.array_equal(a, b)


@needs_library
@each_kernels
@given(
    st.integers(20, 200),
    st.integers(1, 300),
    st.sampled_from([1, 2, 7, 30, 256]),
    st.sampled_from([*KINDS, "mixed"]),
    st.sampled_from([0.02, 0.2, 1.0]),
    st.booleans(),
    st.integers(0, 2**32 - 1),
    st.data(),
)
@settings(max_examples=40, deadline=None)
def test_every_count_of_every_step(kernels, vocab, n, capacity, kind, fresh, fitted, seed, data):
    rng = np.random.default_rng(seed)
    ids = sequence(rng, n, vocab, fresh)
    rows = mixed_rows(rng, ids, vocab) if kind == "mixed" else rows_for(rng, ids, vocab, kind)
    cut = data.draw(st.integers(0, n))
    assert_equal(vocab, capacity, load(1) if fitted else formula(), ids, rows, kernels, cut=cut)


@needs_library
@each_kernels
@pytest.mark.parametrize("fresh", [0.05, 0.7])
def test_long_blocks(kernels, fresh):
    """Generations that change many times; contexts of an order with more successors than are kept."""
    vocab = 60
    rng = np.random.default_rng(5)
    ids = sequence(rng, 3000, vocab, fresh)
    followers = {b for a, b in zip(ids.tolist(), ids[1:].tolist(), strict=False) if a == 0}
    assert len(followers) > 16
    assert_equal(vocab, 1 << 8, load(1), ids, mixed_rows(rng, ids, vocab), kernels, cut=1500)


@needs_library
@each_kernels
def test_a_cycle_that_the_match_follows(kernels):
    rng = np.random.default_rng(1)
    ids = np.tile(rng.integers(0, 100, 90).astype(np.int32), 6)
    ids[400] = 7
    assert_equal(100, 1 << 8, load(1), ids, rows_for(rng, ids, 100, "random"), kernels, cut=270)


@needs_library
@each_kernels
def test_a_large_vocabulary(kernels):
    vocab = 49_152
    rng = np.random.default_rng(2)
    ids = sequence(rng, 60, vocab, 0.1)
    assert_equal(vocab, 1 << 13, load(1), ids, mixed_rows(rng, ids, vocab), kernels, cut=30)


@needs_library
@each_kernels
@pytest.mark.parametrize("vocab", [1, 2, 3, 127, 128, 129, 1000, 1 << 20])
def test_any_size_of_vocabulary(kernels, vocab):
    rng = np.random.default_rng(vocab)
    ids = rng.integers(0, vocab, 12 if vocab < 2000 else 3).astype(np.int32)
    assert_equal(vocab, 3, load(1), ids, mixed_rows(rng, ids, vocab), kernels)


@needs_library
@each_kernels
@given(st.integers(1, 500), st.sampled_from(KINDS), st.integers(0, 2**32 - 1))
@settings(max_examples=30, deadline=None)
def test_set_0_is_the_model_alone(kernels, vocab, kind, seed):
    rng = np.random.default_rng(seed)
    ids = rng.integers(0, vocab, 9).astype(np.int32)
    rows = rows_for(rng, ids, vocab, kind)
    got = NativeEnsemble(0, vocab, 1, None, kernels)
    for row, token in zip(rows, ids.tolist(), strict=True):
        assert np.array_equal(got.counts(row), cdf.counts(row).copy())
        got.update(token)
    for a, b in zip(got.intervals(rows, ids), ModelAlone().intervals(rows, ids.tolist()), strict=True):
        assert np.array_equal(a, b)


@needs_library
def test_intervals_are_counts_and_updates():
    vocab, rng = 80, np.random.default_rng(9)
    ids = sequence(rng, 400, vocab, 0.2)
    rows = mixed_rows(rng, ids, vocab)
    steps, runs = (NativeEnsemble(1, vocab, 50, load(1)) for _ in range(2))
    one_by_one = []
    for row, token in zip(rows, ids.tolist(), strict=True):
        one_by_one.append(cdf.interval(steps.counts(row), token))
        steps.update(token)
    low, count = runs.intervals(rows[:0], ids[:0])
    for begin in range(0, 400, 37):
        more = runs.intervals(rows[begin : begin + 37], ids[begin : begin + 37].tolist())
        low, count = np.append(low, more[0]), np.append(count, more[1])
    assert list(zip(low.tolist(), count.tolist(), strict=True)) == one_by_one


@needs_library
def test_counts_asked_for_twice_change_nothing():
    vocab, rng = 30, np.random.default_rng(3)
    ids = sequence(rng, 50, vocab, 0.2)
    rows = rows_for(rng, ids, vocab, "random")
    once, twice = (NativeEnsemble(1, vocab, 50, load(1)) for _ in range(2))
    for row, token in zip(rows, ids.tolist(), strict=True):
        twice.counts(row[::-1])
        assert np.array_equal(twice.counts(row).copy(), once.counts(row))
        once.update(token)
        twice.update(token)


@pytest.mark.parametrize("kernels", ["", *(pytest.param(k, marks=needs_library) for k in KERNELS)])
def test_rows_beyond_the_bias_stay_in_range(kernels):
    """A bias on top of the largest weight: no difference of two leaves 32 bits. "": Python alone."""
    vocab = 20
    rows = np.full((40, vocab), -MOST, np.int32)
    rows[::2, 4] = MOST
    rows[1::2, 7] = MOST
    ids = np.repeat(np.int32(4), 40)
    if kernels:
        assert_equal(vocab, 50, load(1), ids, rows, kernels)
        return
    ensemble = Cascade(vocab, 50, load(1))
    for row in rows:
        counts = ensemble.counts(row)
        if row[4] == MOST:
            assert counts[4] == cdf.TOTAL - (vocab - 1)
        ensemble.update(4)


@needs_library
def test_different_ensembles_in_several_threads():
    vocab, rng = 500, np.random.default_rng(4)
    ids = sequence(rng, 300, vocab, 0.2)
    rows = rows_for(rng, ids, vocab, "random")
    got = []

    def run() -> None:
        got.append(NativeEnsemble(1, vocab, 64, load(1)).intervals(rows, ids))

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(got) == 4
    assert all(np.array_equal(a, b) for pair in got for a, b in zip(pair, got[0], strict=True))


@needs_library
def test_wrong_arguments():
    row = np.zeros(20, np.int32)
    for number, vocab, capacity, why in [
        (2, 20, 9, "no set 2"),
        (0, 0, 9, "vocabulary of 0"),
        (1, (1 << 20) + 1, 9, "vocabulary of 1048577"),
        (1, 20, 0, "capacity"),
    ]:
        with pytest.raises(ValueError, match=why):
            NativeEnsemble(number, vocab, capacity, load(1))
    with pytest.raises(ValueError, match="no kernels called abacus"):
        NativeEnsemble(0, 20, 9, None, "abacus")
    ensemble = NativeEnsemble(1, 20, 9, load(1))
    with pytest.raises(ValueError, match="token 20 is outside"):
        ensemble.update(20)
    ensemble.counts(row)
    ensemble.update(19)
    with pytest.raises(ValueError, match="two tokens"):
        ensemble.update(1)
    ensemble.counts(row)
    for tokens in [[0, 20], [-1, 0]]:
        with pytest.raises(ValueError, match="outside the vocabulary"):
            ensemble.intervals(np.zeros((2, 20), np.int32), tokens)
    ensemble.counts(row)  # still of use
    for bad in (MOST + 1, -MOST - 1):
        broken = NativeEnsemble(1, 20, 9, load(1))
        with pytest.raises(ValueError, match=r"beyond 2\^30"):
            broken.counts(np.where(np.arange(20) == 13, np.int32(bad), row))
        with pytest.raises(ValueError, match="an earlier call"):
            broken.counts(row)


@needs_library
def test_a_token_needs_counts_that_it_came_under():
    ensemble = NativeEnsemble(1, 20, 9, load(1))
    row = np.zeros(20, np.int32)
    ensemble.update(3)
    with pytest.raises(ValueError, match="no counts were given"):
        ensemble.counts(row)
    other = NativeEnsemble(1, 20, 9, load(1))
    other.intervals(row[None], [1])
    other.update(1)
    with pytest.raises(ValueError, match="no counts were given"):
        other.counts(row)


@needs_library
def test_arrays_are_checked_before_a_call():
    library = native.load()
    ensemble = NativeEnsemble(0, 20, 9, None)
    row, counts = np.zeros(20, np.int32), np.zeros(20, np.float32)
    for wrong in [(row.astype(np.int64), counts), (row, counts[:19]), (row[:19], counts), (row, row)]:
        with pytest.raises(ValueError, match="array"):
            ensemble_calls.counts(library, ensemble._handle, 20, -1, *wrong)
    for rows, tokens in [
        (np.zeros((2, 20), np.int32), np.zeros(3, np.int32)),
        (np.zeros((2, 19), np.int32), np.zeros(2, np.int32)),
        (np.zeros((20, 2), np.int32).T, np.zeros(2, np.int32)),
        (np.zeros((2, 20), np.int32), np.zeros(2, np.int64)),
    ]:
        with pytest.raises(ValueError, match="array"):
            ensemble_calls.encode(library, ensemble._handle, 20, rows, tokens)
    for tables in [np.zeros((2, 1023), np.int64), np.zeros((2, 1024), np.int32)]:
        with pytest.raises(ValueError, match="array"):
            ensemble_calls.create(library, 0, 20, 9, tables, b"", None)


@needs_library
def test_tables_that_are_not_those_of_the_set(monkeypatch):
    cut = load(1).to_bytes()[:-1]
    monkeypatch.setattr(Prior, "to_bytes", lambda self: cut)
    with pytest.raises(ValueError, match=f"the prior has {len(cut)} bytes"):
        NativeEnsemble(1, 20, 9, load(1))
    sure = bytearray(cut + b"\0")
    sure[2 * 5008] = 128
    monkeypatch.setattr(Prior, "to_bytes", lambda self: bytes(sure))
    with pytest.raises(ValueError, match="too many observations"):
        NativeEnsemble(1, 20, 9, load(1))
    with pytest.raises(ValueError, match="tables of log2 and exp2"):
        ensemble_calls.create(native.load(), 1, 20, 9, np.zeros((2, 1024), np.int64), cut + b"\0", None)


@pytest.mark.parametrize("number", [0, 1])
@pytest.mark.parametrize(
    "backend",
    ["numpy", pytest.param("native", marks=needs_library), pytest.param("torch", marks=needs_library)],
)
def test_the_backend_decides(monkeypatch, number, backend):
    monkeypatch.setattr(backends, "backend", lambda: backend)
    python = (ModelAlone, Cascade)[number]
    made = predictors.make(number, 20, 16)
    assert type(made) is (python if backend == "numpy" else NativeEnsemble)


def test_python_beside_torch_where_there_is_no_library(monkeypatch, tmp_path):
    monkeypatch.setattr(backends, "backend", lambda: "torch")
    monkeypatch.setenv("NACRITH_NATIVE_LIB", str(tmp_path / "none.so"))
    native.load.cache_clear()
    try:
        assert type(predictors.make(1, 20, 16)) is Cascade
    finally:
        native.load.cache_clear()
