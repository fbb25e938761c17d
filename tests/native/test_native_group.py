"""Native groups of lanes equal those in Python: every byte, whatever the kernels and the portions.

Skipped where the library is not built, as in test_native.py.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from engine_checks import in_threads
from hypothesis import example, given, settings
from hypothesis import strategies as st
from native_library import KERNELS, each_kernels, needs_library

from nacrith import native
from nacrith.codec.group_native import NativeGroup
from nacrith.codec.group_reference import ReferenceDecoder, ReferenceEncoder
from nacrith.codec.params import CodingParams
from nacrith.errors import CorruptError
from nacrith.models.tokenizer.sorted_vocabulary import SortedVocabulary
from nacrith.native import group as calls
from nacrith.predictors import registry
from nacrith.predictors.fixed import exp_table, lg_table
from nacrith.predictors.prior import Prior

MOST = 1 << 30
KINDS = ("random", "peaked", "extreme", "constant", "right", "wrong")
PARAMS = CodingParams(window=64, predictors=registry.BESIDE_SMALL, capacity=8, bits=16)
WORDS = [
    b"",
    b"a",
    b"ab",
    b"ab",
    b"abc",
    b"b",
    b"b\n",
    b",",
    b" the",
    b" th",
    b"\n",
    b"",
    b"0",
    b"1",
    b"12",
    b"\xff",
]


class Text:
    """Lanes of tokens and rows for them, in the order of the schedule."""

    def __init__(self, seed: int, vocab: int, lengths: list[int], kinds: tuple[str, ...] = KINDS) -> None:
        rng = np.random.default_rng(seed)
        self.lengths = lengths
        self.lanes = np.array(
            [i for step in range(max(lengths, default=0)) for i, n in enumerate(lengths) if step < n],
            np.int32,
        )
        n = len(self.lanes)
        self.at = np.arange(n)
        self.tokens = (rng.random(n) ** 2 * vocab).astype(np.int32)
        for i in range(1, n):  # parts that come again
            if rng.random() < 0.7:
                self.tokens[i] = self.tokens[max(0, i - 12)]
        self.rows = rng.normal(0, 3 * 65536, (n, vocab)).astype(np.int32)
        for i, kind in enumerate(rng.choice(kinds, n)):
            if kind == "peaked":
                self.rows[i, rng.integers(vocab)] += 40 << 16
            elif kind == "extreme":
                self.rows[i] = rng.choice(np.array([-MOST, -5, 0, 7, MOST], np.int32), vocab)
            elif kind == "constant":
                self.rows[i] = rng.integers(-MOST, MOST)
            elif kind == "right":
                self.rows[i, self.tokens[i]] += 8 << 16
            elif kind == "wrong":
                self.rows[i, self.tokens[i]] = -MOST

    def portions(self, size: int):
        for i in range(0, len(self.lanes), size):
            part = slice(i, i + size)
            yield self.rows, self.lanes[part], self.at[part], self.tokens[part]

    def encode(self, coder, size: int = 1 << 20) -> bytes:
        for portion in self.portions(size):
            coder.encode(*portion)
        return coder.finish()

    def decode(self, coder) -> list[int]:
        return [t for rows, lanes, at, _ in self.portions(1) for t in coder.decode(rows, lanes, at)]


def native_group(words, params, lengths, payload=None, kernels=None) -> NativeGroup:
    return NativeGroup(native.load(), kernels, SortedVocabulary(words), params, lengths, payload)


def assert_equal(words, params: CodingParams, text: Text, kernels: str | None, size: int) -> None:
    want = text.encode(ReferenceEncoder(SortedVocabulary(words), params, text.lengths))
    assert text.encode(native_group(words, params, text.lengths, kernels=kernels), size) == want
    assert text.decode(native_group(words, params, text.lengths, want, kernels)) == text.tokens.tolist()


@needs_library
@each_kernels
@pytest.mark.parametrize("number", [registry.ALONE, registry.BESIDE_LARGE, registry.BESIDE_SMALL])
def test_equals_the_reference(kernels, number):
    params = replace(PARAMS, predictors=number, capacity=8 if number else 0)
    assert_equal(WORDS, params, Text(number, len(WORDS), [90, 80, 0, 91, 3]), kernels, 7)


@needs_library
@each_kernels
def test_what_is_only_learnt_equals_the_reference(kernels):
    """Tokens of a prefix, with rows of their own, before those that are coded."""
    known, text = Text(1, len(WORDS), [40]), Text(2, len(WORDS), [9, 20])
    lengths, vocabulary = [49, 20], SortedVocabulary(WORDS)
    payloads = []
    for coder in (
        ReferenceEncoder(vocabulary, PARAMS, lengths),
        native_group(WORDS, PARAMS, lengths, kernels=kernels),
    ):
        for portion in known.portions(7):
            coder.learn(*portion)
        payloads.append(text.encode(coder))
    assert payloads[0] == payloads[1] != text.encode(native_group(WORDS, PARAMS, text.lengths))
    for coder in (
        ReferenceDecoder(vocabulary, PARAMS, lengths, payloads[0]),
        native_group(WORDS, PARAMS, lengths, payloads[0], kernels),
    ):
        for portion in known.portions(9):
            coder.learn(*portion)
        assert text.decode(coder) == text.tokens.tolist()


@needs_library
@settings(max_examples=25)
@given(
    seed=st.integers(0, 1 << 32),
    words=st.lists(st.binary(max_size=3), min_size=1, max_size=40),
    lengths=st.lists(st.integers(0, 30), min_size=1, max_size=6),
    size=st.integers(1, 50),
    kernels=st.sampled_from([None, *KERNELS]),
)
def test_equals_the_reference_for_any_vocabulary(seed, words, lengths, size, kernels):
    assert_equal(words, PARAMS, Text(seed, len(words), lengths), kernels, size)


@needs_library
@settings(max_examples=25)
@given(payload=st.binary(max_size=40), seed=st.integers(0, 1 << 32))
@example(payload=b"\xff" * 16, seed=0)  # a number beyond the last symbol's interval
def test_any_payload_decodes_to_the_tokens_of_the_reference(payload, seed):
    text = Text(seed, len(WORDS), [9, 0, 12])
    reference = ReferenceDecoder(SortedVocabulary(WORDS), PARAMS, text.lengths, payload)
    native = native_group(WORDS, PARAMS, text.lengths, payload)
    try:
        want = text.decode(reference)
    except CorruptError:
        with pytest.raises(CorruptError):
            text.decode(native)
    else:
        assert text.decode(native) == want


@needs_library
def test_groups_in_threads_do_not_disturb_each_other():
    text = Text(5, len(WORDS), [60, 60, 60])
    got = []
    in_threads(4, lambda: got.append(text.encode(native_group(WORDS, PARAMS, text.lengths), 3)))
    assert len(got) == 4
    assert len(set(got)) == 1


@needs_library
def test_a_group_takes_the_tokens_of_its_lanes_and_no_more():
    text = Text(1, len(WORDS), [2, 1])
    made = native_group(WORDS, PARAMS, [2, 1])
    with pytest.raises(ValueError, match="not complete"):
        made.finish()
    for lanes, why in [([2], "no such lane"), ([-1], "no such lane"), ([1, 1], "it is complete")]:
        made = native_group(WORDS, PARAMS, [2, 1])
        arrays = np.array(lanes, np.int32), np.zeros(len(lanes), np.int64), np.ones(len(lanes), np.int32)
        with pytest.raises(ValueError, match=why):
            made.encode(text.rows, *arrays)
        with pytest.raises(ValueError, match="an earlier call"):
            made.finish()
    made = native_group(WORDS, PARAMS, [2, 1])
    with pytest.raises(ValueError, match="outside the vocabulary"):
        made.encode(text.rows, *(np.array([x], t) for x, t in [(0, np.int32), (0, np.int64), (16, np.int32)]))
    made = native_group(WORDS, PARAMS, [2, 1])
    text.encode(made)
    with pytest.raises(ValueError, match="the other way"):
        text.decode(made)
    with pytest.raises(ValueError, match="the other way"):
        text.encode(native_group(WORDS, PARAMS, [2, 1], b""))


@needs_library
@pytest.mark.parametrize("bad", [MOST + 1, -MOST - 1])
def test_rows_out_of_range(bad):
    rows = np.where(np.arange(len(WORDS)) == 7, np.int32(bad), np.zeros((1, len(WORDS)), np.int32))
    with pytest.raises(ValueError, match=r"beyond 2\^30"):
        native_group(WORDS, PARAMS, [1]).encode(
            rows, np.zeros(1, np.int32), np.zeros(1, np.int64), np.zeros(1, np.int32)
        )


@needs_library
def test_wrong_parameters(monkeypatch):
    with pytest.raises(ValueError, match="no kernels called abacus"):
        native_group(WORDS, PARAMS, [1], kernels="abacus")
    for params, lengths, why in [
        (replace(PARAMS, bits=15), [1], "bits or lanes"),
        (replace(PARAMS, bits=29), [1 << 18], "bits or lanes"),
        (PARAMS, [1] * 65, "bits or lanes"),
        (PARAMS, [], "without lanes"),
        (PARAMS, [1, -1], "more tokens"),
        (PARAMS, [1 << 26, (1 << 26) + 1], "more tokens"),
        (replace(PARAMS, capacity=25), [1], "capacity"),
    ]:
        with pytest.raises(ValueError, match=why):
            native_group(WORDS, params, lengths)
    cut = registry.prior_of(registry.SETS[registry.BESIDE_SMALL]).to_bytes()[:-1]
    monkeypatch.setattr(Prior, "to_bytes", lambda self: cut)
    with pytest.raises(ValueError, match=f"the prior has {len(cut)} bytes"):
        native_group(WORDS, PARAMS, [1])
    sure = bytearray(cut + b"\0")
    sure[2 * 5008] = 128
    monkeypatch.setattr(Prior, "to_bytes", lambda self: bytes(sure))
    with pytest.raises(ValueError, match="too many observations"):
        native_group(WORDS, PARAMS, [1])


@needs_library
def test_arrays_are_checked_before_a_call():
    made, library = native_group(WORDS, PARAMS, [3]), native.load()
    rows = np.zeros((2, len(WORDS)), np.int32)
    lanes, at, tokens = np.zeros(2, np.int32), np.arange(2), np.zeros(2, np.int32)
    for wrong in [
        (rows.astype(np.int64), lanes, at, tokens),
        (rows[:, 1:].copy(), lanes, at, tokens),
        (rows[:, ::2], lanes, at, tokens),
        (rows, lanes.astype(np.int64), at, tokens),
        (rows, lanes[:1], at, tokens),
        (rows, lanes, at, tokens[:1]),
        (rows, lanes, at, tokens.astype(np.int64)),
        (rows, lanes, at + 1, tokens),
        (rows, lanes, at - 1, tokens),
    ]:
        with pytest.raises(ValueError, match=r"array|a row is asked for"):
            made.encode(*wrong)
    made.encode(rows, lanes, at, tokens)  # nothing was called before
    tables = np.array([lg_table(), exp_table()], np.int64)
    with pytest.raises(ValueError, match="another shape"):
        calls.create(library, 0, 0, 9, tables[:, 1:].copy(), b"", 16, [1], None, None)


@needs_library
def test_vocabularies_that_are_not_sorted():
    library, v = native.load(), SortedVocabulary([b"b", b"a", b""])
    calls.vocabulary(library, v.spelled, v.order, v.text, v.offsets)
    twice, back, swapped = v.order.copy(), v.offsets.copy(), v.text[::-1].copy()
    twice[0] = twice[1]
    back[1] = 0
    for spelled, order, text, offsets in [
        (3, v.order, v.text, v.offsets),
        (1, v.order, v.text, v.offsets),
        (-1, v.order, v.text, v.offsets),
        (2, twice, v.text, v.offsets),
        (2, v.order + 1, v.text, v.offsets),
        (2, v.order, swapped, v.offsets),
        (2, v.order, v.text, back),
    ]:
        with pytest.raises(ValueError, match="not one"):
            calls.vocabulary(library, spelled, order, text, offsets)
    with pytest.raises(ValueError, match="do not fit"):
        calls.vocabulary(library, 2, v.order, v.text[:1].copy(), v.offsets)
