"""The contract of exact inference: the same integers however the work is cut.

Everything here compares int32 logits with ==. `slow_reference` computes them a second time from the
written contract; the golden hashes hold both to what they were when the format was fixed.
"""

from __future__ import annotations

import engine_checks as checks
import numpy as np
import pytest
from engine_checks import GOLDEN, golden_tokens, shapes
from hypothesis import given, settings
from hypothesis import strategies as st
from paths import FORMATS
from slow_reference import SlowModel
from small_models import engine, feed, random_model, tiny, tokens

from nacrith.models.exact import numpy_engine
from nacrith.models.exact.config import SINKS
from nacrith.models.exact.numpy_engine import BATCH, NumpyEngine


def straight(ids: list[int], window: int) -> np.ndarray:
    """The tiny model's rows for one lane in one call."""
    return engine().session(1, window).extend([ids])[0]


@given(shapes, st.integers(1, 3), st.integers(8, 24), st.data())
@settings(max_examples=40, deadline=None)
def test_random_models_give_the_same_rows_however_cut(shape, group, window, data):
    file = random_model(**shape, heads=shape["kv_heads"] * group)
    vocab = file.config.vocab
    lanes = data.draw(st.integers(1, 3))
    ids = [tokens(data.draw(st.integers(1, 60)), vocab=vocab, seed=n) for n in range(lanes)]
    one, two = NumpyEngine(file, 1), NumpyEngine(file, 2)
    expected = [one.session(1, window).extend([lane])[0] for lane in ids]

    together = two.session(lanes, window).extend(ids)
    for got, want in zip(together, expected, strict=True):
        assert np.array_equal(got, want)

    session = one.session(lanes, window)  # uneven pieces of all lanes, side by side
    done = [0] * lanes
    while any(n < len(lane) for n, lane in zip(done, ids, strict=True)):
        sizes = [data.draw(st.integers(0, 9)) for _ in range(lanes)]
        sizes = sizes if any(sizes) else [1] * lanes
        rows = session.extend([x[n : n + s] for x, n, s in zip(ids, done, sizes, strict=True)])
        for i, part in enumerate(rows):
            assert np.array_equal(part, expected[i][done[i] : done[i] + len(part)])
            done[i] += len(part)
    assert session.lengths == tuple(map(len, ids))


@given(shapes, st.integers(1, 3), st.integers(8, 12))
@settings(max_examples=25, deadline=None)
def test_random_models_equal_the_slow_reference(shape, group, window):
    file = random_model(**shape, heads=shape["kv_heads"] * group)
    ids = tokens(14, vocab=file.config.vocab)
    slow = SlowModel(file, window)
    want = np.array([slow.step(t) for t in ids])
    assert np.array_equal(NumpyEngine(file).session(1, window).extend([ids])[0], want)


@pytest.mark.parametrize("window", [8, 512])
def test_the_tiny_model_equals_the_slow_reference(window):
    ids = tokens(40)
    slow = SlowModel(tiny(), window)
    want = np.array([slow.step(t) for t in ids])
    assert np.array_equal(straight(ids, window), want)


@pytest.mark.parametrize(("count", "window", "digest"), GOLDEN)
def test_golden_rows(count, window, digest):
    assert checks.digest(straight(golden_tokens(count), window)) == digest


def test_the_golden_vectors_stand_in_the_specification():
    text = (FORMATS / "arithmetic-v1.md").read_text()
    for count, window, digest in GOLDEN:
        assert f"| {count} | {window} | `{digest}` |" in text
    assert tiny().fingerprint.hex() in text
    row = straight(golden_tokens(1), 512)[0]
    assert ", ".join(map(str, row[:8])) in text


@given(st.data())
@settings(max_examples=5, deadline=None)
def test_prefill_equals_steps_equals_any_split(data):
    ids = tokens(100)
    window = data.draw(st.sampled_from([8, 16, 64, 512]))
    cuts = data.draw(st.lists(st.integers(0, len(ids)), max_size=12))
    want = straight(ids, window)
    assert np.array_equal(feed(engine().session(1, window), 0, ids, cuts), want)
    assert np.array_equal(feed(engine().session(1, window), 0, ids, list(range(1, 100))), want)


@pytest.mark.parametrize("window", [16, 64])
def test_long_lanes_beyond_the_cache(window):
    """Lanes longer than the cache, in large pieces and small ones."""
    ids = tokens(3000)
    session = engine().session(1, window)
    want = session.extend([ids])[0]
    assert session.cache.base[0] > 0, "the cache was never compacted: the test is too short"
    other = engine(2).session(2, window)
    assert np.array_equal(feed(other, 1, ids, [1, 5, 900, *range(1000, 3000, 333)]), want)


