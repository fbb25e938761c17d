"""The group coder's reference: what was coded comes back, what is certain costs nothing, lanes share what
they learn."""

from __future__ import annotations

from fractions import Fraction
from math import log2

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_groups import PARAMS, WORDS, Group, decode, encode, groups, made

from nacrith.codec.group_reference import ReferenceDecoder, ReferenceEncoder, Tree, Writer
from nacrith.codec.params import CodingParams
from nacrith.coder.cdf import TOTAL, counts
from nacrith.errors import CorruptError
from nacrith.learner.match import MARGIN
from nacrith.learner.tables import mix
from nacrith.models.tokenizer.sorted_vocabulary import SortedVocabulary

each_params = pytest.mark.parametrize("params", PARAMS, ids=["alone", "set 1", "set 2"])


def coded(group: Group, params: CodingParams, size: int | None = None) -> bytes:
    return encode(ReferenceEncoder(group.vocabulary, params, group.lengths), group, size)


def read(group: Group, params: CodingParams, payload: bytes) -> list[int]:
    return decode(ReferenceDecoder(group.vocabulary, params, group.lengths, payload), group)


def tokens(group: Group) -> list[int]:
    return [token for _, token in group.steps]


@given(groups(), st.sampled_from(PARAMS), st.integers(1, 9))
@settings(max_examples=25, deadline=None)
def test_any_group_comes_back(group: Group, params: CodingParams, size: int) -> None:
    payload = coded(group, params, size)
    assert read(group, params, payload) == tokens(group)


@each_params
def test_a_longer_group_comes_back_and_portions_change_nothing(params: CodingParams) -> None:
    group = made(WORDS, [24, 1, 0, 15, 8], seed=3)
    payload = coded(group, params)
    assert payload == coded(group, params, 7)
    assert read(group, params, payload) == tokens(group)


def test_as_many_lanes_as_there_may_be() -> None:
    group = made(WORDS, [2] * 63 + [1], seed=4)
    assert read(group, PARAMS[1], coded(group, PARAMS[1])) == tokens(group)


@pytest.mark.parametrize(
    "words", [[b"abc"], [b""], [b"\xff" * 9]], ids=["one word", "one without bytes", "one of many bytes"]
)
def test_a_vocabulary_of_one_token_costs_nothing(words: list[bytes]) -> None:
    group = made(words, [9, 4])
    assert coded(group, PARAMS[0]) == b""
    assert read(group, PARAMS[0], b"") == tokens(group)


class _Counted(Writer):
    """Adds up what the decisions cost, in bits."""

    def __init__(self) -> None:
        super().__init__()
        self.bits, self.decisions = 0.0, 0

    def decide(self, ones: int, bit: bool) -> int:
        assert 1 <= ones < TOTAL
        self.bits -= log2((ones if bit else TOTAL - ones) / TOTAL)
        self.decisions += 1
        return super().decide(ones, bit)


class _Spy(Tree):
    """Notes the intervals of ranks whose counts are summed up."""

    def __init__(self, vocabulary: SortedVocabulary) -> None:
        super().__init__(vocabulary, 16, 1)
        self.asked: list[tuple[int, int]] = []

    def _sum(self, lo: int, hi: int) -> int:
        self.asked.append((lo, hi))
        return super()._sum(lo, hi)


@given(st.lists(st.lists(st.sampled_from([0, 97, 255]), max_size=3).map(bytes), min_size=1, max_size=12))
@settings(max_examples=25, deadline=None)
def test_the_models_shares_of_a_path_make_up_the_tokens_count(words: list[bytes]) -> None:
    """Exactly: every decision parts an interval of ranks, from the whole vocabulary down to one rank."""
    vocabulary = SortedVocabulary(words)
    row = np.random.default_rng(len(words)).integers(-(1 << 20), 0, len(words)).astype(np.int32)
    c = counts(row).copy()
    tree, port = _Spy(vocabulary), _Counted()
    for port.rank in range(len(words)):
        tree.asked = []
        assert tree.code(c, 0, port) == port.rank
        product = Fraction(1)
        for pair in zip(tree.asked[::2], tree.asked[1::2], strict=True):
            ((lo, middle), (start, hi)) = sorted(pair)
            assert middle == start
            taken = (lo, middle) if port.rank < middle else (start, hi)
            product *= Fraction(*(int(tree._below[b] - tree._below[a]) for a, b in (taken, (lo, hi))))
        assert product == Fraction(int(c[vocabulary.order[port.rank]]), TOTAL)
        assert len(tree.asked) == 2 * port.decisions
        port.decisions = 0


