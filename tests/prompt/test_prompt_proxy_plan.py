"""What the proxy makes of a request: only tool results change, and what was sent before never does."""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from paths import ROOT
from tool_chats import LONG, completions, messages, responses, result

from nacrith import jsontext
from nacrith.prompt.proxy.places import tool_texts
from nacrith.prompt.proxy.plan import ANTHROPIC, CACHE_MINIMUM, CHARS_PER_TOKEN, OPENAI, Planner
from nacrith.prompt.toolresults import Memory, ToolResults, is_program

SOURCE = Path(__file__).read_text()
SPLIT = SOURCE.splitlines(keepends=True)
RESULTS = ToolResults()  # remembers what it shortened, so that the tests are fast


def planner(minimum: int | None = 0) -> Planner:
    return Planner(RESULTS, minimum)


def sent(plans: Planner, body: Any, api: str = OPENAI) -> Any:
    """What the proxy sends for a request."""
    plan = plans.plan(json.dumps(body).encode(), api)
    plans.keep(plan)
    return json.loads(plan.body)


def texts(body: Any) -> list[str]:
    return [place.text for place in tool_texts(body)]


def without_texts(body: Any) -> Any:
    body = copy.deepcopy(body)
    for place in tool_texts(body):
        node = body
        for step in place.path[:-1]:
            node = node[step]
        node[place.path[-1]] = ""
    return body


@pytest.mark.parametrize("make", [completions, messages, responses])
def test_only_tool_results_change(make: Any) -> None:
    body = make(1)
    made = sent(planner(), body)
    assert without_texts(made) == without_texts(body)
    assert texts(body)[0] == result(0)
    assert len(texts(made)[0]) < 0.5 * len(result(0))
    assert texts(made)[1:] == texts(body)[1:]  # short


@pytest.mark.parametrize(
    ("make", "name"), [(completions, "messages"), (messages, "messages"), (responses, "input")]
)
def test_what_was_sent_is_sent_again(make: Any, name: str) -> None:
    plans = planner()
    before: list[Any] = []
    for turns in range(1, 6):
        made = sent(plans, make(turns))[name]
        assert made[: len(before)] == before
        assert len(texts({name: made})[-1]) < len(LONG)
        before = made


def test_what_others_have_sent_stays() -> None:
    plans = planner()
    made = sent(plans, completions(3))
    assert [len(t) < 0.5 * len(LONG) for t in texts(made)] == [False, False, True]
    again = sent(plans, completions(4))
    assert texts(again)[:3] == texts(made)
    assert len(texts(again)[3]) < 0.5 * len(LONG)


def test_results_of_parallel_calls_are_all_new() -> None:
    body = completions(2)
    first, second = body["messages"][2], body["messages"].pop(4)
    first["tool_calls"] += second["tool_calls"]
    assert all(len(t) < 0.5 * len(LONG) for t in texts(sent(planner(), body)))


def test_the_same_call_again_gets_all() -> None:
    plans = planner()
    first = sent(plans, completions(1))
    assert re.search(r"\n\[Shortened: \d+ of 2859 characters left out.*\]$", texts(first)[0])
    body = completions(2)
    body["messages"][5]["content"] = body["messages"][3]["content"]
    assert texts(sent(plans, body)) == [texts(first)[0], result(0)]
    body["messages"] += completions(3)["messages"][6:]
    assert texts(sent(plans, body))[:2] == [texts(first)[0], result(0)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (SOURCE, True),
        ("\n".join(f"{i:6}\u2192{line}" for i, line in enumerate(SOURCE.split("\n"))), True),
        ((ROOT / "codecs" / "api.cpp").read_text(), True),
        (
            f"diff --git a/x b/x\n--- a/x\n+++ b/x\n@@ -1,20 +1,21 @@\n+new\n{' '.join(['', *SPLIT[:20]])}",
            True,
        ),
        (LONG, False),
        (LONG.replace(". ", ".\n"), False),
        ("\n".join(f"2026-11-28 INFO request {i} took 5 ms" for i in range(9)), False),
        ("\n".join(json.dumps({"a": i}) for i in range(9)), False),
        ("", False),
    ],
)
def test_programs_are_recognised_and_stay(text: str, expected: bool) -> None:
    assert is_program(text) == expected
    if expected:
        assert ToolResults(minimum=1).shorten(text * 9) is None


