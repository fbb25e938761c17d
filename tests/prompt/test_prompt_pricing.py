"""The bill of a conversation: what is read from the cache and written to it, and what compression does."""

from __future__ import annotations

import json
from typing import Any

import pytest
from clirunner import nacrith
from tool_chats import LONG, completions, messages, responses

from nacrith.errors import PromptError
from nacrith.prompt import PromptCompressor, compress_messages, pricing, turns
from nacrith.prompt.pricing import Bill, Price, bill, change, compare

PRICE = Price(2.0, 10.0, 0.5, 4.0)
MILLION = 1_000_000


def cost(**tokens: int) -> float:
    prices = {"fresh": 2.0, "output": 10.0, "read": 0.5, "written": 4.0}
    return sum(prices[name] * number for name, number in tokens.items()) / MILLION


def test_a_bill_reads_what_requests_have_in_common() -> None:
    requests = [["a" * 10], ["a" * 10, "b" * 5, "c" * 5], ["a" * 10, "b" * 5, "x" * 5, "y"]]
    made = bill(requests, ["b" * 5, "x"], len, PRICE, minimum=0)
    assert made == Bill(3, 0, 10 + 15, 10 + 10 + 6, 6, cost(read=25, written=26, output=6))


def test_nothing_is_cached_below_the_minimum() -> None:
    requests = [["a" * 10], ["a" * 10, "b" * 15], ["a" * 10, "b" * 15, "c"]]
    made = bill(requests, [], len, PRICE, minimum=20)
    assert made == Bill(3, 10, 25, 25 + 1, 0, cost(fresh=10, read=25, written=26))


def test_an_earlier_prompt_of_another_branch_is_read_too() -> None:
    made = bill([["a", "b"], ["a", "c"], ["a", "b", "d"]], [], len, PRICE, minimum=0)
    assert (made.read, made.written) == (1 + 2, 2 + 1 + 1)


@pytest.mark.parametrize("text", ["", "1,2,3", "1,2,3,4,5", "1,2,x,4", "1,2,-3,4", "1,2,inf,4", "1,2,nan,4"])
def test_no_price(text: str) -> None:
    with pytest.raises(PromptError, match="four numbers"):
        Price.parse(text)


def test_the_requests_that_led_to_a_chat() -> None:
    for body, name in ((completions(2), "messages"), (messages(2), "messages"), (responses(2), "input")):
        sizes = [len(request[name]) for request in turns.requests(body)]
        first = len(body[name]) - 4
        assert sizes == [first, first + 2, first + 4]
    body = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    assert list(turns.requests(body)) == [body[:1]]
    assert list(turns.requests([])) == []
    with pytest.raises(PromptError, match="list of messages"):
        list(turns.requests({"a": []}))


def test_markers_are_no_part_of_what_is_cached() -> None:
    plain, marked = messages(1), messages(1, marked=True)
    assert plain != marked
    assert turns.cached_pieces(plain) == turns.cached_pieces(marked)
    assert turns.cached_pieces(marked)[0] == LONG  # the system prompt
    assert turns.last_marker(marked["messages"]) == (2, "content", 1)
    assert turns.last_marker(marked) == ("messages", 2, "content", 1)
    assert turns.last_marker(plain) == turns.last_marker({"x": 1}) == ()
    assert turns.last_marker(["x", {"cache_control": {}}, {"content": None}]) == (2,)


@pytest.mark.parametrize(
    ("content", "expected"),
    [("a", "a"), ([{"type": "text", "text": "b"}, {"type": "image"}], "b"), ([{"type": "tool_result"}], "q")],
)
def test_the_question(content: Any, expected: str) -> None:
    body = [{"role": "user", "content": "q"}, {"role": "assistant"}, {"role": "user", "content": content}]
    assert turns.question(body) == expected
    assert turns.question([]) == ""
    assert turns.question({"contents": [{"role": "user", "parts": [{"text": "g"}]}]}) == "g"


