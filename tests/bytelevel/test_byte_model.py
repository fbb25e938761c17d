"""Byte probabilities against brute force over all token sequences, and those of real engines."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import product

import numpy as np
import pytest
from byte_checks import brute_force
from fake_backend import FakeModel
from hypothesis import given, settings
from hypothesis import strategies as st
from paths import TINY
from toy_model import ToyModel, row
from toy_tokenizers import GPT2, gpt2, plain, random_tokenizers, ranks, toy

from nacrith.bytelevel import END, Beam, ByteEnsemble, ByteModel, ByteState
from nacrith.bytelevel.covering import Mask, Node
from nacrith.bytelevel.rows import Row
from nacrith.errors import ModelError
from nacrith.models.exact.model import ExactModel
from nacrith.models.tokenizer.byte_bpe import ByteTokenizer
from nacrith.models.tokenizer.sorted_vocabulary import SortedVocabulary

TEXT = "It's at 12:30,\n\n  \u201cdon't\u201d \u2013 caf\u00e9\t\x00. ".encode() + b"\xe2\x80 \xff\n"


def token_bits(model: ByteModel, data: bytes, *, end: bool) -> float:
    """The bits of the tokenizer's encoding, token by token, with the validity mask."""
    rules = model.rules
    path = ranks(rules, model.model.tokenizer.encode(data))  # type: ignore[arg-type]
    assert path is not None
    tokens, node, bits = [model.model.bos_id], rules.root, 0.0
    session = model.model.session()
    for rank in [*path, None] if end else path:
        weights, stop = rules.alphabet.weights(session.extend([tokens])[0][-1])
        made = Row(weights, rules.allowed(node), stop if rules.can_end(node) else 0.0)
        bits -= math.log2((made.stop if rank is None else made.between(rank, rank + 1)) / made.total)
        if rank is not None:
            child = rules.child(node, rank)
            assert child is not None
            node, tokens = child, list(rules.alphabet.ids_of(rank))
    return bits


def by_search(model: ByteModel, data: bytes) -> float:
    """P(data), the sum over all covers."""
    toy_model = model.model
    assert isinstance(toy_model, ToyModel)
    return brute_force(model, data, lambda tokens: row(tokens, toy_model.vocab_size, toy_model.seed))


@settings(max_examples=15, deadline=None)
@given(random_tokenizers(), st.lists(st.sampled_from(list(b"ab ")), max_size=6).map(bytes), st.integers(0, 9))
def test_equal_to_brute_force(tokenizer: ByteTokenizer, data: bytes, seed: int) -> None:
    model = ByteModel(ToyModel(tokenizer, seed))
    state = model.start()
    state.extend(data)
    whole = by_search(model, data)
    assert 2.0 ** -state.probability().bits == pytest.approx(whole, rel=1e-9)
    p = state.next_byte()
    assert p.shape == (257,)
    assert p.sum() == pytest.approx(1, abs=1e-9)
    for byte in b"ab x":
        assert p[byte] == pytest.approx(by_search(model, data + bytes([byte])) / whole, rel=1e-9)
    assert p[END] * whole == pytest.approx(2.0 ** -state.probability_of_end().bits, rel=1e-9)


def chain(state: ByteState, data: bytes) -> float:
    """The largest error of P(x) = sum of P(xb) + P(x, end), each found on its own, relative to P(x)."""
    worst = 0.0
    for byte in data:
        base = state.probability().bits
        total = 2.0 ** (base - state.probability_of_end().bits)
        for other in range(256):
            try:
                total += 2.0 ** -state.score(bytes([other]))
            except ModelError:
                continue
        worst = max(worst, abs(total - 1))
        state.push(byte)
    return worst


TOKENIZERS = {
    "no pre-tokenizer": plain(),
    "GPT-2": gpt2(),
    "bytes without a token": toy(["' t", "1 2"], [GPT2], missing="\x00\xe9\xff"),
}


@pytest.mark.parametrize("name", TOKENIZERS)
def test_chain_rule(name: str) -> None:
    text = "It's 1,\n\n \u201c".encode() + b"\xe2\x80 \xff"
    assert chain(ByteModel(ToyModel(TOKENIZERS[name])).start(), text) < 1e-9


def test_chain_rule_of_a_real_engine() -> None:
    assert chain(ByteModel(ExactModel(TINY)).start(), TEXT[:14]) < 1e-9


def test_without_the_validity_mask_probability_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """The shortcut of leaving the mask out: mass goes to tokens that lead nowhere."""
    model = ByteModel(ToyModel(plain()))

    def everything(node: Node) -> Mask:
        return np.ones(model.rules.alphabet.size, np.bool_)

    monkeypatch.setattr(model.rules, "allowed", everything)
    assert chain(model.start(), b"abab") > 1e-3


