"""Chat messages, Markdown, JSON, LLMLingua's interface, adapters, and what a result tells."""

from __future__ import annotations

import asyncio
import copy
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from nacrith.errors import BudgetError, PromptError
from nacrith.prompt import PromptCompressor, compress_messages, compress_prompt
from nacrith.prompt.adapters import DocumentCompressor, NodePostprocessor
from nacrith.prompt.report import diff, page, stats, table
from nacrith.prompt.result import APART
from nacrith.prompt.segment import Passage

LONG = (
    "The committee met again in the large hall. Many people spoke about the weather and the roads. The mayor \
announced that the bridge will be closed. Nobody objected, and everyone went home quite early. "
)
CHAT: list[dict[str, Any]] = [
    {"role": "system", "content": "You are a very helpful assistant. " + LONG},
    {
        "role": "user",
        "content": [{"type": "text", "text": LONG}, {"type": "image", "source": {"data": LONG}}],
    },
    {
        "role": "assistant",
        "content": LONG,
        "tool_calls": [{"function": {"arguments": json.dumps({"q": LONG})}}],
    },
    {"role": "tool", "tool_call_id": LONG, "content": LONG},
    {
        "role": "user",
        "content": [{"type": "tool_result", "tool_use_id": "x", "content": [{"type": "text", "text": LONG}]}],
    },
    {"role": "user", "content": "What did the mayor announce? " + LONG},
]


