"""Content that is no prose: what it is taken for, what holds together, notes, and other chat formats."""

from __future__ import annotations

import ast
import csv
import io
import json
import random
import re
import xml.etree.ElementTree as ElementTree
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from paths import ROOT

from nacrith.errors import BudgetError
from nacrith.prompt import PromptCompressor, compress_messages, compress_prompt
from nacrith.prompt.content import KINDS, embedded, regions, route
from nacrith.prompt.content.blocks import Content
from nacrith.prompt.document import rendered

NOTES = ("Closed in winter.", "Opens at nine, but not on Sundays.", "Ask for Ana.")
RECORDS = [
    {"id": i, "name": f"Hall {i}", "open": i != 7, "note": f"{NOTES[i % 3]} Room {i * 17}."}
    for i in range(20)
]
CSV = "region,units,currency,remark\n" + "".join(
    f'R{i % 3},{i * 5},EUR,"plain, row {i}"\n' for i in range(12)
)
LOG = "".join(f"2026-03-02 08:00:{i:02},002 INFO [w1] beat ok\n" for i in range(9)) + (
    "2026-03-02 08:00:47,219 ERROR [w2] payment 5512 failed\n"
    "Traceback (most recent call last):\n"
    '  File "/srv/pay.py", line 88, in charge\n'
    "    token = vault.lookup(card)\n"
    "KeyError: 'card-7781'\n"
    "2026-03-02 08:00:48,002 INFO [w1] beat ok\n"
)
CODE = '''\
"""Boxes."""

import math


def merge(a, b):
    """Both, once each."""
    out = []
    for x in a:
        if x in b and x not in out:
            out.append(x)
        else:
            continue
    return out


class Box:
    @property
    def size(self):
        return self.w * self.h  # area
'''
DIFF = """\
diff --git a/app/cache.py b/app/cache.py
index 83db48f..bf2a9c1 100644
--- a/app/cache.py
+++ b/app/cache.py
@@ -12,6 +12,6 @@ class Cache:
     def get(self, key):
-        return self.data[key]
+        return self.data.get(key)

     def put(self, key, value):
         self.data[key] = value
@@ -40,3 +40,5 @@ class Cache:
     def clear(self):
         self.data.clear()
+
+    def size(self):
+        return len(self.data)
"""
YAML = """\
# The billing service
kind: Deployment
metadata:
  name: billing
  labels:
    app: billing
spec:
  replicas: 3
  containers:
    - name: web
      image: registry.example.com/billing:2.14.1
    - name: side
      image: registry.example.com/side:1.0.0
  limits:
    memory: 512Mi
"""
XML = (
    "<items>\n"
    + "".join(f'  <item id="{i}">\n    <name>Thing {i}</name>\n  </item>\n' for i in range(12))
    + "</items>\n"
)
HTML = """<!DOCTYPE html><html><head><title>Harbour</title><style>p {color: red}</style></head>
<body><nav><a href="/">Home</a></nav><h1>The   harbour</h1><p>It was built of <b>granite</b>
in 1871.</p><script>var x = "<p>no</p>";</script><footer>Imprint</footer></body></html>"""
TEXTS = {
    "json": json.dumps({"status": "ok", "halls": RECORDS}, indent=1),
    "json lines": "".join(json.dumps(r) + "\n" for r in RECORDS),
    "table": CSV,
    "log": LOG,
    "code": CODE,
    "diff": DIFF,
    "yaml": YAML,
    "xml": XML,
    "html": HTML,
}


def shown(content: Content, kept: list[int]) -> str:
    """The output if the blocks of these numbers, and what holds them, are kept."""
    mask = np.zeros(len(content.nodes), bool)
    mask[kept] = True
    return rendered(content.text, content.pieces(content.closed(mask)))


def content_of(kind: str) -> Content:
    found = route(TEXTS[kind])
    assert found is not None
    assert found.kind == kind
    return found