@pytest.mark.parametrize("name", TOKENIZERS)
@pytest.mark.parametrize("text", [TEXT, "a\ue000\ue001 \ue002\ufffe".encode()], ids=["mixed", "private use"])
def test_bytes_cost_what_the_tokens_cost(name: str, text: bytes) -> None:
    model = ByteModel(ToyModel(TOKENIZERS[name]))
    tokens = len(model.model.tokenizer.encode(text))
    expected = token_bits(model, text, end=True)
    assert model.score(text, end=True) == pytest.approx(expected, abs=1e-6 * tokens)
    state = model.start()
    coded = sum(-math.log2(step(state, byte)) for byte in text) - math.log2(state.next_byte()[END])
    assert coded == pytest.approx(expected, abs=1e-6 * tokens)


def step(state: ByteState, byte: int) -> float:
    """The probability of a byte, which is then read."""
    p = float(state.next_byte()[byte])
    state.push(byte)
    return p


@pytest.mark.parametrize(
    "model", [ToyModel(gpt2()), ExactModel(TINY), FakeModel()], ids=["toy", "exact", "floats"]
)
def test_profile_is_the_cost_of_each_byte(model: ToyModel | ExactModel | FakeModel) -> None:
    bytewise = ByteModel(model)
    state = bytewise.start()
    text = TEXT * 4  # more than one stretch
    singly = [-math.log2(step(state, byte)) for byte in text]
    other = bytewise.start()
    assert other.profile(text) == pytest.approx(singly, abs=1e-9)
    assert other.next_byte() == pytest.approx(state.next_byte(), abs=1e-12)


def test_a_text_is_scored_in_a_few_calls() -> None:
    model = ByteModel(ToyModel(gpt2()))
    model.score(b"all's well " * 20)
    tokens = len(model.model.tokenizer.encode(b"all's well " * 20))
    assert model.evaluator.positions < 1.2 * tokens + 5
    assert model.evaluator.calls < 5


def test_computing_ahead_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    results = []
    for likely in (0.0, 2.0):
        monkeypatch.setattr("nacrith.bytelevel.state._LIKELY", likely)
        model = ByteModel(ExactModel(TINY))
        state = model.start()
        results.append([(state.counts().tolist(), state.push(b))[0] for b in TEXT[:40]])
        calls = model.evaluator.calls
        assert calls < 40 if likely == 0.0 else calls >= 35
    assert results[0] == results[1]


def test_counts_are_for_the_coder() -> None:
    state = ByteModel(ExactModel(TINY)).start()
    for byte in TEXT[:10]:
        counts = state.counts()
        assert counts.sum() == 1 << 24
        assert counts.min() >= 1
        assert counts / (1 << 24) == pytest.approx(state.next_byte(), abs=260 / (1 << 24))
        state.push(byte)


def test_forks_and_rollback_lead_to_the_same_distributions() -> None:
    state = ByteModel(ToyModel(gpt2())).start()
    seen = []
    for byte in TEXT:
        seen.append(state.next_byte())
        state.push(byte)
    twin = state.fork()
    twin.rollback(len(TEXT) - 5)
    assert (len(twin), len(state)) == (5, len(TEXT))
    assert twin.next_byte().tolist() == seen[5].tolist()
    twin.extend(b"zz")
    state.rollback(3)
    assert state.next_byte().tolist() == seen[-3].tolist()
    twin.rollback(2)
    twin.extend(TEXT[5:])
    twin.rollback(1)
    assert twin.next_byte().tolist() == seen[-1].tolist()
    with pytest.raises(ValueError, match="can be taken back"):
        twin.rollback(len(TEXT))


def test_a_character_newer_than_pythons_unicode_is_read() -> None:
    """U+1CCF4 is a digit since Unicode 16, which the pre-tokenizer may know before Python does."""
    state = ByteModel(ToyModel(toy(["\xb3 \xb4"], [r"\p{N}", GPT2]))).start()
    state.extend("\U000f0bf9\U0001ccf4 ".encode() + b"\xf0\x9c\xa5")
    assert state.next_byte().sum() == pytest.approx(1, abs=1e-9)


def test_what_is_no_byte_is_refused() -> None:
    state = ByteModel(ToyModel(gpt2())).start()
    with pytest.raises(ValueError, match="not a byte"):
        state.push(256)
    with pytest.raises(ValueError, match="epsilon"):
        ByteModel(ToyModel(gpt2()), epsilon=1.5)


@pytest.mark.parametrize("epsilon", [0.02, 0.3])
def test_epsilon_saves_positions_within_its_bound(epsilon: float) -> None:
    exact, pruned = ByteModel(ToyModel(gpt2())), ByteModel(ToyModel(gpt2()), epsilon=epsilon)
    a, b = exact.start(), pruned.start()
    excess = 0.0
    for byte in b"all's well, 'll it be? all's all " * 3:
        q = b.next_byte()
        assert q.sum() == pytest.approx(1, abs=1e-9)
        excess += math.log2(a.next_byte()[byte] / q[byte])
        a.push(byte)
        b.push(byte)
        assert excess <= b.excess_bits + 1e-9
    assert b.excess_bits > 0
    saved = 1 - pruned.evaluator.positions / exact.evaluator.positions
    assert saved > (0.1 if epsilon > 0.1 else 0)


