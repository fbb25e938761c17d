"""The parts of the learner's reference, and what its specification says of them."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from learner_plain_parts import Cursor as PlainCursor
from learner_texts import ENGINES, payload, using
from paths import ROOT

from nacrith.learner import Shape, decode, tables
from nacrith.learner.cursor import Cursor, Followers
from nacrith.learner.histories import Histories
from nacrith.learner.learner import Learner
from nacrith.learner.match import MARGIN, Match, Pointer
from nacrith.learner.mixer import Correction
from nacrith.learner.shapes import BESIDE, FORMS, Form
from nacrith.learner.tables import (
    HISTORIES,
    MOST_STRETCH,
    NEXT,
    ONE,
    RATES,
    RATES_ARRAY,
    REACH,
    SQUASH,
    STRETCH,
    adapted,
    mix,
    squash,
)

SPECIFICATION = (ROOT / "formats" / "learner-v1.md").read_text()


def test_squash_rises_and_is_the_logistic_function() -> None:
    assert len(SQUASH) == 2 * REACH
    assert sorted(SQUASH) == SQUASH
    assert 1 <= SQUASH[0] < SQUASH[-1] < ONE
    x = np.arange(-REACH, REACH)
    assert np.abs(np.array(SQUASH) - ONE / (1 + np.exp(-x / 256))).max() <= 1.01
    assert all(SQUASH[REACH + n] + SQUASH[REACH - n] in (ONE, ONE - 1) for n in range(REACH))


def test_stretch_is_its_inverse() -> None:
    assert len(STRETCH) == 4096
    assert sorted(STRETCH) == STRETCH
    assert max(map(abs, STRETCH)) <= 2340
    for i, x in enumerate(STRETCH):
        assert squash(x) <= 16 * i + 8 < squash(x + 1)


def test_histories_are_closed_bounded_and_in_order() -> None:
    n = len(HISTORIES)
    assert 1 < n <= 256
    assert HISTORIES[0] == (0, 0, 0)
    totals = [zeros + ones for zeros, ones, _ in HISTORIES]
    assert sorted(totals) == totals
    assert NEXT.shape == (2, n)
    assert NEXT.max() < n
    for i, (zeros, ones, last) in enumerate(HISTORIES):
        for bit in (0, 1):
            after = HISTORIES[NEXT[bit, i]]
            assert after[bit] >= 1
            assert after[1 - bit] <= (zeros, ones)[1 - bit]
            assert after[2] == (bit if min(after[:2]) else int(after[1] > 0))
        assert NEXT[:, i].all(), "something was seen"
        mirror = HISTORIES.index((ones, zeros, 1 - last if zeros + ones else 0))
        assert HISTORIES[NEXT[1, mirror]][:2] == HISTORIES[NEXT[0, i]][1::-1]


def test_rates_fall_to_a_thousandth() -> None:
    assert RATES[0] == ONE * 2 // 3
    assert RATES[1023] == ONE * 2 // 2049
    assert sorted(RATES, reverse=True) == RATES


def test_a_quotient_of_floats_is_the_rate() -> None:
    """So codecs/learner/maps.hpp makes rates, eight at once."""
    divisors = 2 * np.arange(1024, dtype=np.float32) + np.float32(3)
    assert (np.float32(2 * ONE) / divisors).astype(np.int32).tolist() == RATES


def test_after_two_bytes_a_half_byte_has_places_of_its_own() -> None:
    """What was learnt after other bytes, or in the other half, does not count; what came at the node does."""
    learner = Learner(FORMS[0], 16)
    places = set()
    for byte in b"abab":
        for bit in (byte >> left & 1 for left in range(7, -1, -1)):
            learner.predict()
            places.add(learner._pairs[2])
            learner.learn(bit)
    assert len(places) == 4 * 8  # at first after zeros, 0a, ab, and ba
    lines = {place >> 5 for place in places}
    assert len(lines) == 4 * 2


@pytest.mark.parametrize("number", range(len(FORMS)))
def test_a_light_form_leaves_out_the_second_layer(number: int) -> None:
    learner = Learner(FORMS[number], 16)
    before = learner._final._weights.copy()
    for _ in range(8):
        learner.predict()
        learner.learn(1)
    assert np.array_equal(learner._final._weights, before) == learner._form.light
    assert learner._form.light == (number == Shape.FAST)
    assert len(learner._corrections) == (1 if learner._form.light else 4)


@given(st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=9), st.integers(0, 1))
def test_arrays_and_numbers_give_the_same(words: list[int], bit: int) -> None:
    array = np.array(words, np.int64)
    assert mix(array, array[::-1]).tolist() == [mix(a, b) for a, b in zip(words, words[::-1], strict=True)]
    assert adapted(array, bit, RATES_ARRAY).tolist() == [adapted(a, bit, RATES) for a in words]


@given(st.integers(0, 2**32 - 1), st.integers(0, 1))
def test_an_adaptive_probability_moves_towards_the_bit(entry: int, bit: int) -> None:
    after = adapted(entry, bit, RATES)
    assert 0 <= after < 1 << 32
    assert after >> 10 >= entry >> 10 if bit else after >> 10 <= entry >> 10
    assert after & 1023 == min((entry & 1023) + 1, 1023)


class PlainHistories:
    """One line, as the specification says it."""

    def __init__(self) -> None:
        self.buckets = [[0] * 16 for _ in range(4)]

    def find(self, check: int) -> list[int]:
        own = [b for b in self.buckets if b[0] == check]
        if own:
            return own[0]
        found = min(self.buckets, key=lambda b: b[1] if b[0] else -1)
        found[:] = [check] + [0] * 15
        return found


@settings(max_examples=40)
@given(
    st.lists(
        st.tuples(st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=8), st.integers(0, 2**12 - 1)),
        max_size=8,
    )
)
def test_buckets_are_found_made_and_shared(steps: list[tuple[list[int], int]]) -> None:
    """A table of one line, where contexts put each other's buckets out and then share one."""
    made, plain = Histories(6), PlainHistories()
    for hashes, bits in steps:
        hashes = [h & 0x07FFFFFF | 0x01000000 for h in hashes]  # few checks
        made.take(hashes)
        buckets = [plain.find(h >> 24 or 1) for h in hashes]
        for level in range(4):
            bit = bits >> level & 1
            node = (1 << level) - 1
            states = made.states(node)
            assert states.tolist() == [b[1 + node] for b in buckets]
            made.learn(node, states, bit)
            for b in buckets:
                b[1 + node] = int(NEXT[bit, b[1 + node]])
        assert made._lines.tolist() == [n for b in plain.buckets for n in b]


