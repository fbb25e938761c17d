"""Ensembles, completion and likelihoods, over toy models."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from paths import TINY
from toy_model import ToyModel
from toy_tokenizers import gpt2, plain

from nacrith.bytelevel import END, ByteEnsemble, ByteModel, Sampling, complete, loglikelihood
from nacrith.bytelevel.complete import _places
from nacrith.bytelevel.ensemble import KINDS, EnsembleState
from nacrith.bytelevel.rows import F64, log2, log2_weights
from nacrith.errors import DecodingError
from nacrith.models.exact.model import ExactModel

TEXT = b"all's well that ends well, 'll all?\n" * 3


class Fixed:
    """A source that gives these distributions, whatever is read."""

    def __init__(self, rows: F64) -> None:
        self.rows, self.place = rows, 0

    def start(self) -> Fixed:
        return Fixed(self.rows)

    def fork(self) -> Fixed:
        twin = Fixed(self.rows)
        twin.place = self.place
        return twin

    def push(self, byte: int) -> None:
        self.place += 1

    def extend(self, data: bytes) -> None:
        self.place += len(data)

    def rollback(self, count: int = 1) -> None:
        self.place -= count

    def next_byte(self) -> F64:
        return self.rows[self.place]

    def distributions(self, data: bytes) -> F64:
        self.place += len(data)
        return self.rows[self.place - len(data) : self.place]

    def score(self, data: bytes) -> float:
        raise NotImplementedError


def sure_of(bytes_: Sequence[int], share: float) -> F64:
    """Distributions that give each of these bytes this share, and the rest evenly to all others."""
    rows = np.full((len(bytes_) + 1, 257), (1 - share) / 256)
    rows[np.arange(len(bytes_)), list(bytes_)] = share
    return rows


@given(st.lists(st.floats(1e-300, 1e300), min_size=1))
def test_logarithms(values: list[float]) -> None:
    assert log2(np.array(values)) == pytest.approx([math.log2(v) for v in values], abs=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_an_ensemble_is_a_distribution_and_leads_to_the_same_one_in_any_way(kind: str) -> None:
    ensemble = ByteEnsemble([ByteModel(ToyModel(plain())), ByteModel(ToyModel(gpt2(), 1))], kind)
    state = ensemble.start()
    singly = []
    for byte in TEXT[:30]:
        p = state.next_byte()
        assert p.sum() == pytest.approx(1, abs=1e-9)
        assert state.counts().sum() == 1 << 24
        singly.append(-math.log2(p[byte]))
        state.push(byte)
    assert ensemble.start().profile(TEXT[:30]) == pytest.approx(singly, abs=1e-9)
    assert ensemble.score(TEXT[:30]) == pytest.approx(sum(singly), abs=1e-6)
    later = state.next_byte().tolist()
    twin = state.fork()
    twin.push(ord("x"))
    twin.rollback(11)
    twin.extend(TEXT[20:30])
    assert len(twin) == 30
    assert twin.next_byte() == pytest.approx(later, abs=1e-12)
    assert state.next_byte().tolist() == later


@pytest.mark.parametrize("kind", ["both", "mixture"])
def test_a_mixture_is_never_much_worse_than_its_best_member(kind: str) -> None:
    good, bad = Fixed(sure_of(TEXT, 0.9)), Fixed(sure_of([0] * len(TEXT), 0.9))
    alone = -len(TEXT) * math.log2(0.9)
    assert ByteEnsemble([bad, good], kind).score(TEXT) < alone + 6


@pytest.mark.parametrize("kind", ["both", "mixture"])
def test_a_member_that_has_been_good_comes_back_at_once(kind: str) -> None:
    """Two members take turns, for 20 bytes each; to follow them from equal shares takes 0.7 bits."""
    text = bytes(i * 7 % 256 for i in range(1200))
    wrong = [(b + 1) % 256 for b in text]
    turns = [(i // 20) % 2 for i in range(1200)]
    rows = [sure_of([(text, wrong)[t ^ m][i] for i, t in enumerate(turns)], 0.9) for m in (0, 1)]
    assert ByteEnsemble([Fixed(r) for r in rows], kind).score(text) < 0.6 * len(text)


@pytest.mark.parametrize("kind", ["both", "product"])
def test_models_that_know_different_things_are_better_together(kind: str) -> None:
    """Each is undecided between the right byte and a wrong one of its own."""
    rows = []
    for wrong in (1, 2):
        row = np.full((len(TEXT) + 1, 257), 0.02 / 255)
        row[:, wrong] = 0.49
        row[np.arange(len(TEXT)), list(TEXT)] = 0.49
        rows.append(Fixed(row))
    assert ByteEnsemble(rows, kind).score(TEXT) < 0.5 * len(TEXT)
    assert ByteEnsemble(rows, "mixture").score(TEXT) > 0.9 * len(TEXT)


def test_an_ensemble_needs_members_and_a_kind() -> None:
    with pytest.raises(ValueError, match="members"):
        ByteEnsemble([])
    with pytest.raises(ValueError, match="both, product, mixture"):
        ByteEnsemble([Fixed(sure_of(TEXT, 0.5))], "vote")


def test_what_follows_is_the_likeliest_byte_each_time() -> None:
    model = ByteModel(ExactModel(TINY))
    state = model.start()
    state.extend(b"the wor")
    expected = b""
    for _ in range(12):
        byte = int(state.next_byte().argmax())
        if byte == END:
            break
        expected += bytes([byte])
        state.push(byte)
    assert b"".join(complete(model, b"the wor", most=12)) == expected
    assert b"".join(complete(model, b"the wor", most=0)) == b""


def test_samples_follow_their_seed_and_the_probabilities() -> None:
    p = np.zeros(257)
    p[[10, 20, 30]] = 0.6, 0.3, 0.1
    source = Fixed(np.tile(p, (4000, 1)))

    def counted(sampling: Sampling) -> list[float]:
        text = b"".join(complete(source, b"", most=2000, sampling=sampling))
        return [text.count(byte) / 2000 for byte in (10, 20, 30)]

    assert counted(Sampling(1.0, seed=1)) == pytest.approx([0.6, 0.3, 0.1], abs=0.05)
    assert counted(Sampling(1.0, seed=1)) != counted(Sampling(1.0, seed=2))
    assert counted(Sampling(1.0, top_p=0.85, seed=1)) == pytest.approx([2 / 3, 1 / 3, 0], abs=0.05)
    assert counted(Sampling(0.5, seed=1)) == pytest.approx([36 / 46, 9 / 46, 1 / 46], abs=0.05)
    assert counted(Sampling()) == [1, 0, 0]
    with pytest.raises(DecodingError, match="top_p"):
        Sampling(1.0, top_p=1.5)


def test_bytes_are_chosen_in_integers_as_tokens_are() -> None:
    """The text is what the sampler of tokens makes of the distributions' weights, so no float decides."""
    model = ByteModel(ExactModel(TINY))
    how = Sampling(0.9, top_k=40, top_p=0.9, seed=7)
    text = b"".join(complete(model, b"the wor", most=20, sampling=how))
    state = model.start()
    state.extend(b"the wor")
    for place, byte in enumerate(text):
        assert how.choose(log2_weights(state.next_byte()), place) == byte
        state.push(byte)
    assert text == b"".join(complete(model, b"the wor", most=20, sampling=how))
    assert text != b"".join(complete(model, b"the wor", most=20, sampling=Sampling(0.9, top_k=40, seed=8)))