@pytest.mark.parametrize("kind", TEXTS)
def test_kinds(kind: str) -> None:
    """Each text is what it is, its segments cover it, and all of it without a note is all of it."""
    content = content_of(kind)
    assert "".join(content.text[a:b] for a, b, _ in content.segments) == TEXTS[kind]
    whole = shown(content, list(range(len(content.nodes))))
    assert not re.search(r"\d of \d", whole)
    if kind in ("log", "code", "diff", "yaml", "xml"):
        assert whole == TEXTS[kind]


@pytest.mark.parametrize(
    "text",
    [
        "Dear Ana,\n\nthe hall is closed: the roof leaks. Please call me.\n\n- tools\n- a ladder\n\nBo\n" * 3,
        "Apples, pears, plums\nMilk, cream, butter\nBread, rolls, cake\nBeans, peas, lentils\n" * 3,
        "Ana: I think we should go.\nBo: Why? We have time until five, and it rains.\n" * 4,
        "# Title\n\nSome text. It has a [link](https://x.y/z).\n\n| a | b |\n|---|---|\n| 1 | 2 |\n" * 3,
        "Thou art more lovely and more temperate:\nRough winds do shake the darling buds,\n" * 4,
    ],
    ids=["letter", "lists", "dialogue", "markdown", "poem"],
)
def test_prose_is_no_content(text: str) -> None:
    assert route(text) is None
    assert not any(embedded(text[a:b]) for a, b in regions(text))


def test_json_of_like_records_becomes_columns() -> None:
    content = content_of("json")
    whole = json.loads(shown(content, list(range(len(content.nodes)))))
    table = whole["halls"]
    assert [dict(zip(table["columns"], row, strict=True)) for row in table["rows"]] == RECORDS
    assert "note" not in table
    names = {i: json.loads(content.text[n.start : n.end]) for i, n in enumerate(content.nodes[1:], 1)}
    some = json.loads(shown(content, [i for i, r in names.items() if r["id"] in (2, 7, 9)]))
    assert some["status"] == "ok"
    assert [row[0] for row in some["halls"]["rows"]] == [2, 7, 9]
    assert some["halls"]["note"] == "3 of 20 rows kept"
    two = json.loads(shown(content, [i for i, r in names.items() if r["id"] in (2, 7)]))
    assert two["halls"] == [RECORDS[2], RECORDS[7], "[2 of 20 items kept]"]


def test_json_lines_stay_json_lines() -> None:
    content = content_of("json lines")
    lines = shown(content, [0, 7, 19]).splitlines()
    assert [json.loads(line) for line in lines] == [
        {"columns": ["id", "name", "open", "note"]},
        *(list(RECORDS[i].values()) for i in (0, 7, 19)),
        {"note": "3 of 20 lines kept"},
    ]


def test_long_strings_in_json_lose_sentences() -> None:
    text = json.dumps({"result": {"text": "".join(f'Point "{i}" is\\fine.\n' for i in range(40))}})
    content = route(text)
    assert content is not None
    assert len(content.nodes) == 40
    short = json.loads(shown(content, [0, 5, 6]))["result"]["text"]
    assert short.startswith(
        'Point "0" is\\fine.\n[4 of 40 sentences left out] Point "5" is\\fine.\nPoint "6"'
    )
    assert short.endswith("[33 of 40 sentences left out] ")


Plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=30),
    lambda inner: st.lists(inner, max_size=9) | st.dictionaries(st.text(max_size=5), inner, max_size=9),
    max_leaves=60,
)


@settings(max_examples=80, deadline=None)
@given(Plain, st.integers(0, 2), st.integers())
def test_any_json_stays_json(value: Any, indent: int, seed: int) -> None:
    text = json.dumps(value, indent=indent or None, ensure_ascii=seed % 2 == 0)
    content = KINDS["json"](text)
    if content is None:
        return
    rng = random.Random(seed)
    json.loads(shown(content, [i for i in range(len(content.nodes)) if rng.random() < 0.5]))


def test_a_table_keeps_its_header_and_tells_constants_once() -> None:
    rows = list(csv.reader(io.StringIO(shown(content_of("table"), [3, 5]))))
    assert rows == [
        ["region", "units", "remark"],
        ["R2", "10", "plain, row 2"],
        ["R1", "20", "plain, row 4"],
        ["[2 of 12 rows kept; in all rows: currency=EUR]"],
    ]


