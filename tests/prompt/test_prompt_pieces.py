"""Units, sentences, rules, counters: what prompt compression is put together from."""

from __future__ import annotations

import json
import sys
import types
from pathlib import Path

import gguf
import pytest
from paths import TINY_HF
from prompt_texts import CHINESE, EMOJI, ENGLISH, JAPANESE
from small_models import TINY

from nacrith.errors import PromptError
from nacrith.models import load_model
from nacrith.prompt import counter
from nacrith.prompt.protect import RULES, chosen_rules, protected
from nacrith.prompt.segment import passage


def sentences(text: str) -> list[str]:
    p = passage(text)
    return [p.sentence_text(i) for i in range(len(p.sentences))]


@pytest.mark.parametrize(
    ("text", "units"),
    [
        ("Don't (re-use) a/b.py, ok?", "Don't ( re-use ) a/b.py , ok ?"),
        ("日本のカタカナ、です", "日 本 の カタカナ 、 で す"),
        ("👨‍👩‍👧🎉👍🏽", "👨‍👩‍👧 🎉 👍🏽"),
        ("ab中c", "ab 中 c"),
        ("— “hi” …", "— “ hi ” …"),
        ("<p>Hi.</p> <a b='c'>d</a> a->b 3<4", "< p > Hi . < /p > < a b='c ' > d < /a > a->b 3<4"),
        ("why?<|end|>", "why ? < |end| >"),
        ("が\u3099e\u0301. ", "が\u3099 e\u0301 ."),
        ("", ""),
        (" \n\t", ""),
    ],
)
def test_units(text: str, units: str) -> None:
    assert passage(text).words == units.split(" ") if units else passage(text).words == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("One. Two! Three?", ["One.", "Two!", "Three?"]),
        ("See Dr. Smith, e.g. here. J. Doe left at 3.5 p.m. today.", None),
        ("He said “Stop.” Then he left.", ["He said “Stop.”", "Then he left."]),
        ("第一。第二!第三?", ["第一。", "第二!第三?"]),
        ("「はい。」彼は言った。", ["「はい。」", "彼は言った。"]),
        ("نعم؟ لا. ربما", ["نعم؟", "لا.", "ربما"]),
        ("- a b\n- c d\n\nA heading\nText", ["- a b", "- c d", "A heading", "Text"]),
        ("User: hi there\nBot: hello", ["User: hi there", "Bot: hello"]),
    ],
)
def test_sentences(text: str, expected: list[str] | None) -> None:
    found = sentences(text)
    if expected is None:
        assert found == ["See Dr. Smith, e.g. here.", "J. Doe left at 3.5 p.m. today."]
    else:
        assert found == expected


def test_wrapped_lines_are_one_sentence() -> None:
    assert sentences(ENGLISH)[0].startswith("The Normans")
    assert sentences(ENGLISH)[0].endswith("region in\nFrance.")
    assert len(sentences(CHINESE)) == 3
    assert len(sentences(JAPANESE)) == 3
    assert len(sentences(EMOJI)) == 1


@pytest.mark.parametrize(
    ("rule", "text", "span"),
    [
        ("number", "it cost $3,500.50 there", "$3,500.50"),
        ("number", "roughly 12% more", "roughly 12%"),
        ("negation", "They left. You must NEVER go. So it is.", "You must NEVER go."),
        ("negation", "it isn't so", "it isn't so"),
        ("negation", "我不去", "我不去"),
        ("limit", "Stay. Only two may go.", "Only two may go."),
        ("condition", "Stay. Go if it rains.", "Go if it rains."),
        ("identifier", "call get_name or getName", "get_name"),
        ("identifier", "pass --no-color=1 on", "--no-color=1"),
        ("url", "at https://a.org/x?y=1.", "https://a.org/x?y=1"),
        ("email", "mail a.b@c.org now", "a.b@c.org"),
        ("path", "in /usr/lib/x.so now", "/usr/lib/x.so"),
        ("quotation", 'he said "go away" twice', '"go away"'),
        ("quotation", "と「東京」と", "「東京」"),
        ("inline code", "run `rm -rf` now", "`rm -rf`"),
        ("code fence", "x\n```\na b\n```\ny", "```\na b\n```"),
        ("code fence", "x\n~~~py\nunclosed", "~~~py\nunclosed"),
        ("json", 'take {"a": [1, "b"]} here', '{"a": [1, "b"]}'),
        ("xml", 'a <b class="c">d</b>', '<b class="c">'),
        ("xml", "<|im_start|>user", "<|im_start|>"),
        ("placeholder", "dear {name}, hello", "{name}"),
        ("placeholder", "dear {{ first }}, hello", "{{ first }}"),
        ("role", "User: what?\n", "User:"),
    ],
)
def test_rules(rule: str, text: str, span: str) -> None:
    found = [text[p.start : p.end] for p in protected(text, [rule])]
    assert found
    assert found[0] == span
    assert all(p.reason == rule for p in protected(text, [rule]))


