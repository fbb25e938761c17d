"""Which tokens can follow, against the encodings of all short texts."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from toy_tokenizers import GPT2, LLAMA3, O200K, gpt2, plain, prefixes, random_tokenizers, ranks, toy

from nacrith.bytelevel.covering import Covering, Node
from nacrith.errors import ModelError
from nacrith.models.tokenizer.byte_bpe import ByteTokenizer

_ACCENTS = ["\xc3 \xa9", "a \xc3", "a \xc3\xa9", "\xe2 \x80", "\xe2\x80 \x99", "\xe2\x80\x99 s", "\x80 \x99"]
_SPACES = ["_ a", "_a l", "l l", "' l", "' ll", "a l", "\n \n", "_ _", "_ \n", "1 1", "11 1", "' '", "\n _"]

# Tokenizer, the byte strings that texts are made of, their number, and how many of these are needed to know
# what a token sequence can be followed by.
CASES = {
    "no pre-tokenizer": (plain(), [b"a", b"b"], 9, 2),
    "GPT-2": (gpt2(), [b"a", b"l", b"'", b" ", b"\n", b"1"], 5, 2),
    "digits": (toy(_SPACES, [r"\p{N}", GPT2]), [b"a", b"'", b" ", b"\n", b"1"], 5, 2),
    "Llama 3": (toy([*_SPACES, "\n\n \n"], [LLAMA3]), [b"a", b"l", b"'", b" ", b"\n", b"1"], 5, 2),
    "o200k": (toy(["' s", "' l", "a l", "l l", "s a", "A a"], [O200K]), [b"a", b"l", b"'", b"S", b"A"], 5, 2),
    "part of a character": (toy(_ACCENTS, [GPT2]), [b"a", b"\xc3", b"\xa9", b"\xe2", b"\x80", b"\x99"], 5, 3),
    "whole words": (toy(["_ a", "a b", "_ ab"], [GPT2], words=["aba", "_ba"]), [b"a", b"b", b" "], 7, 3),
    "bytes without a token": (
        toy(["a b"], [GPT2], missing="!\x99"),
        [b"a", b"b", b"!", b"\xc2", b"\x99"],
        5,
        2,
    ),
}


def walk(covering: Covering, path: Sequence[int]) -> Node | None:
    node: Node | None = covering.root
    for rank in path:
        node = covering.child(node, rank) if node else None
    return node


@pytest.mark.parametrize("case", CASES)
def test_exactly_what_encodings_begin_with_can_follow(case: str) -> None:
    tokenizer, letters, length, slack = CASES[case]
    covering = Covering(tokenizer, tokenizer.vocab_size, [0])
    alphabet = covering.alphabet
    begun = prefixes(tokenizer, tuple(letters), length)
    known = {tuple(r) for ids in begun if (r := ranks(covering, ids)) is not None}
    tokens = sorted({rank for path in known for rank in path})
    size = {rank: len(alphabet.token_bytes(rank)) for rank in tokens}
    asked = 0
    for path in known:
        room = length - slack - sum(size[r] for r in path)
        if room < 0:
            continue
        node = walk(covering, path)
        assert node is not None
        text = b"".join(alphabet.token_bytes(r) for r in path)
        assert covering.can_end(node) == (ranks(covering, tokenizer.encode(text)) == list(path))
        allowed = covering.allowed(node)
        for rank in tokens:
            if size[rank] <= room:
                asked += 1
                expected = (*path, rank) in known
                assert bool(allowed[rank]) == expected
                assert (covering.child(node, rank) is not None) == expected
                assert covering.may_follow(node, rank, rank + 1) == expected
    assert asked > 40


@settings(max_examples=20, deadline=None)
@given(random_tokenizers())
def test_pairs_by_rank_are_pairs_by_encoding(tokenizer: ByteTokenizer) -> None:
    covering = Covering(tokenizer, tokenizer.vocab_size, [0])
    pairs, alphabet = covering.pairs, covering.alphabet
    assert pairs.is_trained
    made = set(alphabet.vocabulary.order[: alphabet.size][alphabet.merged].tolist())
    for token in made & {2 + ord("a"), 2 + ord("b"), 2 + ord(" "), *range(258, tokenizer.vocab_size)}:
        assert made & {*pairs.merged_invalid(token)} == made & {*pairs.encoded_invalid(token)}


@pytest.mark.parametrize("expressions", [[GPT2], [LLAMA3], [O200K], [r"\p{N}", GPT2]])
def test_every_encoding_is_a_path(expressions: list[str]) -> None:
    """Also where characters are newer than Python's Unicode, or of unusual kinds."""
    tokenizer = toy([*_ACCENTS, *_SPACES], expressions)
    covering = Covering(tokenizer, tokenizer.vocab_size, [0])
    strange = [
        "\u201c.\U00032376",
        "a\u0301\u20dd",
        "\u017f'\u212a'S'LL",
        "\u00b2\u00bd1",
        "\U000e0001 \ufdd0",
    ]
    strange += ["\r\n \u3000\u2028\n", "\U0001f600\u200d\U0001f3fb!", "'re're 'x\u2019ve", "\x00\x7f\x85"]
    for text in [*(s.encode() for s in strange), b"\xf0\x9f\x98 \xc3(\xed\xa0\x80", b"\xf4\x90\x80\x80a\xfe"]:
        node: Node | None = covering.root
        for rank in ranks(covering, tokenizer.encode(text)) or []:
            assert node is not None
            assert covering.allowed(node)[rank], text
            node = covering.child(node, rank)
        assert node is not None
        assert covering.can_end(node)


def test_merges_out_of_order_are_noticed() -> None:
    odd = toy(["ab a", "a b"])
    pairs = Covering(odd, odd.vocab_size, [0]).pairs
    assert not pairs.is_trained
    assert pairs.invalid(2 + ord("a")).tolist() == pairs.encoded_invalid(2 + ord("a")).tolist()


def test_a_pre_tokenizer_that_looks_back_is_refused() -> None:
    with pytest.raises(ModelError, match="looks at what precedes"):
        Covering(toy(["a b"], [r"(?<=a)b|."]), 300, [0])


def test_a_tokenizer_of_another_kind_is_refused() -> None:
    class Letters:
        vocab_size = 2

        def encode(self, data: bytes) -> list[int]:
            return list(data)

        def decode(self, ids: Sequence[int]) -> bytes:
            return bytes(ids)

    with pytest.raises(ModelError, match="a beam"):
        Covering(Letters(), 2, [0])


@pytest.mark.parametrize("byte", [b"b", b"\t", b"!"])
def test_a_long_piece_is_forgotten_but_for_its_ends(byte: bytes) -> None:
    covering = Covering(gpt2(), gpt2().vocab_size, [0])
    rank = covering.alphabet.vocabulary.find(byte).lo
    node = walk(covering, [rank] * 2000)
    short = walk(covering, [rank] * 20)
    assert node is not None
    assert short is not None
    assert node.end == 2000
    assert len(node.region.data) <= 300
    assert (covering.allowed(node) == covering.allowed(short)).all()
    assert covering.can_end(node)