def test_the_width_of_records_is_found() -> None:
    cursor = Cursor()
    for i in range(200):
        for c in (7, i % 5, 0xEE, 9, i * i % 256, 1, 2):
            cursor.push(c)
    assert cursor.records.width == 7
    assert cursor.back1 == cursor.text[-7]
    assert cursor.back2 == cursor.text[-14]


def test_zeros_between_small_numbers_are_no_records() -> None:
    """They recur at distance 2 more often than anything at the length of a record."""
    cursor = Cursor()
    for i in range(200):
        for c in (7, 0, i % 5, 0, i % 3, 0, 0, 0, 9, 0, i * i % 256, 0, 1, 2):
            cursor.push(c)
    assert cursor.records.width == 14


def test_rows_of_records_are_found() -> None:
    cursor = Cursor()
    for row in range(12):
        for column in range(40):
            for c in (5, 9, row, column + 64, column * column % 7, 1):
                cursor.push(c)
    assert (cursor.records.width, cursor.records.row) == (6, 240)
    assert (cursor.back1, cursor.row1) == (cursor.text[-6], cursor.text[-240])


def test_a_cursor_remembers_which_guesses_were_right() -> None:
    cursor = Cursor()
    for i in range(400):
        for c in (7, i % 5, 0xEE, 9, 1, 2, i % 256):
            cursor.push(c)
    assert cursor.records.width == 7
    cursor.foreseen = cursor.back1 | 256
    cursor.push(cursor.back1)
    cursor.push(cursor.back1 ^ 1)
    assert cursor.lately & 0o707 == 0o202 | (cursor.lately & 0o404)


