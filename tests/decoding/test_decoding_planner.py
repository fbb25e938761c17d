"""What is drafted: the likeliest nodes, as many as pay by the measured cost, none where none pays."""

from __future__ import annotations

import numpy as np
import pytest
from toy_drafters import Same
from toy_model import ToyModel
from toy_tokenizers import toy

from nacrith.decoding import Lookup, NGram, Recycling
from nacrith.decoding.chances import Chances
from nacrith.decoding.cost import SIZES, CostCurve
from nacrith.decoding.drafters import drafters, saved
from nacrith.decoding.drafters.protocol import Row, heaviest
from nacrith.decoding.planner import Planner
from nacrith.errors import DecodingError, ModelMissingError


def measured(planner: Planner, row: float) -> None:
    """Passes that take 1 s and `row` seconds for each drafted token."""
    for _ in range(30):
        for n in SIZES:
            planner.observe(n, 1 + row * n, 0.0)


@pytest.mark.parametrize(("row", "least", "most"), [(0.01, 15, 31), (0.3, 1, 11), (1.0, 0, 0)])
def test_the_size_follows_the_cost(row, least, most):
    planner = Planner([Same()])
    measured(planner, row)
    tree = planner.plan([[Same()]], [99])[0]
    assert least <= tree.size <= most
    assert tree.chances == sorted(tree.chances, reverse=True)
    assert all(parent < node for node, parent in enumerate(tree.parents))


def test_nothing_is_drafted_when_guesses_are_wrong_and_something_when_they_come_true_again():
    planner = Planner([Same()])
    measured(planner, 0.2)
    for _ in range(60):
        planner.settle(planner.plan([[Same()]], [99])[0], [1])
    assert planner.plan([[Same()]], [99])[0].size == 0
    rests = 0
    for _ in range(30):
        rests += planner.resting
        planner.plan([[Same()]], [99])
    assert rests > 20  # not even guessed
    for _ in range(400):
        planner.settle(planner.plan([[Same()]], [99])[0], [7, 7, 7])
    assert max(planner.plan([[Same()]], [99])[0].size for _ in range(9)) > 0


def test_limits_and_lanes():
    planner = Planner([Same()], fixed=6)
    trees = planner.plan([[Same()], [Same()]], [0, 4])
    assert [tree.size for tree in trees] == [0, 4]


def test_two_drafters_that_guess_the_same_token_make_one_node():
    planner = Planner([Same(), Same()], fixed=4)
    tree = planner.plan([[Same(), Same()]], [4])[0]
    assert len({(p, t) for p, t in zip(tree.parents, tree.tokens, strict=True)}) == 4
    assert tree.credits[0] == ((0, 0), (1, 0))


def test_what_two_drafters_guess_is_told_from_what_one_guesses():
    """Of the first drafter's guesses those come true that the second one shares."""
    chances = Chances([(0.5,), (0.5, 0.5)])
    both, alone = ((0, 0), (1, 1)), ((0, 0),)
    assert chances.of(both) == chances.of(alone) == 0.5
    for _ in range(60):
        chances.count(both, True)
        chances.count(alone, False)
    assert chances.of(both) > 0.9
    assert chances.of(alone) < 0.25
    for _ in range(300):
        chances.count(both, False)
    assert chances.of(both) < 0.1  # the latest count


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


def learned() -> list:
    made = [Recycling(50), Lookup(), NGram()]
    made[0].observe([Row((3, 4), [7, 9], [0.8, 0.2]), Row((4,), [1], [1.0])])
    made[2].follow().extend([5, 6, 7, 5, 6, 7, 5, 6, 8, 1])
    return made


def test_what_is_learned_is_kept_for_its_model(tmp_path):
    path, first, again = tmp_path / "learned", learned(), drafters("ngram+recycling", ToyModel(toy([])))
    again[1] = Recycling(50)
    saved.save(first, path, bytes(32))
    saved.load(again, path, bytes(32))
    for before in ((3, 4), (4,), (2, 4), (9,)):
        assert again[1].candidates(before) == first[0].candidates(before)
    assert [t for t, _ in again[1].candidates((3, 4))] == [7, 9]
    assert [t for t, _ in again[1].candidates((2, 4))] == [1]
    for before in ((5,), (5, 6), (7, 5, 6), (9, 5, 6), (30,)):
        assert again[0].guesses(before) == first[2].guesses(before)
    assert [guess.token for guess in again[0].guesses((5, 6))] == [7, 8]
    with pytest.raises(DecodingError, match="another model"):
        saved.load(again, path, bytes(31) + b"x")
    with pytest.raises(DecodingError, match="no state"):
        saved.load([Recycling(51)], path, bytes(32))


def test_a_file_without_a_drafter_leaves_it_as_it_is(tmp_path):
    path = tmp_path / "learned"
    saved.save([NGram()], path, bytes(32))
    made = learned()
    saved.load(made, path, bytes(32))
    assert made[0].candidates((3, 4))


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04", None])
def test_a_damaged_state_is_an_error_of_ours(tmp_path, damage):
    path = tmp_path / "learned"
    saved.save(learned(), path, bytes(32))
    data = path.read_bytes()
    path.write_bytes(data[:-200] if damage is None else damage)
    with pytest.raises(DecodingError, match="no state"):
        saved.load(learned(), path, bytes(32))


def test_counts_of_the_wrong_kind(tmp_path):
    path = tmp_path / "learned"
    for wrong in (np.zeros((2, 4), np.int32), np.zeros((2, 5), np.int64), np.full((1, 5), -1, np.int32)):
        np.savez_compressed(path, model=np.zeros(32, np.uint8), **{"ngram.counts": wrong})
        with pytest.raises(DecodingError, match="no state"):
            saved.load([NGram()], f"{path}.npz", bytes(32))


def test_names_of_drafters():
    model = ToyModel(toy([]))
    assert [type(d).__name__ for d in drafters("lookup+recycling", model)] == ["Lookup", "Recycling"]
    assert [type(d).__name__ for d in drafters("auto+ngram", model)] == ["Recycling", "Lookup", "NGram"]
    assert drafters("none", model) == drafters(None, model) == []
    for wrong in ("", "lookup+", "lookup+lookup", "auto+lookup", "magic"):
        with pytest.raises(DecodingError, match="give none"):
            drafters(wrong, model)
    with pytest.raises(DecodingError, match="only exact models"):
        drafters("skip:1", model)
    with pytest.raises(ModelMissingError):
        drafters("model:no-such-model", model)