def test_certain_bits_are_not_coded_but_learnt() -> None:
    """Of `ab` and `ax` only the second byte's bits from where they part are open."""
    vocabulary = SortedVocabulary([b"ab", b"ax"])
    tree, port = Tree(vocabulary, 16, 1), _Counted()
    port.rank = 1
    tree.code(counts(np.zeros(2, np.int32)), 0, port)
    assert port.decisions == 1
    assert bytes(tree._learner.cursor.text[-2:]) == b"ax"
    assert tree._lanes[0].ended[-2:] == b"\0\1"


@each_params
def test_what_one_lane_has_taught_serves_another(params: CodingParams) -> None:
    """The same text in a second lane, after the first, beside a model that knows nothing."""
    lane = made(WORDS, [40], seed=5, peak=0).tokens[0]
    group = Group(WORDS, [lane, lane], np.zeros((40, len(WORDS)), np.int32))
    sizes = []
    for repeats in (1, 2):
        coder = ReferenceEncoder(group.vocabulary, params, group.lengths)
        for i in range(repeats):
            coder.encode(group.rows, np.full(40, i, np.int32), np.arange(40), np.array(lane, np.int32))
        sizes.append(len(coder.finish()))
    assert sizes[1] - sizes[0] < 0.5 * sizes[0]


@each_params
def test_beside_a_model_that_is_right_little_is_lost(params: CodingParams) -> None:
    group = made(WORDS, [60, 60], seed=6, peak=1 << 16, right=9 << 16)
    ideal = sum(
        24 - log2(counts(row)[token]) for row, (_, token) in zip(group.rows, group.steps, strict=True)
    )
    assert 8 * len(coded(group, params)) < 1.5 * ideal + 40


def test_a_token_without_bytes_is_no_text() -> None:
    """It leaves the learner's text as it is, and is what stands before the next token."""
    vocabulary = SortedVocabulary([b"a", b"", b""])
    tree, port = Tree(vocabulary, 16, 1), _Counted()
    c = counts(np.zeros(3, np.int32)).copy()
    befores = []
    for port.rank in (0, 2, 0, 0, 1):
        assert tree.code(c, 0, port) == port.rank
        befores.append(tree._lanes[0].before)
    assert bytes(tree._learner.cursor.text[MARGIN:]) == b"aaa"
    assert befores == [mix(0, 97), 0, mix(0, 97), mix(0, 97), 0]


@given(st.data())
@settings(max_examples=12, deadline=None)
def test_damage_gives_tokens_or_our_error(data: st.DataObject) -> None:
    params = data.draw(st.sampled_from(PARAMS))
    group = made(WORDS, [6, 5], seed=data.draw(st.integers(0, 9)))
    payload = coded(group, params)
    damaged = data.draw(
        st.integers(0, 8 * len(payload) - 9).map(lambda i: _flipped(payload, i))
        | st.binary(max_size=20)
        | st.sampled_from([b"", b"\xff" * 12, payload[: len(payload) // 2]])
    )
    try:
        found = read(group, params, damaged)
    except CorruptError:
        return
    assert len(found) == 11
    assert all(0 <= token < len(WORDS) for token in found)


def _flipped(payload: bytes, bit: int) -> bytes:
    damaged = bytearray(payload)
    damaged[bit // 8] ^= 1 << bit % 8
    return bytes(damaged)