@given(st.integers(8, 20), st.integers(0, 9), st.lists(st.integers(0, 160), max_size=20))
@settings(max_examples=8, deadline=None)
def test_a_cache_that_is_compacted_all_the_time(window, rollback, cuts):
    """The same with a cache so small that a lane of 160 tokens moves on a dozen times."""
    small = NumpyEngine(random_model(seed=2))
    ids = tokens(160, vocab=20)
    want = small.session(1, window).extend([ids])[0]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(numpy_engine, "BATCH", 4)
        patch.setattr(numpy_engine, "ROLLBACK", rollback)
        for split in (cuts, list(range(1, 160))):
            session = small.session(1, window)
            assert np.array_equal(feed(session, 0, ids, split), want)
            assert session.cache.slots <= SINKS + window + rollback + 8
            session.rollback(0, 160 - rollback)
            rows = session.extend([ids[160 - rollback :]])[0]
            assert np.array_equal(rows, want[160 - rollback :])


def test_what_lies_beyond_the_window_has_no_influence_but_for_layers_below():
    """With one layer, a row depends on the sinks and the last window - SINKS tokens alone."""
    one = NumpyEngine(random_model(vocab=50, seed=3))
    window, length = 12, 60
    a = tokens(length, vocab=50)
    reach = window - SINKS
    b = [*a[:SINKS], *[(t + 1) % 50 for t in a[SINKS : length - reach]], *a[length - reach :]]
    rows_a, rows_b = (one.session(1, window).extend([x])[0] for x in (a, b))
    # The largest value scale so far is part of the arithmetic, so only equality up to it holds:
    # a change inside the window must show far more than one outside it.
    outside = np.abs(rows_a[-1].astype(np.int64) - rows_b[-1]).max()
    c = [*a[: length - 2], (a[-2] + 1) % 50, a[-1]]
    inside = np.abs(rows_a[-1].astype(np.int64) - one.session(1, window).extend([c])[0][-1]).max()
    assert outside * 100 < inside


@given(st.data())
@settings(max_examples=6, deadline=None)
def test_rollback_and_replay_equal_the_straight_run(data):
    window = data.draw(st.sampled_from([8, 32, 512]))
    ids = tokens(900)
    want = straight(ids, window)
    session = engine().session(2, window)
    checks.rollback_and_replay(session, ids, want, data.draw(st.integers(1, 5)), 300, data)


def test_a_lane_can_start_again_and_others_do_not_notice():
    ids = tokens(900)
    session = engine().session(2, 16)
    want = straight(ids, 16)
    first = session.extend([ids[:600], ids[:600]])
    session.rollback(0, 0)
    again = session.extend([ids[:300], ids[600:]])
    assert np.array_equal(first[0], want[:600])
    assert np.array_equal(again[0], want[:300])
    assert np.array_equal(again[1], want[600:])


def test_rollback_refuses_what_the_lane_no_longer_holds():
    session = engine().session(1, 16)
    session.extend([tokens(3000)])
    with pytest.raises(ValueError, match="the window has moved on"):
        session.rollback(0, 100)
    with pytest.raises(ValueError, match="holds 3000 tokens"):
        session.rollback(0, 3001)
    assert session.lengths == (3000,)


def test_more_lanes_than_rows_of_a_pass():
    ids = tokens(BATCH + 5)
    session = engine(2).session(len(ids), 8)
    rows = session.extend([[t] for t in ids])
    for token in (0, BATCH - 1, BATCH, BATCH + 4):
        want = engine().session(1, 8).extend([[ids[token]]])[0]
        assert np.array_equal(rows[token], want)


def test_a_lane_that_is_full_says_so():
    file = random_model()
    session = NumpyEngine(file).session(1, 16)
    limit = 4096
    session.extend([[1] * (limit - 1)])
    with pytest.raises(ValueError, match="at most 4096 tokens"):
        session.extend([[1, 1]])
    session.extend([[1]])
    assert session.lengths == (limit,)


@pytest.mark.parametrize("token", [0, 3, 19])
def test_rows_of_zeros_and_outliers(token):
    """An all-zero embedding, a huge one and a tiny one, through every operation, on both engines."""
    file = random_model(vocab=20, layers=2, seed=5)
    scales = file.tensors["embed.s"].copy()
    scales[0] = 0.0
    scales[3] = 1e30
    scales[19] = 1e-30
    file.tensors["embed.s"] = scales
    ids = [1, token, 2, token, token, *range(20)]
    slow = SlowModel(file, 8)
    want = np.array([slow.step(t) for t in ids])
    assert np.array_equal(feed(NumpyEngine(file, 2).session(1, 8), 0, ids, [3]), want)


def test_logits_saturate_at_2_to_the_30():
    file = random_model(vocab=20, seed=1)
    file.tensors["final_norm"] = np.full(8, 1e6, np.float32)
    ids = tokens(5, vocab=20)
    rows = NumpyEngine(file).session(1, 8).extend([ids])[0]
    slow = SlowModel(file, 8)
    assert np.array_equal(rows, np.array([slow.step(t) for t in ids]))
    assert {int(rows.min()), int(rows.max())} == {-(1 << 30), 1 << 30}


def test_no_tokens_no_rows():
    session = engine().session(2, 16)
    assert [r.shape for r in session.extend([[], []])] == [(0, 512)] * 2
    assert session.lengths == (0, 0)