def without_texts(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The messages with every text that may shrink taken out."""
    out = copy.deepcopy(messages)
    out[1]["content"][0]["text"] = out[2]["content"] = out[3]["content"] = ""
    out[4]["content"][0]["content"][0]["text"] = ""
    return out


@pytest.mark.parametrize("scorer", ["lexrank", "random"])
def test_chat(scorer: str) -> None:
    before = copy.deepcopy(CHAT)
    short = compress_messages(CHAT, PromptCompressor(scorer, len), rate=0.4)
    assert before == CHAT
    assert without_texts(short) == without_texts(CHAT)
    assert short[2]["content"] != LONG
    assert len(json.dumps(short)) < len(json.dumps(CHAT))
    wrapped = {"model": LONG, "system": LONG, "messages": CHAT}
    result = compress_messages(wrapped, PromptCompressor(scorer, len), rate=0.4)
    assert result == {**wrapped, "messages": result["messages"]}
    assert without_texts(result["messages"]) == without_texts(CHAT)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("[" * 200_000 + "]" * 200_000, "nested too deeply"),
        ('{"a": ' * 200_000 + "1" + "}" * 200_000, "nested too deeply"),
        ("[" + "9" * 5000 + "]", "digits"),
        ('{"messages": [{"role": "tool", "content": "a b"}], "messages": []}', "'messages'"),
        ('[{"role": "tool", "content": ["a b"], "content": "c"}]', "'content'"),
    ],
    ids=["array", "object", "number", "two lists", "two contents"],
)
@pytest.mark.parametrize("kind", ["json", "chat"])
def test_hostile_json(source: str, words: str, kind: str) -> None:
    with pytest.raises(PromptError, match=f"not JSON .*{words}"):
        PromptCompressor("random").compress(source, kind=kind)


def test_numbers_of_any_kind_go_through() -> None:
    source = f'{{"a": [1e999, NaN, -Infinity], "text": "{LONG}"}}'
    assert PromptCompressor("random").compress(source, kind="json", rate=0.4).text.startswith(source[:40])
    (short,) = compress_messages([{"role": "tool", "content": LONG, "n": 1e999}], PromptCompressor("random"))
    assert short["n"] == float("inf")


def test_messages_that_are_no_json() -> None:
    for bad in ({"x": object()}, {"x": float}, endless()):
        with pytest.raises(PromptError, match="cannot be written as JSON"):
            compress_messages([{"role": "tool", "content": LONG, **bad}], PromptCompressor("random"))


def endless() -> dict[str, Any]:
    inner: list[Any] = []
    inner.append(inner)
    return {"x": inner}


def test_chat_rates_by_role() -> None:
    short = compress_messages(
        CHAT, PromptCompressor("random"), rates={"tool": 0.2, "assist*": 1.0, "system": 0.5}
    )
    assert len(short[3]["content"]) <= 0.2 * len(LONG)
    assert short[2] == CHAT[2]
    assert short[1] == CHAT[1]
    assert 0.3 * len(CHAT[0]["content"]) < len(short[0]["content"]) <= 0.5 * len(CHAT[0]["content"])


def test_chat_prefix_is_stable() -> None:
    compressor = PromptCompressor("lexrank")
    short = compress_messages(CHAT[:3], compressor, rate=0.6, prefix_stable=True)
    long = compress_messages(CHAT, compressor, rate=0.6, prefix_stable=True)
    assert long[:3] == short
    assert short[2]["content"] != LONG


@pytest.mark.parametrize("bad", ["{", '{"a": 1}', "[1]", '"x"'])
def test_no_chat(bad: str) -> None:
    with pytest.raises(PromptError, match=r"no chat|not JSON"):
        PromptCompressor().compress(bad, kind="chat")


def test_markdown_keeps_headings_and_rates() -> None:
    first = f"---\ntitle: x\n---\n# First\n\n{LONG}\n\n```\n# no heading {LONG}\n```\n"
    text = f"{first}## Second part ##\n{LONG}\n# Empty\n"
    result = PromptCompressor("random", protect="none").compress(
        text, kind="markdown", rate=0.5, rates={"first": 1, "second*": 0.1}
    )
    before, after = text.split("## Second part ##\n"), result.text.split("## Second part ##\n")
    assert after[0] == before[0]
    assert after[1].endswith("\n# Empty\n")
    assert 0 < len(after[1].partition("\n")[0]) <= 0.1 * len(LONG)


def test_json_paths_and_escapes() -> None:
    value = {"keep": LONG, "drop": {"me": [LONG, 'a "b"\\\n\u00e9\U0001f600 ' + LONG]}, "short": "as it is"}
    source = json.dumps(value)
    result = PromptCompressor("random").compress(source, kind="json", rates={"keep": 1.0, "drop.me.*": 0.3})
    found = json.loads(result.text)
    assert (found["keep"], found["short"]) == (LONG, "as it is")
    for old, new in zip(value["drop"]["me"], found["drop"]["me"], strict=True):  # type: ignore[index]
        assert 0 < len(new) <= 0.3 * len(json.dumps(old))


def test_budget_error_says_why() -> None:
    compressor = PromptCompressor("truncate", len)
    with pytest.raises(
        BudgetError, match=r"needs 39 tokens, and 3 are allowed .*negation \(10\)\): raise the budget to 39"
    ):
        compressor.compress("there were 12 and 13 but not more of it", target_tokens=3)
    passed = compressor.compress("there were 12 and 13 but not more", target_tokens=3, on_error="pass")
    assert passed.text == "there were 12 and 13 but not more"
    assert passed.note.startswith("error: what must be kept")
    with pytest.raises(BudgetError, match="tokens are outside"):
        compressor.compress(json.dumps(CHAT), target_tokens=50, kind="chat")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rate": 1.5}, "not between 0 and 1"),
        ({"target_tokens": -1}, "cannot be negative"),
        ({"target_tokens": 5, "prefix_stable": True}, "give a rate"),
        ({"kind": "yaml"}, "no kind of input"),
    ],
)
def test_bad_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(PromptError, match=message):
        PromptCompressor(tokenizer=len).compress(LONG, **options)


def test_tokens_need_a_tokenizer() -> None:
    with pytest.raises(PromptError, match="needs the tokenizer"):
        PromptCompressor().compress(LONG, target_tokens=10)
    with pytest.raises(PromptError, match="needs the tokenizer"):
        compress_prompt(LONG, target_token=10)


def test_floor_and_threshold() -> None:
    compressor = PromptCompressor("truncate", len, protect="none")
    assert compressor.compress(LONG, rate=0.1, min_tokens=1000).text == LONG
    assert len(compressor.compress(LONG, target_tokens=50, min_tokens=1000).text) <= 50
    assert compressor.compress(LONG, threshold=-2).text == "The committee met."


def test_retain_with_sentence() -> None:
    text = "The first sentence says nothing of 1999. " + LONG
    loose = PromptCompressor("lexrank", retain="with_sentence")
    assert "1999" not in loose.compress(text, query="What did the mayor announce?", rate=0.3).text
    assert "of 1999." in loose.compress(text, query="What does the first sentence say?", rate=0.3).text
    words = PromptCompressor("random", retain="with_sentence", patterns=["weather"])
    for rate in (0.3, 0.5, 0.7):
        short = words.compress(text, rate=rate).text
        assert "weather" in short
        assert ("nothing" in short) == ("1999" in short)


def test_lingua_interface() -> None:
    contexts = [LONG, "Ein Satz über 3 Dinge. " + LONG, LONG]
    result = compress_prompt(
        contexts,
        instruction="Answer briefly.",
        question="What did the mayor announce?",
        target_token=500,
        tokenizer=len,
        force_tokens=["early"],
        force_context_ids=[1],
        scorer="lexrank",
    )
    text = result["compressed_prompt"]
    assert text.startswith("Answer briefly.\n\n")
    assert text.endswith("\n\nWhat did the mayor announce?")
    assert result["compressed_tokens"] == len(text) <= 500
    assert result["compressed_prompt_list"][1] == contexts[1].strip()
    assert all("early" in part for part in result["compressed_prompt_list"])
    assert result["origin_tokens"] == len(
        "\n\n".join(["Answer briefly.", *contexts, "What did the mayor announce?"])
    )
    assert result["ratio"] == f"{result['origin_tokens'] / len(text):.1f}x"
    assert result["rate"].endswith("%")
    json.dumps(result)
    plain = compress_prompt(LONG, question="What?", rate=0.3, concate_question=False)
    assert plain["compressed_tokens"] <= 0.3 * len(LONG)
    kept = compress_prompt("Room 12 or 13. " + LONG, rate=0.3, protect="none", force_reserve_digit=True)
    assert "12" in kept["compressed_prompt"]
    assert "13" in kept["compressed_prompt"]


@pytest.mark.parametrize("text", ["", " \n", "..."])
def test_nothing_to_choose_from(text: str) -> None:
    for rate in (0.0, 0.5, 1.0):
        assert PromptCompressor("random").compress(text, rate=rate).text == text
        result = compress_prompt(text, rate=rate, protect="none")
        assert result["origin_tokens"] == len(text)
        assert result["compressed_tokens"] <= len(text)


def test_nothing_is_silently_empty() -> None:
    """An error, or without a limit the prompt itself."""
    for scorer in ("auto", "random"):
        with pytest.raises(BudgetError, match="raise the budget to 4 tokens"):
            PromptCompressor(scorer).compress("word", rate=0.5)
        passed = PromptCompressor(scorer).compress("word")
        assert (passed.text, passed.note[:4]) == ("word", "what")
        assert PromptCompressor(scorer).compress("word", rate=0.5, on_error="pass").text == "word"
        result = PromptCompressor(scorer).compress(LONG, rate=0.01, on_error="pass")
        assert result.text == LONG
    assert compress_prompt(LONG, question="the mayor?", threshold=0.99, concate_question=False)[
        "compressed_prompt"
    ].startswith("The mayor")
    assert PromptCompressor("lexrank").compress(LONG, threshold=99.0).text.strip()


def test_where_a_quotation_comes_from() -> None:
    result = PromptCompressor("random").compress(LONG, rate=0.5)
    for start, end in ((0, 10), (3, 40), (20, len(result.text))):
        places = result.to_origin(start, end)
        assert "".join(LONG[a:b] for a, b in places) == result.text[start:end]


def test_words_are_kept_apart() -> None:
    """Between two Latin words without a space something has to stay, and the result says so."""

    class Latin:
        name, by_sentence, causal = "latin", False, True

        def score(self, passages: Sequence[Passage], query: str) -> list[np.ndarray]:
            return [np.array([float(w.isascii()) for w in p.words]) for p in passages]

    result = PromptCompressor(Latin()).compress("ab中文cd ef文 gh", threshold=0.5)
    assert result.text == "ab中cd ef gh"
    assert [u.reason for u in result.units if u.kept and u.reason != "space"] == [
        "score",
        APART,
        *["score"] * 3,
    ]


def test_reports() -> None:
    text = LONG + "See <b>bold</b> & 5 more."
    result = PromptCompressor("random", len).compress(text, rate=0.5)
    plain = diff(result, colour=False)
    assert plain.replace("[-", "").replace("-]", "") == text
    assert "\x1b[9;31m" in diff(result, colour=True)
    html = page(result)
    assert "&lt;" in html
    assert "<b" not in html.partition("<pre>")[2]
    assert 'title="kept: number"' in html
    assert ("tokens allowed", f"{result.limit:,}") in stats(result)
    rows = [line.split("\t") for line in table(result).splitlines()[1:]]
    for start, end, fate, reason, _, shown in rows:
        assert text[int(start) : int(end)] == shown
        assert fate in ("kept", "dropped")
        assert reason
    assert "".join(r[5] for r in rows) == "".join(text.split())


@dataclass
class Document:
    page_content: str
    metadata: dict[str, Any] = field(default_factory=dict)


@dataclass
class Node:
    text: str

    def get_content(self, metadata_mode: str = "all") -> str:
        return self.text

    def set_content(self, value: str) -> None:
        self.text = value


@dataclass
class Scored:
    node: Node
    score: float


@dataclass
class Query:
    query_str: str


def test_adapters() -> None:
    texts = [LONG, "Nothing of interest is written here at all, or so they say. " * 3]
    texts.append(LONG.replace("mayor", "young mayor"))  # what is said twice is kept once
    compressor = PromptCompressor("lexrank", len, retain="with_sentence")
    documents = [Document(t, {"n": i}) for i, t in enumerate(texts)]
    chain = DocumentCompressor(compressor, target_tokens=160)
    short = chain.compress_documents(documents, "What did the mayor announce?")
    assert [d.page_content for d in documents] == texts
    assert [d.metadata["n"] for d in short] == [0, 2]
    assert all("bridge" in d.page_content for d in short)
    assert sum(len(d.page_content) for d in short) <= 160
    assert asyncio.run(chain.acompress_documents(documents, "What did the mayor announce?")) == short
    nodes = [Scored(Node(t), 0.5) for t in texts]
    found = NodePostprocessor(compressor, rate=0.3).postprocess_nodes(
        nodes, Query("What did the mayor announce?")
    )
    assert [n.node.text for n in nodes] == texts
    assert 0 < sum(len(n.node.text) for n in found) <= 0.3 * sum(map(len, texts)) + 4
    assert all(n.score == 0.5 for n in found)
    assert NodePostprocessor(compressor).postprocess_nodes(nodes, query_str="roads")