def test_a_log_counts_its_lines() -> None:
    content = content_of("log")
    by_worth = np.argsort(-content.prior, kind="stable")
    for count in range(1, len(by_worth) + 1):
        text = shown(content, by_worth[:count].tolist())
        assert "KeyError: 'card-7781'" in text  # errors come first, with their traces
        left_out = sum(map(int, re.findall(r"^\[(\d+) of 15 lines", text, re.MULTILINE)))
        assert left_out + sum(line[0] != "[" for line in text.splitlines()) == 15
    assert "[8 of 15 lines left out, like the one before]" in shown(content, [*by_worth[:2].tolist(), 0])


@pytest.mark.parametrize(
    "source",
    [
        CODE,
        *((ROOT / "nacrith" / p).read_text() for p in ("prompt/budget.py", "jsontext.py", "jobs/pool.py")),
    ],
    ids=["short", "budget", "jsontext", "pool"],
)
def test_python_stays_python(source: str) -> None:
    """No statement is taken from under what governs it, and no body is empty."""
    content = KINDS["code"](source)
    assert content is not None
    rng = random.Random(1)
    for share in (0.0, 0.2, 0.5, 0.8):
        for _ in range(5):
            ast.parse(shown(content, [i for i in range(len(content.nodes)) if rng.random() < share]))


def test_signatures_come_before_bodies() -> None:
    content = content_of("code")
    best = np.argsort(-content.prior, kind="stable")[:3].tolist()
    text = shown(content, best)
    assert "def merge(a, b):\n    ...  # [10 of 20 lines left out]\n" in text
    assert "    @property\n    def size(self):\n" in text


def test_a_hunk_keeps_its_header() -> None:
    content = content_of("diff")
    for i, node in enumerate(content.nodes):
        text = shown(content, [i])
        assert text.startswith("diff --git a/app/cache.py")
        lines = text.splitlines()
        if TEXTS["diff"][node.start] in "+-" and node.start > TEXTS["diff"].index("@@"):
            assert any(line.startswith("@@") for line in lines)


def test_yaml_keeps_the_keys_above() -> None:
    content = content_of("yaml")
    (side,) = [
        i for i, n in enumerate(content.nodes) if content.text[n.start : n.end].startswith("    - name: side")
    ]
    lines = shown(content, [side]).splitlines()
    places = [lines.index(line) for line in ("spec:", "  containers:", "    - name: side")]
    assert places == sorted(places)
    assert "  labels:" not in lines
    assert "# [6 of 15 lines left out]" in lines


def test_xml_stays_xml() -> None:
    content = content_of("xml")
    rng = random.Random(1)
    for _ in range(30):
        kept = [i for i in range(len(content.nodes)) if rng.random() < 0.4]
        tree = ElementTree.fromstring(shown(content, kept))
        assert len(tree) <= 12


def test_of_a_page_the_text() -> None:
    content = content_of("html")
    whole = shown(content, list(range(len(content.nodes))))
    assert " ".join(whole.split()) == "Harbour Home The harbour It was built of granite in 1871. Imprint"
    assert "The harbour" in whole.splitlines()
    best = shown(content, np.argsort(-content.prior, kind="stable")[:3].tolist())
    assert "Imprint" not in best
    assert "Home" not in best


