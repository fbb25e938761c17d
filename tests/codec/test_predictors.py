"""The predictors by themselves: tables, counts of n-grams, matches, drafts, and the cascade's contract."""

from __future__ import annotations

import hashlib
import math
from importlib import resources

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from paths import FORMATS

from nacrith.coder.cdf import TOTAL
from nacrith.predictors import fixed, ngram, prior, registry
from nacrith.predictors.bias import BiasHead
from nacrith.predictors.cascade import Cascade, Switches
from nacrith.predictors.match import LONGEST, Match
from nacrith.predictors.ngram import ORDERS, SUCCESSORS, NGram
from nacrith.predictors.registry import SETS
from nacrith.predictors.statemap import ONE, StateMap

V = 40
ALONE = (0,)  # the lengths of lanes: one that grows as it is told
tokens = st.lists(st.integers(0, 5), max_size=120)


def rows(seed: int, n: int, peak: int = 1 << 20) -> np.ndarray:
    return np.random.default_rng(seed).integers(-peak, peak, (n, V)).astype(np.int32)


# ---------------------------------------------------------------- fixed point


@given(st.integers(1, 1 << 60))
def test_lg_is_the_logarithm_of_the_leading_bits(n):
    assert -3.0 < fixed.lg(n) - 1024 * math.log2(n) <= 0.001


@given(st.integers(-fixed.LIMIT, fixed.LIMIT))
def test_squash_is_symmetric_and_right(s):
    p = fixed.squash(s)
    assert p + fixed.squash(-s) == fixed.ONE
    assert p == pytest.approx(fixed.ONE / (1 + 2 ** (-s / 1024)), abs=2)


def test_squash_rises():
    values = [fixed.squash(s) for s in range(-fixed.LIMIT, fixed.LIMIT + 1, 7)]
    assert values == sorted(values)
    assert 0 < values[0] < values[-1] < fixed.ONE


def test_tables_are_what_the_specification_says():
    assert fixed.exp_table()[0] == 1 << 30
    assert fixed.exp_table()[512] == pytest.approx(2**30.5, rel=1e-8)
    assert fixed.lg_table()[512] == math.floor(1024 * math.log2(1.5))
    data = np.array([fixed.lg_table(), fixed.exp_table()], "<i8").tobytes()
    assert hashlib.sha256(data).hexdigest()[:16] == "c6c2107f8b3a6b87"


def test_a_state_learns_its_frequency():
    states = StateMap([1 << 15], [0])
    for i in range(2000):
        states.update(0, i % 4 == 0)
    assert states.p[0] / ONE == pytest.approx(0.25, abs=0.02)
    assert states.stretched(0) == pytest.approx(1024 * math.log2(1 / 3), abs=150)


# ------------------------------------------------------------ n-grams, matches


@given(tokens)
def test_counts_are_those_of_the_history(history):
    grams = NGram(V, 1 << 10, ALONE)
    for token in history:
        grams.update(token)
    grams.begin()
    for order in range(1, ORDERS + 1):
        context = history[len(history) - order :]
        followers = [history[i] for i in range(order, len(history)) if history[i - order : i] == context]
        node = grams.nodes[order]
        if len(history) < order or not followers:
            assert node is None
            continue
        assert node is not None
        assert node.total == len(followers)
        assert {t: node.count(t) for t in followers} == {t: followers.count(t) for t in followers}
        assert history[node.position] == followers[-1]


def test_probabilities_of_the_successors_leave_room_for_others():
    grams = NGram(V, 1 << 10, ALONE)
    for token in [1, 2, 3, 1, 2, 4, 1, 2, 3, 1, 2]:
        grams.update(token)
    grams.begin()
    shares = [grams.probability(t) / (1 << 22) for t in range(V)]
    assert shares[4] > shares[3] > shares[9] > 0  # 3, 1, 2 was followed by 4
    assert 0.99 < sum(shares) <= 1


def test_a_context_keeps_a_bounded_number_of_successors():
    grams = NGram(V, 1 << 10, ALONE)
    for i in range(30):
        grams.update(39)
        grams.update(i)
        grams.update(5)
        grams.update(5)
    grams.update(39)
    grams.begin()
    node = grams.nodes[1]
    assert node is not None
    assert len(node.tokens) == SUCCESSORS
    assert node.total == 30