@settings(max_examples=10)
@given(st.integers(2, 60), st.integers(0, 2**32 - 1))
def test_the_plain_reader_finds_the_same_records(width: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    table = rng.integers(0, 256, (1600 // width, width))
    table[:, ::2] = rng.integers(0, 256, width)[::2]  # half of the columns are constant
    ours, plain = Cursor(), PlainCursor()
    for c in table.ravel().tolist():
        ours.push(c)
        plain.push(c)
        assert (ours.records.width, ours.records.row) == (plain.width, plain.row)
        assert (ours.back1, ours.back2, ours.row1) == (plain.back1, plain.back2, plain.row1)
        assert ours.lately == plain.lately


def test_fields_of_a_cursor() -> None:
    cursor = Cursor()
    for c in b"ab;c\n\t x\xc3\xa9 12 It's, 'q":
        cursor.push(c)
    assert bytes(cursor.text[MARGIN:]).endswith(b"'q")
    assert cursor.at == MARGIN + 22
    assert cursor.last4 == int.from_bytes(b", 'q", "big")
    assert cursor.older == int.from_bytes(b"It's", "big")
    assert (cursor.line, cursor.line1) == (MARGIN + 5, MARGIN)
    assert (cursor.column, cursor.above) == (17, 0)
    assert (cursor.indent, cursor.first) == (2, ord("x"))
    assert (cursor.field, cursor.digits) == (2, 0)  # a TAB and a comma
    assert cursor.word == mix(0, ord("q"))
    assert cursor.word_start == cursor.at
    letters = 0
    for c in b"it's":
        letters = mix(letters, c)
    assert cursor.word1 == letters
    assert cursor.classes == 0x21817481


def test_a_match_follows_and_is_given_up() -> None:
    match, pointers, texts = Match(4), [Pointer(), Pointer()], [bytearray(MARGIN), bytearray(MARGIN)]

    def step(c: int, lane: int = 0) -> None:
        p = pointers[lane]
        p.begin(texts)
        partial = 1
        for left in range(7, -1, -1):
            match.predict(p, partial, left)
            match.learn(p, c >> left & 1)
            partial = partial << 1 | c >> left & 1
        texts[lane].append(c)
        match.end(p, texts, lane)

    def expects(lane: int) -> bool:
        pointers[lane].begin(texts)
        return match.predict(pointers[lane], 1, 7)

    for c in b"abcdefgh" * 2:
        step(c)
    assert pointers[0].step() == 8
    assert expects(0)
    assert pointers[0].bit == ord("a") >> 7
    for c in b"efgh":
        step(c, lane=1)
    assert pointers[1].place == (0, len(texts[0]))
    assert not expects(1), "what would follow has not come in the other lane"
    assert pointers[1] == Pointer(bit=pointers[1].bit)
    for c in b"0123456789":
        step(c)
    assert not expects(0), "nine misses in a row"


@pytest.mark.parametrize("form", [*FORMS, BESIDE])
def test_a_form_fits_its_tables(form: Form) -> None:
    assert form.inputs * MOST_STRETCH << 13 < 1 << 31
    cursor = Cursor()
    assert len(form.contexts(cursor, Followers())) == form.size


def test_a_correction_begins_as_it_is_and_learns() -> None:
    correction = Correction(3)
    for x in (-MOST_STRETCH, -400, 0, 384, MOST_STRETCH):
        assert abs(correction.refine(x, 2) - squash(x)) < 0.02 * ONE
    before = correction.refine(100, 1)
    for _ in range(50):
        correction.learn(1)
    assert correction.refine(100, 1) > before
    assert correction.refine(100, 0) == before


def test_the_examples_of_the_specification() -> None:
    found = re.findall(
        r"^\| (text|data|fast) \| (\d+) \| `(\w*)` \| `(\w*)` \|$", SPECIFICATION, re.MULTILINE
    )
    assert {shape for shape, *_ in found} == {"text", "data", "fast"}
    for name, bits, text, coded in found:
        shape, data = Shape[name.upper()], bytes.fromhex(text)
        for engine in ENGINES:
            assert payload(engine, data, shape, int(bits)).hex() == coded
            with using(engine):
                assert decode(bytes.fromhex(coded), shape, int(bits), len(data)) == data


def test_the_numbers_of_the_specification() -> None:
    assert f"{len(HISTORIES)} histories" in SPECIFICATION
    for name, values in (
        ("squash", SQUASH),
        ("stretch", STRETCH),
        ("after a 0", NEXT[0].tolist()),
        ("after a 1", NEXT[1].tolist()),
    ):
        line = re.search(rf"^\| {name} \| (\d+) \| (\d+) \|$", SPECIFICATION, re.MULTILINE)
        assert line, name
        assert len(values) == int(line[1])
        assert sum((i + 1) * v for i, v in enumerate(values)) == int(line[2])
    assert tables.mix(1, 2) == int(re.search(r"mix\(1, 2\) = (\d+)", SPECIFICATION)[1])
