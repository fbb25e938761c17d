"""Sessions of models in floats: rows do not depend on the calls, contexts begin again by the plan."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from engine_checks import rollback_and_replay
from fake_backend import VOCAB, FakeContext
from hypothesis import given, settings
from hypothesis import strategies as st
from small_models import feed, tokens

from nacrith.errors import ModelError
from nacrith.models.floats.session import MAX_LENGTH, Plan, SteppingSession, check_model, fixed_point

PLAN = Plan(24, 8)


def session(lanes: int = 1, places: int = 1) -> SteppingSession:
    return SteppingSession(lambda: FakeContext(places), PLAN, lanes, VOCAB, places)


def rows(ids: list[int], places: int = 1) -> np.ndarray:
    return session(places=places).extend([ids])[0]


@given(st.lists(st.integers(0, 70), max_size=6), st.integers(1, 70), st.integers(1, 3))
@settings(max_examples=30, deadline=None)
def test_rows_do_not_depend_on_the_calls(cuts: list[int], size: int, places: int) -> None:
    ids = tokens(size)
    want = rows(ids, places)
    assert np.array_equal(feed(session(2, places), 1, ids, [min(c, size) for c in cuts]), want)


@given(st.lists(st.lists(st.integers(0, 30), min_size=5, max_size=5), max_size=5), st.integers(1, 4))
@settings(max_examples=30, deadline=None)
def test_lanes_in_company(cuts: list[list[int]], places: int) -> None:
    """Five lanes of different lengths, in contexts of so many places."""
    ids = [tokens(70 - 9 * i, seed=i) for i in range(5)]
    lanes = session(5, places)
    got: list[list[np.ndarray]] = [[] for _ in ids]
    done = [0] * 5
    for sizes in [*cuts, [70] * 5]:
        parts = [lane[n : n + s] for lane, n, s in zip(ids, done, sizes, strict=True)]
        for i, part in enumerate(lanes.extend(parts)):
            got[i].append(part)
            done[i] += len(part)
    for i, lane in enumerate(ids):
        assert np.array_equal(np.concatenate(got[i]), rows(lane, places))


def test_one_batch_for_all_places() -> None:
    contexts: list[FakeContext] = []

    class Counting(FakeContext):
        steps = 0

        def step(self, tokens: Sequence[int | None]) -> list[np.ndarray]:
            self.steps += 1
            return super().step(tokens)

    def start() -> FakeContext:
        contexts.append(Counting(3))
        return contexts[-1]

    SteppingSession(start, PLAN, 4, VOCAB, 3).extend([[1] * 9, [2] * 5, [], [3]])
    assert [context.steps for context in contexts] == [9, 1]


def test_rows_are_those_of_single_steps() -> None:
    context = FakeContext()
    ids = tokens(24)
    want = [fixed_point(context.step([t])[0]) for t in ids]
    assert np.array_equal(rows(ids), want)


def test_a_full_context_begins_again_with_the_first_and_the_latest_tokens() -> None:
    contexts: list[FakeContext] = []

    def start() -> FakeContext:
        contexts.append(FakeContext())
        return contexts[-1]

    lane = SteppingSession(start, PLAN, 1, VOCAB)
    ids = list(range(100))
    for n, token in enumerate(ids):
        lane.extend([[token]])
        assert contexts[0].held() == PLAN.held(n + 1) <= PLAN.capacity
    (context,) = contexts
    assert context.primed[:2] == [[0, *range(17, 24)], [0, *range(33, 40)]]


@given(st.data())
@settings(max_examples=30, deadline=None)
def test_rollback(data: st.DataObject) -> None:
    ids = tokens(80)
    places = data.draw(st.integers(1, 2))
    rollback_and_replay(session(2, places), ids, rows(ids, places), 4, 30, data)


def test_rollback_needs_a_length_that_the_lane_has() -> None:
    lane = session()
    lane.extend([[1, 2]])
    for length in (-1, 3):
        with pytest.raises(ValueError, match="holds 2 tokens"):
            lane.rollback(0, length)


@pytest.mark.parametrize("places", [1, 2])
@pytest.mark.parametrize("before", [0, 5, 22, 24, 40])
def test_trees(before: int, places: int) -> None:
    lane = session(2, places)
    ids = tokens(before)
    lane.extend([[], ids])
    nodes, parents = [7, 8, 9, 10, 11], [-1, 0, -1, 1, 0]
    _, got = lane.extend_tree([[], nodes], [[], parents])
    for path, row in (([0], 0), ([0, 1], 1), ([2], 2), ([0, 1, 3], 3), ([0, 4], 4)):
        assert np.array_equal(got[row], rows([*ids, *(nodes[n] for n in path)], places)[-1])
    assert lane.lengths == (0, before)
    lane.keep(1, [0, 4])
    assert np.array_equal(lane.extend([[], [3]])[1], rows([*ids, 7, 11, 3], places)[-1:])


def test_tokens_and_lanes_that_are_not_there() -> None:
    with pytest.raises(ValueError, match="not within"):
        session().extend([[VOCAB]])
    with pytest.raises(ValueError, match="not within"):
        session().extend([[-1]])
    with pytest.raises(ValueError, match="2 lanes, not 1"):
        session().extend([[1], [1]])


@pytest.mark.parametrize(("window", "room", "plan"), [(64, 512, (128, 64)), (512, 512, (512, 256))])
def test_plans(window: int, room: int, plan: tuple[int, int]) -> None:
    assert Plan.of(window, room) == Plan(*plan)


@pytest.mark.parametrize("window", [15, 65])
def test_windows_that_cannot_be(window: int) -> None:
    with pytest.raises(ValueError, match="window"):
        Plan.of(window, 64)


def test_lengths_at_which_a_context_begins_again() -> None:
    assert [PLAN.begun(n) for n in (0, 24, 25, 40, 41, 56, 57)] == [0, 0, 24, 24, 40, 40, 56]
    assert [PLAN.held(n) for n in (0, 24, 25, 40, 41)] == [0, 24, 9, 24, 9]
    assert PLAN.held(MAX_LENGTH) <= PLAN.capacity


def test_fixed_point() -> None:
    got = fixed_point(np.array([0.0, 1.0, -1.0, 1.0, -np.inf, -1e9], np.float32))
    assert got.tolist() == [-94548, 0, -189097, 0, -(1 << 30), -(1 << 30)]
    assert got.dtype == np.int32


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_logits_that_are_no_numbers(bad: float) -> None:
    with pytest.raises(ModelError, match="no number"):
        fixed_point(np.array([0.0, bad], np.float32))


def test_models_that_cannot_be_coded_with(tmp_path) -> None:
    class Tokenizer:
        vocab_size = 100

    check_model(tmp_path, 100, 16, 0, Tokenizer())
    for vocab, context, bos in ((99, 16, 0), (100, 15, 0), (100, 16, 100), (1 << 21, 16, 0)):
        with pytest.raises(ModelError, match=str(tmp_path)):
            check_model(tmp_path, vocab, context, bos, Tokenizer())
