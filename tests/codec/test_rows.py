"""Rows of several lanes as one array."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nacrith.codec.rows import joined
from nacrith.scratch import Recycled

VOCAB = 5


def split(counts: Sequence[int]) -> tuple[np.ndarray, list[np.ndarray]]:
    """Rows of a session, and those of each lane, as views."""
    rows = Recycled().empty((sum(counts), VOCAB), np.int32)
    rows[:] = np.arange(rows.size).reshape(rows.shape)
    ends = np.cumsum(counts).tolist()
    return rows, [rows[end - n : end] for end, n in zip(ends, counts, strict=True)]


def check(whole: np.ndarray, first: Sequence[int], parts: Sequence[np.ndarray]) -> None:
    assert whole.shape[1] == VOCAB
    assert whole.flags.c_contiguous
    assert len(first) == len(parts)
    for begin, part in zip(first, parts, strict=True):
        assert np.array_equal(whole[begin : begin + len(part)], part)


@given(st.lists(st.integers(0, 4), min_size=1, max_size=6).filter(any), st.randoms())
def test_parts_of_one_array_are_not_copied(counts, random):
    rows, parts = split(counts)
    chosen = [n for n in range(len(parts)) if random.random() < 0.7 or n == int(np.argmax(counts))]
    random.shuffle(chosen)
    parts = [parts[n] for n in chosen]
    whole, first = joined(parts)
    check(whole, first, parts)
    assert np.shares_memory(whole, rows)


@given(st.lists(st.integers(0, 4), min_size=1, max_size=6).filter(any))
def test_other_parts_are_copied(counts):
    parts = [part.copy() for part in split(counts)[1]]
    check(*joined(parts), parts)
    mixed = [split([2])[1][0], *parts]
    check(*joined(mixed), mixed)
    apart = [part[:, :VOCAB] for part in [np.zeros((3, 2 * VOCAB), np.int32)]]
    check(*joined(apart), apart)


def test_memory_is_used_again_when_nobody_has_it():
    recycled = Recycled()
    rows = recycled.empty((3, VOCAB), np.int32)
    place, last = rows.ctypes.data, rows[2:]
    assert place % 64 == 0
    del rows
    assert recycled.empty((3, VOCAB), np.int32).ctypes.data != place
    held, _ = joined([last])
    del last
    assert recycled.empty((3, VOCAB), np.int32).ctypes.data != place
    del held
    assert place in {recycled.empty((3, VOCAB), np.int32).ctypes.data for _ in range(3)}


@pytest.mark.parametrize("size", [1, 100, 1 << 20, 5 << 20])
def test_memory_that_is_far_too_large_is_given_back(size):
    recycled = Recycled()
    large = recycled.empty((64 << 20,), np.uint8).ctypes.data
    assert recycled.empty((size,), np.uint8).ctypes.data != large