def test_completion_stops_at_the_end_of_the_text() -> None:
    rows = sure_of(b"ab", 0.9)
    rows[2] = 0
    rows[2, END] = 1
    assert b"".join(complete(Fixed(rows), b"", most=50)) == b"ab"


def test_a_middle_is_left_where_the_suffix_goes_on() -> None:
    assert _places(b"ge(10):", b"(10):\n")[0] == 2
    assert _places(b"", b"x") == [0]
    model = ByteModel(ExactModel(TINY))
    [middle] = complete(model, b"the ", b"of the", most=12, proposals=2)
    assert len(middle) <= 12
    state = model.start()
    state.extend(b"the ")
    assert state.score(middle + b"of the") <= state.score(b"of the")


def test_the_likelihood_of_a_continuation_is_by_bytes() -> None:
    model = ByteModel(ToyModel(gpt2()))
    whole, context = model.score(b"all's well"), model.score(b"all'")
    found = loglikelihood(model, b"all'", b"s well")
    assert found.bits == pytest.approx(whole - context, abs=1e-9)
    assert found.log == pytest.approx(-found.bits * math.log(2))
    assert found.bits_per_byte == pytest.approx(found.bits / 6)
    best = b"".join(complete(model, b"all'", most=5))
    assert loglikelihood(model, b"all'", best).greedy
    assert not loglikelihood(model, b"all'", b"\x00" * 5).greedy
    assert loglikelihood(model, b"all'", b"") == type(found)(0.0, 0, True)


def test_ensembles_of_ensembles() -> None:
    inner = ByteEnsemble([ByteModel(ToyModel(plain())), ByteModel(ToyModel(gpt2()))])
    outer = ByteEnsemble([inner, ByteModel(ToyModel(plain(), 2))])
    assert isinstance(outer.start(), EnsembleState)
    assert math.isfinite(outer.score(b"abab"))