def chat(rounds: int) -> list[dict[str, Any]]:
    """A chat in which each round has a question and a result of a tool."""
    out: list[dict[str, Any]] = []
    for i in range(rounds):
        out.append({"role": "user", "content": f"What of village {i}?"})
        out.append({"role": "assistant", "content": "I look.", "tool_calls": []})
        out.append({"role": "tool", "tool_call_id": str(i), "content": LONG.replace("town", f"village {i}")})
        out.append({"role": "assistant", "content": "It is closed."})
    return out


def bills(query: str, **options: Any) -> float:
    compressor = PromptCompressor("lexrank", retain="with_sentence")

    def shorten(source: str, asked: str) -> str:
        return compressor.compress(source, query=asked, kind="chat", rates={"tool": 0.4}, **options).text

    price = Price(3, 15, 0.3, 3.75)
    return change(*compare(json.dumps(chat(6)), shorten, query, pricing.estimate, price))


def test_chats_are_stable_by_default_and_a_changing_query_is_dear() -> None:
    assert bills("") < -20
    assert bills("the bridge") > 0


def test_appended_messages_leave_the_output_for_earlier_ones() -> None:
    compressor = PromptCompressor("lexrank", retain="with_sentence")
    before: list[dict[str, Any]] = []
    for rounds in (1, 2, 3):
        body = chat(rounds)
        made = compress_messages(body, compressor, rates={"tool": 0.4})
        assert made[: len(before)] == before
        assert [m for m in made if m["role"] == "user"] == [m for m in body if m["role"] == "user"]
        assert len(made[2]["content"]) < 0.5 * len(body[2]["content"])
        before = made


def test_what_is_counted_grows_with_the_chat_and_not_faster() -> None:
    counted: list[int] = []

    def count(text: str) -> int:
        counted.append(len(text))
        return -(-len(text) // 4)  # tokens of parts do not add up

    totals = []
    for rounds in (8, 16):
        counted.clear()
        source = json.dumps(chat(rounds))
        result = PromptCompressor("truncate", count).compress(source, kind="chat", rates={"tool": 0.4})
        assert result.limit is not None
        assert result.compressed_tokens <= result.limit <= 0.8 * result.origin_tokens
        totals.append(sum(counted) / len(source))
    assert totals[1] < 1.2 * totals[0]


def test_what_lies_before_a_marker_stays_where_later_messages_count() -> None:
    body = messages(3)["messages"]
    body[4]["content"][0]["cache_control"] = {"type": "ephemeral"}
    compressor = PromptCompressor("lexrank", retain="with_sentence")
    made = compress_messages(body, compressor, rates={"tool": 0.4}, prefix_stable=False)
    assert made[:5] == body[:5]
    assert len(json.dumps(made[6])) < 0.6 * len(json.dumps(body[6]))


def test_the_command_shows_the_bill_and_warns() -> None:
    options = ("prompt", "--input", "chat", "--part-rate", "tool=0.4", "--scorer", "lexrank")
    options += ("--retain", "with_sentence")
    source = json.dumps(chat(6)).encode()
    done = nacrith(*options, "--price", "3,15,0.3,3.75", stdin=source)
    assert done.code == 0
    assert "requests         12\n" in done.err
    assert "costs more" not in done.err
    dear = nacrith(*options, "--price", "3,15,0.3,3.75", "--query", "the bridge", stdin=source)
    assert dear.code == 0
    assert "compression costs more than it saves: +" in dear.err
    assert "no use" in nacrith(*options, "--query", "the bridge", stdin=source).err
    assert nacrith(*options, "--query", "x", stdin=json.dumps(chat(1)).encode()).err == ""


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--price", "3,15,0.3,3.75"), "needs --input chat"),
        (("--input", "chat", "--price", "3"), "four numbers"),
    ],
)
def test_mistakes(options: tuple[str, ...], words: str) -> None:
    done = nacrith("prompt", *options, stdin=b"[]")
    assert done.code == 1
    assert done.said(words)
