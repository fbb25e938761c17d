"""What is drafted: the likeliest nodes, as many as pay by the measured cost, none where none pays."""

from __future__ import annotations

import numpy as np
import pytest
from toy_model import ToyModel
from toy_tokenizers import toy

from nacrith.decoding import Recycling
from nacrith.decoding.cost import SIZES, CostCurve
from nacrith.decoding.drafters import drafters
from nacrith.decoding.drafters.protocol import Guess, Row, heaviest
from nacrith.decoding.planner import Planner
from nacrith.errors import DecodingError, ModelMissingError


class Chain:
    """Guesses the same token again and again, and another one with it."""

    wants_rows = False
    price = 0.0
    priors = (0.9, 0.3)

    def follow(self):
        return self

    def extend(self, tokens):
        pass

    def observe(self, rows):
        pass

    def start(self):
        return ()

    def guesses(self, state):
        return [Guess(7, 0, ()), Guess(8, 1, ())]


def measured(planner: Planner, row: float) -> None:
    """Passes that take 1 s and `row` seconds for each drafted token."""
    for _ in range(30):
        for n in SIZES:
            planner.observe(n, 1 + row * n, 0.0)


@pytest.mark.parametrize(("row", "least", "most"), [(0.01, 15, 31), (0.3, 1, 11), (1.0, 0, 0)])
def test_the_size_follows_the_cost(row, least, most):
    planner = Planner([Chain()])
    measured(planner, row)
    tree = planner.plan([[Chain()]], [99])[0]
    assert least <= tree.size <= most
    assert tree.chances == sorted(tree.chances, reverse=True)
    assert all(parent < node for node, parent in enumerate(tree.parents))


def test_nothing_is_drafted_when_guesses_are_wrong_and_something_when_they_come_true_again():
    planner = Planner([Chain()])
    measured(planner, 0.2)
    for _ in range(60):
        planner.settle(planner.plan([[Chain()]], [99])[0], [1])
    assert planner.plan([[Chain()]], [99])[0].size == 0
    rests = 0
    for _ in range(30):
        rests += planner.resting
        planner.plan([[Chain()]], [99])
    assert rests > 20  # not even guessed
    for _ in range(400):
        planner.settle(planner.plan([[Chain()]], [99])[0], [7, 7, 7])
    assert max(planner.plan([[Chain()]], [99])[0].size for _ in range(9)) > 0


def test_limits_and_lanes():
    planner = Planner([Chain()], fixed=6)
    trees = planner.plan([[Chain()], [Chain()]], [0, 4])
    assert [tree.size for tree in trees] == [0, 4]


def test_two_drafters_that_guess_the_same_token_make_one_node():
    planner = Planner([Chain(), Chain()], fixed=4)
    tree = planner.plan([[Chain(), Chain()]], [4])[0]
    assert len({(p, t) for p, t in zip(tree.parents, tree.tokens, strict=True)}) == 4
    assert tree.credits[0] == [(0, 0), (1, 0)]


def test_a_disturbed_pass_does_not_change_the_curve_much():
    curve = CostCurve()
    for _ in range(20):
        curve.observe(0, 1.0)
        curve.observe(7, 2.0)
    curve.observe(0, 100.0)
    assert curve.seconds()[0] < 1.5
    assert curve.seconds() == sorted(curve.seconds())


def test_candidates_of_a_row():
    row = np.full(600, -(20 << 16), np.int32)
    row[[5, 500, 7]] = 0, 65536, 0
    found, even = heaviest(np.stack([row, 0 * row]), [(1, 2), (1,)])
    assert found.ids == [500, 5, 7]
    assert found.shares == pytest.approx([0.5, 0.25, 0.25])
    assert found.before == (1, 2)
    assert even.ids == list(range(8))


def test_recycling_is_kept_for_its_model(tmp_path):
    path = tmp_path / "learned"
    drafter = Recycling(50)
    drafter.observe([Row((3, 4), [7, 9], [0.8, 0.2]), Row((4,), [1], [1.0])])
    drafter.save(path, bytes(32))
    again = Recycling.load(path, bytes(32), 50)
    for before in ((3, 4), (4,), (2, 4), (9,)):
        assert again.candidates(before) == drafter.candidates(before)
    assert [t for t, _ in again.candidates((3, 4))] == [7, 9]
    assert [t for t, _ in again.candidates((2, 4))] == [1]
    with pytest.raises(DecodingError, match="another model"):
        Recycling.load(path, bytes(31) + b"x", 50)
    with pytest.raises(DecodingError, match="no state"):
        Recycling.load(path, bytes(32), 51)


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04", None])
def test_a_damaged_state_is_an_error_of_ours(tmp_path, damage):
    path = tmp_path / "learned"
    Recycling(50).save(path, bytes(32))
    data = path.read_bytes()
    path.write_bytes(data[:-200] if damage is None else damage)
    with pytest.raises(DecodingError, match="no state"):
        Recycling.load(path, bytes(32), 50)


def test_names_of_drafters():
    model = ToyModel(toy([]))
    assert [type(d).__name__ for d in drafters("lookup+recycling", model)] == ["Lookup", "Recycling"]
    assert drafters("none", model) == drafters(None, model) == []
    for wrong in ("", "lookup+", "lookup+lookup", "magic"):
        with pytest.raises(DecodingError, match="give none"):
            drafters(wrong, model)
    with pytest.raises(DecodingError, match="only exact models"):
        drafters("skip:1", model)
    with pytest.raises(ModelMissingError):
        drafters("model:no-such-model", model)