def all_spellings(model: ByteModel, data: bytes) -> float:
    """P(data) over all token sequences."""
    alphabet = model.rules.alphabet

    def below(tokens: list[int], rest: bytes) -> float:
        if not rest:
            return 1.0
        weights, stop = alphabet.weights(row(tokens, model.model.vocab_size))
        total = float(weights.sum()) + stop
        result = 0.0
        for rank in range(alphabet.size):
            token = alphabet.token_bytes(rank)
            if token.startswith(rest) or rest.startswith(token):
                result += weights[rank] / total * below([*tokens, *alphabet.ids_of(rank)], rest[len(token) :])
        return result

    return below([0], data)


@pytest.mark.parametrize("data", [b"", b"ab", b"abaab"])
def test_a_wide_beam_sums_over_all_spellings(data: bytes) -> None:
    model = ByteModel(ToyModel(plain()), beam=Beam(10_000, 0.0))
    state = model.start()
    state.extend(data)
    whole = all_spellings(model, data)
    assert 2.0 ** -state.probability().bits == pytest.approx(whole, rel=1e-9)
    assert state.excess_bits == 0
    p = state.next_byte()
    for byte in b"abx":
        assert p[byte] == pytest.approx(all_spellings(model, data + bytes([byte])) / whole, rel=1e-9)


def test_a_narrow_beam_reports_what_it_drops() -> None:
    data = b"abaabbab" * 3
    wide = ByteModel(ToyModel(plain()), beam=Beam(4096, 0.0)).start()
    narrow = ByteModel(ToyModel(plain()), beam=Beam(3, 0.0)).start()
    truth = wide.score(data[:8])
    cost = narrow.score(data[:8])
    narrow.extend(data[:8])
    assert narrow.live_heads <= 4
    assert narrow.excess_bits > 0
    assert truth <= cost + narrow.excess_bits
    singly = ByteModel(ToyModel(plain()), beam=Beam(3, 0.0)).start()
    assert sum(-math.log2(step(singly, b)) for b in data[:8]) == pytest.approx(cost, abs=1e-9)
    singly.rollback(8)
    assert singly.excess_bits == 0


def test_every_byte_can_be_read_after_any(monkeypatch: pytest.MonkeyPatch) -> None:
    exact, beam = ByteModel(ExactModel(TINY)), ByteModel(ExactModel(TINY), beam=Beam(2, 0.2))
    for model, pairs in ((exact, [0, 10, 32, 65, 0xC3, 0xA9, 0xE2, 0xFF]), (beam, [10, 65, 0xFF])):
        for a, b in product(pairs, pairs):
            state = model.start()
            state.extend(bytes([a, b]))
            assert math.isfinite(state.probability().bits)


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(sorted(TOKENIZERS)), st.binary(max_size=24) | st.text(max_size=8).map(str.encode))
def test_no_bytes_are_a_dead_end(name: str, data: bytes) -> None:
    """A tokenizer of all bytes encodes any, so tokens lead to any."""
    state = ByteModel(ToyModel(TOKENIZERS[name])).start()
    state.extend(data)
    assert state.encoded().end == len(data)


class Letters:
    """A tokenizer of three tokens."""

    vocab_size = 4

    def encode(self, data: bytes) -> Sequence[int]:
        return [b"-ab".index(bytes([b])) for b in data]

    def decode(self, ids: Sequence[int]) -> bytes:
        return b"".join([b"", b"a", b"b", b"ab"][i] for i in ids)

    def vocabulary(self, size: int) -> SortedVocabulary:
        return SortedVocabulary([b"", b"a", b"b", b"ab"])


def test_a_byte_that_one_member_lacks_is_read_by_none() -> None:
    members = [ByteModel(ToyModel(gpt2())), ByteModel(ToyModel(Letters()), beam=Beam(64, 0.0))]
    state = ByteEnsemble(members).start()
    state.extend(b"ab")
    before = state.next_byte().tolist()
    with pytest.raises(ModelError, match="no tokens that lead to byte 0x63"):
        state.push(ord("c"))
    assert state.next_byte().tolist() == before
    state.push(ord("a"))
    assert len(state) == 3


def test_a_beam_works_with_any_tokenizer() -> None:
    model = ByteModel(ToyModel(Letters()), beam=Beam(64, 0.0))
    state = model.start()
    state.extend(b"ab")
    assert state.next_byte()[ord("c")] == 0
    assert state.next_byte().sum() == pytest.approx(1, abs=1e-9)
    with pytest.raises(ModelError, match="no tokens that lead to byte 0x63 after 2 bytes"):
        state.push(ord("c"))
    assert (len(state), state.next_byte()[ord("c")]) == (2, 0)
