"""Choosing tokens: against an independent calculation in fractions, and by enumerating the random numbers."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nacrith.decoding.sampling import Sampling
from nacrith.errors import DecodingError

rows = st.lists(st.integers(-(12 << 16), 12 << 16), min_size=2, max_size=90).map(
    lambda r: np.array(r, np.int32)
)


def kept(sampling: Sampling, weights: list[int]) -> list[int]:
    """The ids that the rules keep of these weights, as their documentation says it."""
    order = sorted((i for i, w in enumerate(weights) if w), key=lambda i: (-weights[i], i))
    if sampling.top_k:
        order = order[: sampling.top_k]
    heaviest = weights[order[0]]
    share = Fraction(round(sampling.min_p * 2**18), 2**18)
    order = [i for i in order if weights[i] >= share * heaviest]
    total = sum(weights[i] for i in order)
    share, reached = Fraction(round(sampling.top_p * 2**18), 2**18), 0
    for n, i in enumerate(order):
        reached += weights[i]
        if reached >= share * total:
            return sorted(order[: n + 1])
    return sorted(order)


@given(
    rows, st.integers(0, 12), st.sampled_from([0.0, 0.3, 0.9, 1.0]), st.sampled_from([0.0, 0.05, 0.5, 1.0])
)
def test_top_k_top_p_and_min_p_keep_what_they_say(row, top_k, top_p, min_p):
    every = Sampling(temperature=1.3)
    ids, found = every.candidates(row)
    weights = np.zeros(len(row), np.int64)
    weights[ids] = found
    sampling = Sampling(1.3, top_k, top_p, min_p)
    ids, found = sampling.candidates(row)
    assert ids.tolist() == kept(sampling, weights.tolist())
    assert found.tolist() == weights[ids].tolist()


def test_top_p_of_a_flat_row_of_many_tokens():
    """More than the first 64 that are tried, with equal weights: the lower ids."""
    ids, _ = Sampling(1.0, top_p=0.5).candidates(np.zeros(1000, np.int32))
    assert ids.tolist() == list(range(500))


def test_each_token_is_drawn_in_proportion_to_its_weight(monkeypatch):
    row = np.array([0, -65536, -(1 << 30), -131072], np.int32)
    sampling = Sampling(1.0)
    ids, weights = sampling.candidates(row)
    assert ids.tolist() == [0, 1, 3]
    assert np.allclose(weights / weights.sum(), [4 / 7, 2 / 7, 1 / 7], atol=1e-4)
    edges = np.cumsum(weights).tolist()
    for low, high, token in zip([0, *edges], edges, ids.tolist(), strict=False):
        for draw in (low, high - 1):
            monkeypatch.setattr(Sampling, "draw", lambda self, place, total, draw=draw: draw)
            assert sampling.choose(row, 0) == token


def test_draws_are_spread_over_the_whole_range():
    draws = [Sampling(1.0, seed=4).draw(place, 10) for place in range(2000)]
    counts = np.bincount(draws, minlength=10)
    assert len(counts) == 10
    assert ((counts > 140) & (counts < 260)).all()  # 200 each, and more than four standard deviations


@pytest.mark.parametrize("temperature", [0.25, 1.0, 2.0])
def test_temperature_divides_the_weights(temperature):
    row = np.array([0, -65536], np.int32)  # a ratio of 2
    _, weights = Sampling(temperature).candidates(row)
    assert weights[0] / weights[1] == pytest.approx(2 ** (1 / temperature), rel=2e-4)


def test_greedy_takes_the_heaviest_and_of_equal_ones_the_first():
    assert Sampling(seed=9).choose(np.array([-5, 7, 7, 0], np.int32), 3) == 1


def test_the_same_on_every_machine():
    """These values never change for this SAMPLING_VERSION: recorded answers depend on them."""
    row = (np.arange(4000, dtype=np.int64) * 2654435761 % 2**32 // 2**12 - 900000).astype(np.int32)
    sampling = Sampling(0.8, top_k=300, top_p=0.9, min_p=0.001, seed=2**62 + 1)
    assert [sampling.choose(row, place) for place in range(8)] == GOLDEN
    assert [Sampling(1.7, seed=-1).choose(row, place) for place in range(8)] == GOLDEN_WIDE


GOLDEN = [762, 3325, 3359, 1639, 3126, 1508, 21, 3160]
GOLDEN_WIDE = [3520, 896, 2058, 71, 760, 3853, 3294, 241]


def test_extreme_weights_and_temperatures():
    row = np.array([-(1 << 30), 1 << 30, (1 << 30) - 1], np.int32)
    assert Sampling(0.01).candidates(row)[0].tolist() == [1, 2]
    assert Sampling(100.0).candidates(row)[0].tolist() == [1, 2]


@pytest.mark.parametrize(
    "wrong",
    [
        {"temperature": -1.0},
        {"temperature": 0.001},
        {"temperature": float("nan")},
        {"temperature": float("inf")},
        {"top_k": -1},
        {"top_p": 1.1},
        {"min_p": float("nan")},
        {"seed": 1 << 63},
    ],
)
def test_values_that_are_not_allowed(wrong):
    with pytest.raises(DecodingError, match=next(iter(wrong))):
        Sampling(**wrong)