def test_a_plan_counts_only_if_it_was_kept() -> None:
    plans = planner()
    data = json.dumps(completions(1)).encode()
    assert plans.plan(data).body != data  # given up, and so the original was sent
    assert texts(sent(plans, completions(2)))[0] == result(0)


def test_the_form_belongs_to_the_call() -> None:
    plans = planner(minimum=10**9)
    sent(plans, completions(1))
    plans._minimum = 0
    body = completions(2)
    body["messages"][5]["content"] = body["messages"][3]["content"]
    first, second = texts(sent(plans, body))
    assert first == result(0)
    assert len(second) < 0.5 * len(first)


@pytest.mark.parametrize("body", [messages(1, error=True), {"model": "m"}, {"messages": 5}, [], "x"])
def test_requests_that_stay_the_very_same_object(body: Any) -> None:
    data = json.dumps(body).encode()
    assert planner().plan(data).body is data


def test_the_query_of_a_call_counts() -> None:
    made = texts(sent(planner(), completions(1, query="Which bridge will be closed?")))[0]
    other = texts(sent(planner(), completions(1)))[0]
    assert made.count("bridge") > other.count("bridge")


def test_white_space_escapes_and_numbers_stay() -> None:
    text = json.dumps(LONG)[1:-1]
    head = b'{ "temperature":1.10,\n "top_p": 1E400, "messages" : [ {"role":"tool" , "name":"\\u0061",'
    tail = b'} , {"role": "user", "content": "\\u00e4 \xc3\xa4"} ] }\n'
    made = planner().plan(head + b'"content":"' + text.encode() + b'"' + tail).body
    assert made.startswith(head)
    assert made.endswith(tail)
    assert len(made) < len(head) + len(tail) + 0.5 * len(LONG)


@pytest.mark.parametrize(
    ("api", "marked", "needed"),
    [(OPENAI, False, 1024), (ANTHROPIC, True, 4096), (ANTHROPIC, False, 0)],
)
def test_nothing_is_shortened_below_what_is_cached(api: str, marked: bool, needed: int) -> None:
    assert needed in (0, CACHE_MINIMUM[api])
    plans = planner(None)
    for turns in range(1, 9):
        body = messages(turns, marked)
        made = sent(plans, body, api)
        size = len(json.dumps(made))
        if len(json.dumps(body)) < CHARS_PER_TOKEN[api] * needed:
            assert made == body
        else:
            assert size >= CHARS_PER_TOKEN[api] * needed
    assert len(json.dumps(made)) < len(json.dumps(body)) - 0.4 * len(LONG)


@pytest.mark.parametrize("data", [b"{", b"\xff", b'{"a": 1, "a": 2}', b"[" * 100_000])
def test_what_is_no_json_is_an_error_that_the_proxy_catches(data: bytes) -> None:
    with pytest.raises((jsontext.JsonError, UnicodeDecodeError)):
        planner().plan(data)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=9) | st.just(LONG),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["role", "content", "type", "text", "tool_use_id", "output", "call_id", "tool_calls"]
            ),
            inner
            | st.sampled_from(["tool", "tool_result", "assistant", "user", "function_call_output", "text"]),
            max_size=4,
        )
    ),
    max_leaves=12,
)


@settings(max_examples=150, deadline=None)
@given(st.lists(JSON, max_size=5), st.sampled_from(["messages", "input"]))
def test_any_request_keeps_all_but_tool_results(items: list[Any], name: str) -> None:
    body = {name: items}
    made = sent(planner(), body)
    assert without_texts(made) == without_texts(body)
    assert all(text for text, old in zip(texts(made), texts(body), strict=True) if old)


# --- memory and patience -------------------------------------------------------------------------------


def test_memory_forgets_the_oldest() -> None:
    memory = Memory(1000)
    keys = [Memory.key(str(i)) for i in range(4)]
    for i, key in enumerate(keys[:3]):
        memory.add(key, i, 200)
    assert memory[keys[0]] == 0  # used, so the second is now the oldest
    memory.add(keys[3], 3, 200)
    assert [key in memory for key in keys] == [True, False, True, True]
    memory.add(keys[3], None, 5000)
    assert memory[keys[3]] is None
    assert keys[0] not in memory


def test_keys_do_not_run_together() -> None:
    assert Memory.key("a", "bc") != Memory.key("ab", "c")