def test_memory_is_bounded_and_what_is_used_stays():
    grams = NGram(5000, 64, ALONE)
    for i in range(3000):
        for token in (4000, 4001, i):
            grams.update(token)
        assert all(len(t) <= 64 for t in (*grams._young, *grams._old))
    grams.update(4000)
    grams.begin()
    node = grams.nodes[1]
    assert node is not None
    assert node.total == 3000


@given(tokens)
def test_a_match_is_a_true_one(history):
    grams = NGram(V, 1 << 10, ALONE)
    match = Match(grams)
    for n, token in enumerate(history, 1):
        predicted = match.token
        grams.update(token)
        match.update(token)
        grams.begin()
        match.begin()
        if predicted == token:
            assert match.token is not None  # a right pointer walks on
        if match.token is not None:
            ends = [
                i
                for i in range(match.length, n)
                if history[i - match.length : i] == history[n - match.length : n]
                and history[i] == match.token
            ]
            assert ends
            assert ORDERS <= match.length < LONGEST


def test_a_match_follows_a_repetition():
    grams = NGram(V, 1 << 10, ALONE)
    match = Match(grams)
    phrase, expected = [7, 3, 9, 4, 1, 8, 2, 6, 5], []
    for token in phrase * 2:
        grams.begin()
        match.begin()
        expected.append(match.token)
        grams.update(token)
        match.update(token)
    assert expected == [None] * 14 + phrase[5:], "found by the context of order 5"


# ----------------------------------------------------------------------- lanes

turns = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 3)), max_size=120)


@given(turns)
def test_lanes_share_counts_and_keep_their_contexts(steps):
    """Contexts are of one lane's tokens; what followed them counts from all lanes, in order of coming."""
    lengths = [sum(lane == i for lane, _ in steps) for i in range(3)]
    starts = [0, lengths[0], lengths[0] + lengths[1]]
    grams, lanes, came = NGram(V, 1 << 10, lengths), [[], [], []], []
    for lane, token in steps:
        grams.begin(lane)
        for order in range(1, ORDERS + 1):
            context = lanes[lane][-order:]
            seen = [(t, at) for before, t, at in came if len(context) == order and before[-order:] == context]
            node = grams.nodes[order]
            assert (node is None) == (not seen)
            if node is not None:
                assert node.total == len(seen)
                assert {t: node.count(t) for t in range(4)} == {
                    t: [s for s, _ in seen].count(t) for t in range(4)
                }
                assert node.position == seen[-1][1]
        came.append((list(lanes[lane]), token, starts[lane] + len(lanes[lane])))
        lanes[lane].append(token)
        grams.update(token, lane)
    assert grams.history == [t for lane in lanes for t in lane]