@pytest.mark.parametrize("kind", TEXTS)
@pytest.mark.parametrize("rate", [0.5, 0.3])
@pytest.mark.parametrize("query", ["", "What of card-7781 and Hall 7?"])
def test_outputs_of_tools_meet_the_budget(kind: str, rate: float, query: str) -> None:
    """In a chat, and as a prompt of its own; the output is pieces of the input and notes."""
    compressor = PromptCompressor(tokenizer=len)
    chat = json.dumps([{"role": "tool", "content": TEXTS[kind]}, {"role": "user", "content": "Why?"}])
    for source, form in ((chat, "chat"), (TEXTS[kind], "text")):
        if (kind, rate, form) == ("diff", 0.3, "text"):  # a note alone would fit, and no change
            with pytest.raises(BudgetError) as error:
                compressor.compress(source, rate=rate, query=query)
            least = compressor.compress(source, target_tokens=error.value.smallest, query=query)
            assert "+    def size" in least.text
            continue
        result = compressor.compress(source, kind=form, rate=rate, query=query)
        assert result.limit is not None
        assert len(result.text) <= result.limit
        assert rendered(source, list(result.pieces())) == result.text
        text = json.loads(result.text)[0]["content"] if form == "chat" else result.text
        # What is done without loss is enough for a page, and for JSON at the higher rate.
        assert rate > 0.4 or kind == "html" or re.search(r"\d+ of \d+", text)
        literal = "".join(source[a:b] for a, b, inserted in result.pieces() if not inserted)
        assert literal == "".join(source[a:b] for a, b in result.to_origin(0, len(result.text)))


def test_the_query_finds_the_record() -> None:
    for kind, word in (
        ("json", "Hall 13"),
        ("json lines", "Hall 13"),
        ("table", "row 9"),
        ("xml", "Thing 8"),
    ):
        text = PromptCompressor(tokenizer=len).compress(TEXTS[kind], rate=0.3, query=f"Where is {word}?").text
        assert word in text


def test_code_beside_prose() -> None:
    """A region of a plain prompt; the request before it stays."""
    source = f"Fix the bug in this function, please, it does not work as it should:\n\n{CODE}"
    text = PromptCompressor(tokenizer=len).compress(source, rate=0.6).text
    assert text.startswith("Fix the bug in this function, please, it does not work as it should:")
    assert "left out]" in text
    ast.parse(text.partition("\n\n")[2])


def test_appended_messages_change_nothing_before() -> None:
    """Content is chosen from alone in a prefix-stable chat."""
    chat = [{"role": "tool", "content": text} for text in TEXTS.values()]
    compressor = PromptCompressor(tokenizer=len)
    rest = [{"role": "user", "content": "Which hall is closed?"}, {"role": "tool", "content": CSV}]
    short = compress_messages(chat, compressor, rate=0.4, prefix_stable=True)
    longer = compress_messages(chat + rest, compressor, rate=0.4, prefix_stable=True)
    assert longer[: len(chat)] == short
    assert all(m["content"] for m in longer)
    assert sum(len(m["content"]) for m in short) < 0.6 * sum(map(len, TEXTS.values()))


def test_few_counts_are_needed() -> None:
    """The budget is spent with guesses by the number of characters, since counting tokens takes long."""
    calls = 0

    def count(text: str) -> int:
        nonlocal calls
        calls += 1
        return len(text.split())

    text = " ".join(f"Sentence {i} tells of {'many ' * (i % 7)}things." for i in range(3000))
    result = PromptCompressor("lexrank", count).compress(text, rate=0.3)
    assert result.limit is not None
    assert result.limit - 8 <= result.compressed_tokens <= result.limit
    assert calls <= 22


def test_contexts_are_routed_and_stay_apart() -> None:
    found = compress_prompt([TEXTS["table"], TEXTS["json"], "A last one."], question="Where?", rate=0.4)
    table, halls, last = found["compressed_prompt_list"]
    assert table.startswith("region,units,remark\n")
    assert table.endswith("in all rows: currency=EUR]")
    assert "note" in json.loads(halls)["halls"]
    pieces = re.split(r"\n\n+", found["compressed_prompt"])
    assert pieces == [*filter(None, [table, halls, last]), "Where?"]


def test_windows_line_ends_give_the_same() -> None:
    for kind in ("log", "table", "code", "yaml"):
        compressor = PromptCompressor(tokenizer=len)
        plain = compressor.compress(TEXTS[kind], target_tokens=230)
        windows = compressor.compress(TEXTS[kind].replace("\n", "\r\n"), target_tokens=230)
        assert windows.text == plain.text
        assert rendered(windows.origin, list(windows.pieces())).replace("\r", "") == plain.text