def test_plain_prose_is_not_protected() -> None:
    assert protected("The quick brown fox jumps over a lazy dog, and then it sleeps.") == []


def test_patterns_and_forced_words() -> None:
    found = protected("the cat sat on a cart", (), [r"c\w+t"], ["on a", ""])
    assert [(p.start, p.end, p.reason) for p in found] == [
        (4, 7, "pattern"),
        (12, 16, "forced"),
        (17, 21, "pattern"),
    ]
    with pytest.raises(PromptError, match="not a regular expression"):
        protected("x", (), ["("])


def test_choosing_rules() -> None:
    assert chosen_rules("all") == RULES
    assert chosen_rules("none") == ()
    assert chosen_rules("url, code_fence") == ("code fence", "url")
    assert set(RULES) - set(chosen_rules("-number,-quotation")) == {"number", "quotation"}
    with pytest.raises(PromptError, match="'numbers'"):
        chosen_rules("numbers")


def test_counters_agree() -> None:
    """The same tokenizer through each way to it."""
    text = ENGLISH + EMOJI
    expected = len(load_model(str(TINY)).tokenizer.encode(text.encode()))
    assert expected > 50
    ways = [str(TINY), TINY, load_model(str(TINY)).tokenizer]
    assert {counter(way)(text) for way in ways} == {expected}
    library = counter(str(TINY_HF))
    assert library(text) == counter(TINY_HF / "tokenizer.json")(text) > 50
    from tokenizers import Tokenizer

    assert counter(Tokenizer.from_file(str(TINY_HF / "tokenizer.json")))(text) == library(text)
    assert counter(None)(text) == counter("chars")(text) == len(text)
    assert counter(lambda t: 7)(text) == 7


def test_a_counter_whose_library_panics(tmp_path: Path) -> None:
    """The tokenizers library panics on a pattern that backtracks without end, which is no Exception."""
    fields = json.loads((TINY_HF / "tokenizer.json").read_text())
    split: dict[str, object] = {
        "type": "Split",
        "pattern": {"Regex": "(a|a|aa)+(?=b)c"},
        "behavior": "Isolated",
        "invert": False,
    }
    fields["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": [split, fields["pre_tokenizer"]]}
    (tmp_path / "tokenizer.json").write_text(json.dumps(fields))
    count = counter(tmp_path)
    assert count("harbour") == counter(TINY_HF)("harbour")
    with pytest.raises(PromptError, match=r"tokenizer\.json: the tokenizer fails on this text \("):
        count("a" * 5000 + "b")


def test_counter_of_a_gguf(tmp_path: Path) -> None:
    """Of a model that the exact engine does not run: only the tokenizer matters."""
    model = json.loads((TINY_HF / "tokenizer.json").read_text())["model"]
    tokens = sorted(model["vocab"], key=model["vocab"].get)
    writer = gguf.GGUFWriter(tmp_path / "x.gguf", "some-other-architecture")
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(tokens)
    writer.add_token_types([3] * 3 + [1] * (len(tokens) - 3))
    writer.add_token_merges([m if isinstance(m, str) else " ".join(m) for m in model["merges"]])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    assert counter(tmp_path / "x.gguf")(ENGLISH + EMOJI) == counter(TINY)(ENGLISH + EMOJI)


@pytest.mark.parametrize("bad", ["no-such-model", "/no/such/tokenizer.json", 7])
def test_no_tokenizer(bad: object) -> None:
    with pytest.raises(PromptError):
        counter(bad)


def test_a_damaged_tokenizer(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text(json.dumps({"version": 3}))
    with pytest.raises(PromptError, match="not a tokenizer"):
        counter(tmp_path)
    (tmp_path / "x.gguf").write_bytes(b"GGUF but no more")
    with pytest.raises(PromptError, match="not a readable GGUF"):
        counter(tmp_path / "x.gguf")


def test_tiktoken_never_downloads(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a stand-in for the package: its fetch is shut while an encoding is loaded, and only then."""
    package = types.ModuleType("tiktoken")
    load = types.ModuleType("tiktoken.load")
    load.read_file = lambda path: b"fetched"  # type: ignore[attr-defined]

    class Encoding:
        def encode_ordinary(self, text: str) -> list[int]:
            return [1] * (len(text) // 4)

    Encoding.__module__ = "tiktoken.core"

    def get_encoding(name: str) -> Encoding:
        if name != "cached":
            load.read_file("https://example.org/encoding")
        return Encoding()

    package.get_encoding = get_encoding  # type: ignore[attr-defined]
    package.load = load  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "tiktoken", package)
    monkeypatch.setitem(sys.modules, "tiktoken.load", load)
    assert counter("tiktoken:cached")("x" * 20) == 5
    with pytest.raises(PromptError, match="nothing is downloaded"):
        counter("tiktoken:other")
    assert load.read_file("") == b"fetched"
