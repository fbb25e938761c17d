"""Coding by the book: payloads read by formats/coding-v2.md alone, against the codec.

`coding_plain` is a second decoder, made from the document; rows come from `slow_reference`. So an archive's
payload is checked down to the last bit by a second implementation. The range coder's encoder is here, in
plain integers.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import coding_vectors
import numpy as np
import plain_group
import pytest
from coding_plain import counts_alone, decode_lanes, head
from hypothesis import given, settings
from hypothesis import strategies as st
from paths import FORMATS, TINY_HF
from slow_reference import SlowModel, exp2, f32
from small_groups import PARAMS, encode, groups
from small_models import TINY, tiny

from nacrith import arith
from nacrith.codec.group_reference import ReferenceEncoder
from nacrith.codec.model_codec import ModelCodec
from nacrith.codec.params import CodingParams
from nacrith.coder.cdf import counts
from nacrith.coder.range_coder import Encoder
from nacrith.models.exact.conversion import convert
from nacrith.models.exact.model import ExactModel
from nacrith.models.sources.safetensors import read_safetensors

TOTAL = 1 << 24
WORD, STATE = 1 << 32, 1 << 64

TEXT = b"Exact inference: the caf\xe9's na\xefve sum.\r\n\x06\xff\r\n"


class PlainEncoder:
    def __init__(self) -> None:
        self.words = self.count = self.low = 0
        self.width = STATE - 1

    def encode(self, a: int, n: int) -> None:
        s = self.width // TOTAL
        self.low += s * a
        self.words += self.low // STATE  # the carry
        self.low %= STATE
        self.width = s * n
        if self.width < WORD:
            self.words = self.words * WORD + self.low // WORD
            self.count += 1
            self.low = self.low * WORD % STATE
            self.width *= WORD
        assert self.width >= WORD

    def finish(self) -> bytes:
        first = self.words * STATE + self.low
        size = 4 * self.count + 8
        for length in range(size + 1):
            step = 256 ** (size - length)
            number = (first + step - 1) // step * step
            if number < first + self.width:
                return number.to_bytes(size, "big").rstrip(b"\0")
        raise AssertionError


class PlainDecoder:
    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 8
        self.point = int.from_bytes(data[:8].ljust(8, b"\0"), "big")
        self.low, self.width = 0, STATE - 1

    def decode(self, c: list[int]) -> int:
        s = self.width // TOTAL
        v = (self.point - self.low) % STATE // s
        assert v < TOTAL
        symbol = a = 0
        while a + c[symbol] <= v:
            a += c[symbol]
            symbol += 1
        self.low = (self.low + s * a) % STATE
        self.width = s * c[symbol]
        if self.width < WORD:
            word = self.data[self.at : self.at + 4].ljust(4, b"\0")
            self.low = self.low * WORD % STATE
            self.width *= WORD
            self.point = self.point * WORD % STATE + int.from_bytes(word, "big")
            self.at += 4
        return symbol


def plain_read(payload: bytes, params: CodingParams, words: Sequence[bytes]) -> tuple[list[list[int]], bool]:
    """Tokens of each lane of the tiny model, and the line end flag."""
    lengths, crlf, stream = head(payload)
    models = [SlowModel(tiny(), params.window) for _ in lengths]

    def row(lane: int, tokens: Sequence[int]) -> list[int]:
        return models[lane].step(tokens[-1] if tokens else tiny().config.bos_id)

    return decode_lanes(lengths, stream, words, params.to_bytes()[1], params.bits, row), crlf


@pytest.mark.parametrize("params", [CodingParams(16, bits=16), CodingParams(512, 2, 8, 17)])
def test_a_plain_decoder_reads_what_the_codec_wrote(params):
    model = ExactModel(TINY, threads=1)
    (payload,) = ModelCodec(model, params, lane_size=15).encode([TEXT])
    vocabulary = model.tokenizer.vocabulary(model.vocab_size)
    words = [vocabulary.token_bytes(rank) for rank in vocabulary.rank]
    ids, crlf = plain_read(payload, params, words)
    assert crlf
    assert len(ids) == 3
    assert any(model.tokenizer.escape_id in lane for lane in ids), "the text was to need an escape"
    assert b"".join(map(model.tokenizer.decode, ids)).replace(b"\n", b"\r\n") == TEXT


@given(groups(), st.sampled_from(PARAMS))
@settings(max_examples=12, deadline=None)
def test_a_plain_decoder_reads_any_group(group, params):
    stream = encode(ReferenceEncoder(group.vocabulary, params, group.lengths), group)
    place = {}
    for i, (lane, _) in enumerate(group.steps):
        place[lane, sum(lane == other for other, _ in group.steps[:i])] = i

    def row(lane, tokens):
        return group.rows[place[lane, len(tokens)]].tolist()

    predictors = params.to_bytes()[1]
    found = decode_lanes(group.lengths, stream, group.words, predictors, params.bits, row)
    assert found == [list(lane) for lane in group.tokens]


def test_the_examples_are_those_of_the_toy_model():
    text = (FORMATS / "coding-v2.md").read_text(encoding="utf-8")
    assert coding_vectors.table() in text
    for word in coding_vectors.WORDS:
        assert f"`{word.hex() or 'none'}`" in text
    for params, lanes in coding_vectors.examples():
        lengths, crlf, stream = head(coding_vectors.payload(params, lanes))
        assert not crlf
        found = decode_lanes(
            lengths,
            stream,
            coding_vectors.WORDS,
            params.to_bytes()[1],
            params.bits,
            lambda _, tokens: coding_vectors.row(tokens[-1] if tokens else None),
        )
        assert found == lanes


def test_a_block_longer_than_a_lane_starts_the_lane_again(tmp_path, monkeypatch):
    """A model with tables for 256 positions, and a block of some 600 tokens."""
    plain_group.use(monkeypatch)
    convert(read_safetensors(TINY_HF), tmp_path / "short.nacm", positions=256)
    model = ExactModel(tmp_path / "short.nacm", threads=1)
    assert model.max_length == 256
    codec = ModelCodec(model, CodingParams(64))
    text = bytes(range(32, 127)) * 6
    blocks = [text, text[:200], b"", text[7:]]
    payloads = codec.encode(blocks)
    assert codec.decode([(p, len(b)) for p, b in zip(payloads, blocks, strict=True)]) == blocks
    ids = list(model.tokenizer.encode(text))
    assert len(ids) > 512
    session = model.session(1, 64)
    decoder = PlainDecoder(head(payloads[0])[2])
    for i, token in enumerate(ids):
        if i % 256 == 0:
            session.rollback(0, 0)
        row = session.extend([[ids[i - 1] if i % 256 else model.bos_id]])[0][0]
        assert decoder.decode(counts_alone(row.tolist())) == token


def test_golden_stream(monkeypatch):
    """The coding example of formats/arithmetic-v1.md: tokens as intervals of their counts."""
    plain_group.use(monkeypatch)
    (payload,) = ModelCodec(ExactModel(TINY, threads=1), CodingParams(512)).encode([TEXT])
    text = (FORMATS / "arithmetic-v1.md").read_text()
    assert f"`{TEXT.hex()}`" in text
    lengths, crlf, stream = head(payload)
    assert (len(lengths), crlf) == (1, True)
    assert f"`{stream.hex()}`" in text


@given(st.lists(st.integers(-(1 << 30), 1 << 30), min_size=2, max_size=40))
@settings(max_examples=100, deadline=None)
def test_plain_counts_are_the_counts(row):
    spread = [v >> 10 for v in row]
    for x in (row, spread, [0] * len(row)):
        assert counts(np.array(x, np.int32)).tolist() == counts_alone(x)


intervals = st.integers(0, TOTAL - 1).flatmap(
    lambda a: st.tuples(st.just(a), st.integers(1, min(TOTAL - a, TOTAL - 1)))
)


@given(st.lists(intervals, max_size=60), st.sampled_from([None, 1, TOTAL - 1]))
@settings(max_examples=150, deadline=None)
def test_the_plain_encoder_gives_the_same_bytes(symbols, extreme):
    plain, coder = PlainEncoder(), Encoder()
    for a, n in symbols:
        if extreme:  # the narrowest and the widest intervals, where carries travel far
            a, n = (TOTAL - extreme, extreme) if a % 2 else (0, extreme)
        plain.encode(a, n)
        coder.encode(a, n)
    data = coder.finish()
    assert plain.finish() == data
    decoder = PlainDecoder(data)
    for a, n in symbols:
        if extreme:
            a, n = (TOTAL - extreme, extreme) if a % 2 else (0, extreme)
        parts = [x for x in (a, n, TOTAL - a - n) if x]
        assert decoder.decode(parts) == (1 if a else 0)


def test_exp2_is_the_table_of_the_specification():
    text = (FORMATS / "arithmetic-v1.md").read_text()
    lines = re.findall(r"\| (\S+) \| `(\w{8})` \| `(\w{8})` \|", text)
    assert len(lines) > 30
    for number, t, y in lines:
        assert f"{f32(float(number)).view(np.uint32):08x}" == t
        assert f"{exp2(f32(float(number))).view(np.uint32):08x}" == y
        engine = arith.exp2(np.full(3, float(number), np.float32))  # works in place
        assert {f"{n:08x}" for n in engine.view(np.uint32)} == {y}
