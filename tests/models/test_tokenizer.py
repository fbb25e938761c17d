"""The tokenizer: every byte string survives, no text is a command, one definition per tokenizer.

Vocabularies made by hand stand in for real ones: `COMPLETE` has a symbol for every byte, `HOLEY`
lacks the 21 bytes that SmolLM2's lacks, `ASCII` lacks everything above 0x7F.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys

import pytest
from byte_strings import NASTY, SMOLLM2_HOLES, SPECIAL
from hypothesis import given
from hypothesis import strategies as st

from nacrith.errors import ModelError
from nacrith.models.tokenizer import byte_bpe as module
from nacrith.models.tokenizer.byte_bpe import BYTE_TO_SYMBOL, ByteTokenizer, token_bytes
from nacrith.models.tokenizer.importers import (
    GPT2,
    PRE_TOKENIZERS,
    from_gguf_fields,
    from_tokenizer_json,
)

MERGES = ["t h", "th e", "Ġ the", "i n", "Ġ a", "e r", "Ċ Ċ", "Ġ Ġ", "1 2", "Ã ©", "å Ń", "åŃ Ĺ"]
CONTROL, NORMAL = 3, 1


def gguf_fields(missing: bytes = b"", special: list[str] = SPECIAL, pre: str = "smollm") -> dict:
    symbols = [s for b, s in enumerate(BYTE_TO_SYMBOL) if b not in missing]
    merges = [m for m in MERGES if set(m) - {" "} <= set(symbols)]
    tokens = [*special, *symbols, *(m.replace(" ", "") for m in merges)]
    return {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": pre,
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.merges": merges,
        "tokenizer.ggml.token_type": [CONTROL] * len(special) + [NORMAL] * (len(tokens) - len(special)),
        "tokenizer.ggml.bos_token_id": 0,
        "tokenizer.ggml.eos_token_id": 1,
    }


COMPLETE = from_gguf_fields(gguf_fields())
HOLEY = from_gguf_fields(gguf_fields(SMOLLM2_HOLES))
ASCII = from_gguf_fields(gguf_fields(bytes(range(0x80, 0x100))))
TOKENIZERS = pytest.mark.parametrize(
    "tokenizer", [COMPLETE, HOLEY, ASCII], ids=["complete", "holey", "ascii"]
)


@TOKENIZERS
@pytest.mark.parametrize("data", NASTY.values(), ids=NASTY.keys())
def test_nasty_bytes_come_back(tokenizer: ByteTokenizer, data: bytes) -> None:
    ids = tokenizer.encode(data)
    assert tokenizer.decode(ids) == data
    assert all(0 <= i < tokenizer.vocab_size for i in ids)
    assert {i for i in ids if i < len(SPECIAL)} <= {tokenizer.escape_id}


@TOKENIZERS
@given(data=st.binary(max_size=300))
def test_any_bytes_come_back(tokenizer: ByteTokenizer, data: bytes) -> None:
    assert tokenizer.decode(tokenizer.encode(data)) == data


@TOKENIZERS
@given(text=st.text(max_size=200))
def test_any_text_comes_back(tokenizer: ByteTokenizer, text: str) -> None:
    assert tokenizer.decode(tokenizer.encode(text.encode())) == text.encode()


@TOKENIZERS
@given(ids=st.lists(st.integers(-5, 400) | st.integers(-(2**31), 2**31 - 1)))
def test_decode_is_defined_for_any_ids(tokenizer: ByteTokenizer, ids: list[int]) -> None:
    assert len(tokenizer.decode(ids)) <= 3 * len(ids)  # no token here is longer than 4 bytes: Ġthe


@given(data=st.binary(max_size=100), cut=st.integers(0, 300))
def test_escapes_cut_anywhere_decode(data: bytes, cut: int) -> None:
    ids = HOLEY.encode(data)[:cut]
    assert data.startswith(HOLEY.decode(ids)) or HOLEY.escape_id in ids[-2:]


def test_special_and_unknown_ids_are_nothing() -> None:
    the = list(COMPLETE.encode(b"the"))
    assert COMPLETE.decode([0, *the, 1, 2, -1, COMPLETE.vocab_size, *the]) == b"thethe"


def test_escape_is_a_spare_special_token_and_two_digits() -> None:
    assert HOLEY.escape_id == SPECIAL.index("<|spare|>")
    zero, four, d, one = (HOLEY.encode(c)[0] for c in (b"0", b"4", b"d", b"1"))
    assert list(HOLEY.encode(b"\x04")) == [HOLEY.escape_id, zero, four]
    assert list(HOLEY.encode(b"\x1d")) == [HOLEY.escape_id, one, d]
    assert COMPLETE.escape_id is None
    assert HOLEY.decode([HOLEY.escape_id, zero]) == b"0"
    assert HOLEY.decode([HOLEY.escape_id, *HOLEY.encode(b"the")]) == b"the"


def test_escape_is_added_when_no_special_token_is_spare() -> None:
    fields = gguf_fields(SMOLLM2_HOLES, special=SPECIAL[:2])
    tokenizer = from_gguf_fields(fields)
    assert tokenizer.escape_id == len(fields["tokenizer.ggml.tokens"]) == tokenizer.vocab_size - 1
    assert tokenizer.decode(tokenizer.encode(SMOLLM2_HOLES)) == SMOLLM2_HOLES


def test_no_digits_to_escape_with_is_an_error() -> None:
    with pytest.raises(ModelError, match="digits"):
        from_gguf_fields(gguf_fields(b"\x044"))


def test_a_missing_digit_is_escaped_by_the_others() -> None:
    tokenizer = from_gguf_fields(gguf_fields(b"\x04f"))
    assert tokenizer.decode(tokenizer.encode(b"f\x04f4")) == b"f\x04f4"
    assert tokenizer.escape_id is not None
    assert tokenizer.decode([tokenizer.escape_id, tokenizer.escape_id, *tokenizer.encode(b"44")]) == b"D"


def test_text_uses_merges() -> None:
    tokens = gguf_fields()["tokenizer.ggml.tokens"]
    shown = [tokens[i] for i in COMPLETE.encode("the the\n\n12 字é".encode())]
    assert shown == ["the", "Ġthe", "ĊĊ", "1", "2", "Ġ", "åŃĹ", "Ã©"]  # smollm splits digits


def test_hard_bytes_do_not_spoil_the_text_around_them() -> None:
    the, space_the = HOLEY.encode(b"the the")
    assert list(HOLEY.encode(b"the\x04 the\xff"))[::4] == [the, space_the]


def _prose(size: int) -> bytes:
    words = ["the", "in", "another", "字é", "12", "a,b", "(x)", "\n\n", "the  the", "tab\tthe"]
    rng = random.Random(7)
    text = b""
    while len(text) < size:
        text += rng.choice(words).encode() + b" "
    return text


@pytest.mark.parametrize("pre", sorted({*PRE_TOKENIZERS, "never heard of"}))
def test_pieces_do_not_change_the_tokens_of_prose(pre: str, monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer = from_gguf_fields(gguf_fields(pre=pre))
    data = _prose(3000)
    whole = tokenizer.encode(data)
    monkeypatch.setattr(module, "PIECE", 100)
    monkeypatch.setattr(module, "CUT_SEARCH", 50)
    assert tokenizer.encode(data) == whole
    assert tokenizer.decode(whole) == data


@given(data=st.binary(max_size=400) | st.text(max_size=200).map(str.encode))
def test_pieces_are_bounded_and_cut_between_characters(data: bytes) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "PIECE", 16)
        patch.setattr(module, "CUT_SEARCH", 8)
        pieces = list(module._pieces(data))
    assert b"".join(pieces) == data
    assert max(map(len, pieces)) <= 16
    try:
        data.decode()
    except UnicodeDecodeError:
        return  # nothing more to hold: the data has no characters to cut
    assert "".join(p.decode() for p in pieces) == data.decode()


@TOKENIZERS
def test_definition_round_trip(tokenizer: ByteTokenizer) -> None:
    again = ByteTokenizer.from_definition(tokenizer.definition)
    assert again.definition == tokenizer.definition
    assert again.vocab_size == tokenizer.vocab_size
    data = NASTY["every byte"] + _prose(500)
    assert again.encode(data) == tokenizer.encode(data)


def test_definition_is_canonical() -> None:
    tokenizer = ByteTokenizer(["<s>", *BYTE_TO_SYMBOL, "in"], [("i", "n")], [r"\p{N}"], [0], False, None)
    vocab = json.dumps(["<s>", *BYTE_TO_SYMBOL, "in"], separators=(",", ":"))
    assert tokenizer.definition.decode() == (
        '{"escape":null,"format":1,"merges":["i n"],"patterns":["\\\\p{N}"],"special":[0],'
        '"vocab":' + vocab + ',"whole_words":false}'
    )


GOOD = json.loads(HOLEY.definition)


@pytest.mark.parametrize(
    "change",
    [
        {"format": 2},
        {"vocab": None},
        {"vocab": [1]},
        {"vocab": []},
        {"merges": ["in"]},
        {"merges": "i n"},
        {"patterns": ["("]},
        {"patterns": [3]},
        {"special": [10_000]},
        {"special": [True]},
        {"escape": "2"},
        {"escape": 5},
        {"escape": None},
    ],
    ids=str,
)
def test_damaged_definition_is_a_model_error(change: dict) -> None:
    with pytest.raises(ModelError):
        ByteTokenizer.from_definition(json.dumps(GOOD | change).encode())


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b"{}", b"\xff\xfe", b"null", b"[" * 100_000])
def test_what_is_no_definition_is_a_model_error(text: bytes) -> None:
    with pytest.raises(ModelError):
        ByteTokenizer.from_definition(text)
    with pytest.raises(ModelError):
        from_tokenizer_json(text)


def test_sentencepiece_is_refused_with_what_is_supported() -> None:
    with pytest.raises(ModelError, match="byte-level BPE"):
        from_gguf_fields({"tokenizer.ggml.model": "llama", "tokenizer.ggml.tokens": ["a"]})
    document = {"model": {"type": "Unigram", "vocab": [["a", 0.0]]}}
    with pytest.raises(ModelError, match="byte-level BPE"):
        from_tokenizer_json(json.dumps(document).encode())


@pytest.mark.parametrize("key", ["tokens", "merges"])
def test_incomplete_gguf_is_a_model_error(key: str) -> None:
    fields = gguf_fields()
    del fields[f"tokenizer.ggml.{key}"]
    with pytest.raises(ModelError, match=key):
        from_gguf_fields(fields)


def test_wrong_number_of_token_types_is_a_model_error() -> None:
    fields = gguf_fields()
    fields["tokenizer.ggml.token_type"].pop()
    with pytest.raises(ModelError, match="token types"):
        from_gguf_fields(fields)


def tokenizer_json(merges_as_pairs: bool, pre_tokenizer: dict | None) -> bytes:
    fields = gguf_fields(SMOLLM2_HOLES)
    tokens, merges = fields["tokenizer.ggml.tokens"], fields["tokenizer.ggml.merges"]
    return json.dumps(
        {
            "added_tokens": [{"id": i, "content": t} for i, t in enumerate(SPECIAL)],
            "pre_tokenizer": pre_tokenizer,
            "decoder": {"type": "ByteLevel"},
            "model": {
                "type": "BPE",
                "vocab": {t: i for i, t in enumerate(tokens)},
                "merges": [m.split(" ") for m in merges] if merges_as_pairs else merges,
            },
        }
    ).encode()


SMOLLM2_STEPS = {
    "type": "Sequence",
    "pretokenizers": [
        {"type": "Digits", "individual_digits": True},
        {"type": "ByteLevel", "add_prefix_space": False, "use_regex": True},
    ],
}
LLAMA3_STEPS = {
    "type": "Sequence",
    "pretokenizers": [
        {"type": "Split", "pattern": {"Regex": r"\p{L}+"}, "behavior": "Isolated"},
        {"type": "Split", "pattern": {"String": "(a"}, "behavior": "Isolated"},
        {"type": "ByteLevel", "add_prefix_space": True, "use_regex": False},
    ],
}


@pytest.mark.parametrize("merges_as_pairs", [False, True])
def test_tokenizer_json_gives_the_tokenizer_of_the_gguf(merges_as_pairs: bool) -> None:
    tokenizer = from_tokenizer_json(tokenizer_json(merges_as_pairs, SMOLLM2_STEPS), in_use=[0, 1])
    assert tokenizer.definition == HOLEY.definition


@pytest.mark.parametrize(
    ("pre_tokenizer", "patterns"),
    [
        (LLAMA3_STEPS, [r"\p{L}+", r"\(a"]),
        ({"type": "Metaspace"}, [GPT2]),  # unknown: some compression lost, no byte
        (None, [GPT2]),
    ],
    ids=["splits", "unknown", "none"],
)
def test_pre_tokenizer_of_tokenizer_json(pre_tokenizer: dict | None, patterns: list[str]) -> None:
    tokenizer = from_tokenizer_json(tokenizer_json(True, pre_tokenizer))
    assert json.loads(tokenizer.definition)["patterns"] == patterns
    for data in NASTY.values():
        assert tokenizer.decode(tokenizer.encode(data)) == data


def test_ids_of_tokenizer_json_are_bounded() -> None:
    document = json.loads(tokenizer_json(True, SMOLLM2_STEPS))
    for bad in (1 << 40, -1):
        document["added_tokens"][0]["id"] = bad
        with pytest.raises(ModelError, match="is not a token's id"):
            from_tokenizer_json(json.dumps(document).encode())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_fork_after_use_is_silent_and_agrees() -> None:
    script = (
        "import os, sys\n"
        "from nacrith.models.tokenizer.byte_bpe import ByteTokenizer\n"
        "tokenizer = ByteTokenizer.from_definition(sys.stdin.buffer.read())\n"
        "ids = tokenizer.encode(b'the ' * 1000)\n"
        "child = os.fork()\n"
        "if child == 0:\n"
        "    os._exit(tokenizer.encode(b'the ' * 1000) != ids)\n"
        "sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))\n"
    )
    env = {k: v for k, v in os.environ.items() if k != "TOKENIZERS_PARALLELISM"}
    done = subprocess.run(
        [sys.executable, "-c", script], input=COMPLETE.definition, capture_output=True, env=env
    )
    assert (done.returncode, done.stderr) == (0, b"")


def test_token_bytes_is_the_inverse_of_the_alphabet() -> None:
    assert [token_bytes(s) for s in BYTE_TO_SYMBOL] == [bytes([b]) for b in range(256)]
    assert token_bytes("Ġthe") == b" the"
    assert token_bytes("a b") is None