def test_what_the_caller_protects_stays() -> None:
    compressor = PromptCompressor(tokenizer=len, patterns=[r"Hall 11\b"])
    assert "Hall 11" in compressor.compress(TEXTS["json"], rate=0.3).text


def test_unknown_kind() -> None:
    with pytest.raises(Exception, match="there are json"):
        route("x" * 200, "jsonn")


@pytest.mark.parametrize(
    "text",
    [
        "<!--" * 30_000,
        "<html>" + "<p" * 50_000,
        "a,b,c\n" + '"' * 100_000,
        "{" * 100_000,
        "[" * 3000 + "]" * 3000,
        "def f(" + "(" * 50_000 + "\n",
        '"""' * 30_000 + "\n",
        '{"a":"' + "\\\\" * 50_000 + '"}',
        "\n" * 50_000,
    ],
    ids=range(9),
)
def test_hostile_texts_take_linear_time(text: str) -> None:
    """These took minutes if anything were quadratic."""
    content = route(text)
    if content is None:
        assert not any(embedded(text[a:b]) for a, b in regions(text))


LONG = " ".join(f"The mayor said that point {i} is settled." for i in range(12))


def chats() -> dict[str, tuple[Any, list[tuple[str | int, ...]]]]:
    """Chats of each format, and where what a tool returned is."""
    mcp = {
        "jsonrpc": "2.0",
        "id": 4,
        "result": {"content": [{"type": "text", "text": LONG}], "isError": False},
    }
    call = {"type": "function_call", "call_id": "c1", "name": "f", "arguments": json.dumps({"q": LONG})}
    items = [
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": LONG}]},
        {"type": "reasoning", "id": "r", "summary": [], "encrypted_content": LONG},
        call,
        {"type": "function_call_output", "call_id": "c1", "output": LONG},
        {"role": "user", "content": LONG},
    ]
    gemini = {
        "systemInstruction": {"parts": [{"text": LONG}]},
        "contents": [
            {"role": "user", "parts": [{"text": LONG}]},
            {
                "role": "model",
                "parts": [{"text": "Yes.", "thoughtSignature": LONG}, {"functionCall": {"name": "f"}}],
            },
            {"role": "user", "parts": [{"functionResponse": {"name": "f", "response": {"output": LONG}}}]},
        ],
    }
    where: tuple[str | int, ...] = ("contents", 2, "parts", 0, "functionResponse", "response", "output")
    return {
        "mcp": (mcp, [("result", "content", 0, "text")]),
        "mcp result": (mcp["result"], [("content", 0, "text")]),
        "mcp list": ([mcp, mcp], [(0, "result", "content", 0, "text"), (1, "result", "content", 0, "text")]),
        "responses": (items, [(3, "output")]),
        "responses request": ({"model": "m", "instructions": LONG, "input": items}, [("input", 3, "output")]),
        "gemini": (gemini, [where]),
        "gemini contents": (gemini["contents"], [where[1:]]),
    }


@pytest.mark.parametrize("name", chats())
def test_other_chat_formats(name: str) -> None:
    """Only what tools return becomes shorter; texts of people, calls and thoughts stay."""
    chat, places = chats()[name]
    result = PromptCompressor(tokenizer=len).compress(
        json.dumps(chat), kind="chat", rates={"tool": 0.4}, prefix_stable=False
    )
    short = json.loads(result.text)
    for path in places:
        node, twin = short, chat
        for step in path[:-1]:
            node, twin = node[step], twin[step]
        assert 0 < len(node[path[-1]]) <= 0.4 * len(LONG)
        node[path[-1]] = twin[path[-1]]
    assert short == chat


def test_people_are_found_in_other_formats() -> None:
    chat, _ = chats()["responses"]
    result = PromptCompressor(tokenizer=len).compress(
        json.dumps(chat), kind="chat", rates={"user": 0.5}, prefix_stable=False
    )
    short = json.loads(result.text)
    assert len(short[0]["content"][0]["text"]) <= 0.5 * len(LONG)
    assert short[3] == chat[3]