@given(turns, st.randoms())
def test_a_match_may_lead_into_another_lane(steps, random):
    phrase = [7, 3, 9, 4, 1, 8, 2]
    lanes = [[token for lane, token in steps if lane == i] for i in range(3)]
    for lane in lanes:
        lane[len(lane) // 2 : len(lane) // 2] = phrase * random.randint(0, 2)
    grams = NGram(V, 1 << 10, [len(lane) for lane in lanes])
    match = Match(grams)
    for t in range(max(map(len, lanes))):
        for i, lane in enumerate(lanes):
            if t >= len(lane):
                continue
            grams.begin(i)
            match.begin(i)
            if match.token is not None:
                pointer, (start, end) = match._pointers[i], grams.span(i)
                assert match.token == grams.history[pointer] >= 0
                n = match.length
                assert n < LONGEST
                assert n <= min(pointer, end - start) or n == LONGEST - 1
                assert grams.history[pointer - n : pointer] == grams.history[end - n : end]
            grams.update(lane[t], i)
            match.update(lane[t], i)


def test_a_match_is_lost_where_the_other_lane_has_not_come_that_far():
    phrase = [7, 3, 9, 4, 1, 8]
    grams = NGram(V, 1 << 10, [8, 8])
    match = Match(grams)

    def step(token, lane):
        grams.begin(lane)
        match.begin(lane)
        grams.update(token, lane)
        match.update(token, lane)

    for token in phrase:
        step(token, 0)
    for token in phrase[:5]:
        step(token, 1)
    grams.begin(1)
    match.begin(1)
    assert (match.token, match.length) == (8, 5)
    step(8, 1)
    grams.begin(1)
    match.begin(1)
    assert (match.token, match.length) == (None, 0)
    step(2, 0)
    grams.begin(1)
    match.begin(1)
    assert (match.token, match.length) == (2, 6), "found again by the n-grams, as long as it agrees"


@pytest.mark.parametrize("number", [0, 1])
def test_an_ensemble_of_a_lane_and_an_empty_one_is_that_of_one(number):
    ids = [1, 2, 3, 4, 5, 6, 7] * 6
    one, two = registry.make(number, V, 64, [42]), registry.make(number, V, 64, [0, 42])
    for row, token in zip(rows(3, 42), ids, strict=True):
        assert np.array_equal(one.counts(row).copy(), two.counts(row, 1))
        one.update(token)
        two.update(token, 1)


# --------------------------------------------------------------------- cascade


@settings(max_examples=60)
@given(tokens, st.integers(0, 99), st.sampled_from([1, 1 << 10, 1 << 20, 1 << 29]))
def test_counts_are_a_distribution(history, seed, peak):
    ensemble = Cascade(V, 1 << 8, prior.load(SETS[1].prior), ALONE)
    for token, row in zip(history, rows(seed, len(history), peak), strict=True):
        c = ensemble.counts(row)
        assert c.min() >= 1
        assert int(c.astype(np.int64).sum()) == TOTAL
        assert np.array_equal(c, np.floor(c))
        ensemble.update(token)


@given(tokens, st.integers(0, 99))
def test_rows_that_were_only_looked_at_change_nothing(history, seed):
    """As when a decoder's guesses are taken back: what counts is the row before `update`."""
    plain, busy = (Cascade(V, 1 << 8, prior.load(SETS[1].prior), ALONE) for _ in range(2))
    for i, (token, row) in enumerate(zip(history, rows(seed, len(history)), strict=True)):
        expected = plain.counts(row).copy()
        for other in rows(seed + i, 2):
            busy.counts(other)
        assert np.array_equal(busy.counts(row), expected)
        plain.update(token)
        busy.update(token)


@pytest.mark.parametrize("peak", [1, 1 << 18])
def test_a_repetition_costs_almost_nothing(peak):
    rng = np.random.default_rng(5)
    phrase = rng.integers(0, V, 200).tolist()
    ensemble = Cascade(V, 1 << 10, prior.load(SETS[1].prior), ALONE)
    bits = []
    for token, row in zip(phrase * 4, rows(1, 800, peak), strict=True):
        bits.append(24 - math.log2(ensemble.counts(row)[token]))
        ensemble.update(token)
    assert sum(bits[:200]) > 200 * 4
    assert sum(bits[600:]) < 200 * 0.15


def test_a_frequent_token_becomes_cheap():
    head = BiasHead(V)
    row = np.zeros(V, np.int32)
    for _ in range(30):
        x = head.apply(row)
        w = np.exp2(x / 65536).astype(np.float32)
        head.update(np.rint(w * 1000), int(np.rint(w * 1000).sum()), 3)
    assert head.b.argmax() == 3
    assert head.b[3] - head.b[4] > 65536


def test_every_part_can_be_switched_off():
    """With all of them off, what is left is the question whether it is the model's favourite."""
    history = [1, 2, 3, 4, 5, 6] * 20
    costs = {}
    for name in ("bias", "ngram", "match", "correction", "none"):
        switches = Switches(**{key: key != name for key in ("bias", "ngram", "match", "correction")})
        ensemble = Cascade(V, 1 << 8, prior.load(SETS[1].prior), ALONE, switches)
        costs[name] = 0.0
        for token, row in zip(history, rows(2, len(history)), strict=True):
            costs[name] -= math.log2(ensemble.counts(row)[token] / TOTAL)
            ensemble.update(token)
    assert len(set(costs.values())) == len(costs)


# ----------------------------------------------------------------------- prior


@pytest.mark.parametrize("number", [1, 2])
def test_the_priors_are_those_of_the_format(number):
    data = resources.files("nacrith.predictors").joinpath(SETS[number].prior).read_bytes()
    text = (FORMATS / "coding-v2.md").read_text(encoding="utf-8")
    assert hashlib.sha256(data).hexdigest() in text
    assert prior.load(SETS[number].prior).to_bytes() == data
    assert len(data) == 3 * (5 * ngram.STATES + 64 + 33 * 128) + 4 * 8 * 50
