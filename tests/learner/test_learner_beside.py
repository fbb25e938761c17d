"""The learner of several lanes, and beside a language model: lanes, certain bits, gate, ends of tokens."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from learner_texts import PROSE

from nacrith.learner.cursor import Cursor
from nacrith.learner.ends import Ends
from nacrith.learner.learner import Learner
from nacrith.learner.match import MARGIN, Pointer
from nacrith.learner.mixer import Gate
from nacrith.learner.parts import Parts
from nacrith.learner.shapes import BESIDE, FORMS, MODEL_STEPS, model_step
from nacrith.learner.tables import MOST_STRETCH, ONE, STRETCH, mix

TEXT = PROSE[:40]


def bits_of(byte: int) -> list[int]:
    return [byte >> left & 1 for left in range(7, -1, -1)]


def taught(learner: Learner, lane: int, data: bytes, model: int = 0) -> list[int]:
    """The probabilities of the bits of further bytes of a lane."""
    learner.begin(lane)
    found = []
    for bit in (bit for byte in data for bit in bits_of(byte)):
        found.append(learner.predict(model))
        learner.learn(bit)
    return found


def cost(probabilities: list[int], data: bytes) -> float:
    """In bits."""
    bits = [bit for byte in data for bit in bits_of(byte)]
    shares = [p if bit else ONE - p for p, bit in zip(probabilities, bits, strict=True)]
    return float(-np.log2(np.array(shares) / ONE).sum())


def test_a_lane_alone_is_a_text_alone() -> None:
    """Whichever lane it is, and whatever turns its bytes come in."""
    want = taught(Learner(FORMS[0], 16), 0, TEXT)
    learner = Learner(FORMS[0], 16, 3)
    assert [p for c in TEXT for p in taught(learner, 2, bytes([c]))] == want


def test_lanes_share_what_they_learn_and_keep_their_place() -> None:
    learner, alone = Learner(BESIDE, 16, 2), Learner(BESIDE, 16)
    costs = [0.0, 0.0]
    for at in range(0, len(TEXT), 4):
        part = TEXT[at : at + 4]
        costs[0] += cost(taught(learner, 0, part), part)
        costs[1] += cost(taught(learner, 1, part), part)
    assert costs[1] < 0.6 * costs[0]
    assert costs[0] < 1.1 * cost(taught(alone, 0, TEXT), TEXT)
    for lane in (0, 1):
        learner.begin(lane)
        assert bytes(learner.cursor.text[MARGIN:]) == TEXT
    assert learner.taught == MARGIN + 2 * len(TEXT)
    assert learner.pointers[0].place is not None
    assert learner.pointers[0].place[0] == 0, "the second lane follows the first"


def test_a_certain_bit_teaches_the_text_and_not_the_mixers() -> None:
    learner = Learner(BESIDE, 16)
    taught(learner, 0, TEXT)
    parts = [learner._mixers._weights, learner._final._weights]
    before = [part.copy() for part in parts]
    corrections, gate = [list(c._p) for c in learner._corrections], learner._gate.weight
    maps = learner._maps.copy()
    for bit in bits_of(ord("x")):
        learner.skip()
        learner.record(bit)
    assert all(np.array_equal(a, b) for a, b in zip(parts, before, strict=True))
    assert [c._p for c in learner._corrections] == corrections
    assert learner._gate.weight == gate
    assert not np.array_equal(learner._maps, maps)
    assert learner.cursor.text[-1] == ord("x")
    taught(learner, 0, b"y")
    assert not np.array_equal(parts[0], before[0])


def test_a_model_that_is_right_is_followed() -> None:
    learner, total = Learner(BESIDE, 16), 0.0
    for byte in b"%s" % TEXT[:20]:
        learner.begin(0)
        for bit in bits_of(byte):
            p = learner.predict(1000 if bit else -1000)
            total -= float(np.log2((p if bit else ONE - p) / ONE))
            learner.learn(bit)
    assert total < 0.1 * 160


def test_a_table_costs_little_more_beside_a_model_that_knows_nothing_of_it() -> None:
    """The learner lets go of the model: it must not cost much more than it does alone."""
    rows = b"".join(b"%d,%d\n" % (4000 + 7 * i, 31 * i % 17) for i in range(40))
    alone = cost(taught(Learner(FORMS[0], 16), 0, rows), rows)
    assert cost(taught(Learner(BESIDE, 16), 0, rows, model=300), rows) < 1.08 * alone


def test_contexts_tell_the_first_byte_of_a_token() -> None:
    """After the same bytes: a comma within a token, and a full stop where one begins."""
    learner = Learner(BESIDE, 16)
    for _ in range(6):
        taught(learner, 0, b"x,")
        taught(learner, 0, b"x")
        taught(learner, 0, b".")
    learner.begin(0)
    for bit in bits_of(ord("x")):
        learner.predict()
        learner.learn(bit)
    inside = []
    for bit in bits_of(ord(",")):
        inside.append(learner.predict())
        learner.learn(bit)
    taught(learner, 0, b"x")
    other = taught(learner, 0, b",")
    assert cost(inside, b",") < cost(other, b",") - 1


def parts_after(data: bytes) -> Parts:
    parts, text = Parts(), bytearray(MARGIN)
    for c in data:
        text.append(c)
        parts.push(text)
    return parts


def seen(data: bytes) -> tuple[int, bytes]:
    """Number of the part, and what lies above."""
    parts = parts_after(data)
    return parts.number, bytes([parts.above, parts.next])


def test_parts_lie_below_those_of_the_line_before() -> None:
    assert seen(b"") == (0, b"\0\0")
    assert seen(b"ab,1.5,x\n") == (0, b"ab")
    assert seen(b"ab,1.5,x\nlonger") == (0, b"\0\0"), "behind the end of the part above"
    assert seen(b"ab,1.5,x\nlonger,") == (1, b"1.")
    assert seen(b"ab,1.5,x\nlonger,2.") == (1, b"5,"), "the byte that ends a part is its last one"
    assert seen(b"ab,1.5,x\nlonger,2.7,") == (2, b"x\n")
    assert seen(b"ab,1.5,x\nlonger,2.7,y") == (2, b"\n\0")
    assert seen(b"ab,1.5,x\nlonger,2.7,y,") == (3, b"\0\0"), "no such part above"


def test_hashes_of_parts() -> None:
    a, b, c = (parts_after(data) for data in (b"k\na-b: v_1", b"a-b:\xff.1\na-b: v_1", b"a-c: v_1"))
    assert (a.bytes, a.left, a.number) == (b.bytes, b.left, b.number)
    assert (
        (c.bytes, c.number)
        == (a.bytes, a.number)
        == (mix(mix(mix(ord(" "), ord("v")), ord("_")), ord("1")), 2)
    )
    assert c.left == a.left == ord(":")
    assert parts_after(b"a-c:").left != parts_after(b"a-b:").left


def test_the_last_part_of_a_line_has_all_that_follows() -> None:
    line = b"," * 255 + b"a;b"
    assert seen(line) == (255, b"\0\0")
    assert seen(line + b"\n" + b"," * 255 + b"x") == (255, b";b")
    assert seen(b"," * 300) == (255, b"\0\0")


probabilities = st.integers(1, ONE - 1)


@given(st.lists(st.tuples(probabilities, probabilities, st.integers(0, 1)), max_size=30))
def test_a_gate_weighs_by_what_came(steps: list[tuple[int, int, int]]) -> None:
    gate = Gate()
    for mixed, model, bit in steps:
        w = Fraction(gate.weight, 1 << 22)
        assert 0 < w < 1
        joined = gate.join(mixed, model)
        assert 1 <= joined < ONE
        assert abs(joined - (w * mixed + (1 - w) * model)) <= 1
        gate.learn(bit)
        a, b = (mixed, model) if bit else (ONE - mixed, ONE - model)
        after = w * a / (w * a + (1 - w) * b)
        assert abs(Fraction(gate.weight, 1 << 22) - (after + (Fraction(1, 2) - after) / 4096)) < Fraction(
            2, 1 << 22
        )


@pytest.mark.parametrize("bit", [0, 1])
def test_a_gate_that_is_always_right_never_closes(bit: int) -> None:
    gate = Gate()
    for _ in range(20_000):
        gate.join(ONE - 1 if bit else 1, 1 if bit else ONE - 1)
        gate.learn(bit)
    assert 0 < gate.weight < 1 << 22
    for _ in range(3):
        gate.join(1 if bit else ONE - 1, ONE - 1 if bit else 1)
        gate.learn(bit)
    assert 0 < gate.weight < 1 << 21


def test_steps_of_a_model() -> None:
    steps = [model_step(m) for m in range(-MOST_STRETCH, MOST_STRETCH + 1)]
    assert steps == sorted(steps)
    assert set(steps) == set(range(MODEL_STEPS))


@settings(deadline=None)
@given(st.integers(-MOST_STRETCH, MOST_STRETCH), st.integers(0, 1))
def test_ends_learn_where_tokens_end(model: int, goes_on: int) -> None:
    ends, cursor = Ends(), Cursor()
    for c in b"the end":
        cursor.push(c)
    pointers = [Pointer() for _ in range(3)]

    def ask(token: int) -> int:
        return ends.predict(cursor, token, 5, model, pointers, [None, None, None])

    first = ask(mix(0, 7))
    for _ in range(6):
        ask(mix(0, 7))
        ends.learn(goes_on, MARGIN)
    last = ask(mix(0, 7))
    assert last > first if goes_on else last < first or last == first in (1, ONE - 1)


def test_ends_trust_the_cuts_of_a_match() -> None:
    """Where a token ended in the text that is followed, it is likelier to end."""
    ends, cursor = Ends(), Cursor()
    pointers = [Pointer(place=(0, MARGIN + 3), length=9) for _ in range(3)]
    cut, none, uncut = (ends.predict(cursor, 1, 2, 0, pointers, [e] * 3) for e in (1, None, 0))
    assert cut < none < uncut
    assert none == pytest.approx(ONE // 2, abs=ONE // 50)
    for _ in range(20):  # the cuts are elsewhere
        ends.predict(cursor, 1, 2, 0, pointers, [1, 1, 1])
        ends.learn(1, MARGIN)
    assert ends._trust[0][pointers[0].step()] >> 16 < ONE // 4
    assert STRETCH[ends._trust[0][pointers[0].step()] >> 20] < 0
