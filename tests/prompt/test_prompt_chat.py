"""Chats are safe to shorten: what people say stays, tools' results are tools', no text becomes empty."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from prompt_texts import SAMPLES

from nacrith.errors import BudgetError, PromptError
from nacrith.prompt import Compressed, PromptCompressor, compress_messages
from nacrith.prompt.chat import FIXED, texts
from nacrith.prompt.instruction import instructions

LONG = """\
The test of the invoice total failed because the rounding is done before the discount is applied. The run \
took a while because the database had to be started first. Most of the tests in the suite passed. There were \
some warnings from the library of requests. The report was written to the folder of the build."""
ORDER = "Please fix the failing test in the billing module, but never touch the migrations, unless I say so."
OPENAI = [
    {"role": "system", "content": "Be brief, and do not say more than is asked for by the people here."},
    {"role": "user", "content": "Which of the files is the largest in the folder of the project?"},
    {"role": "tool", "tool_call_id": "a", "content": LONG},
    {
        "role": "user",
        "content": "Thanks. Now delete the smallest file, but do not touch anything else, please.",
    },
]
ANTHROPIC = {
    "system": "You are a coding agent who works in the repository of the billing service.",
    "messages": [
        {"role": "user", "content": ORDER},
        {
            "role": "assistant",
            "content": [
                {"type": "text", "text": "I will look at the output of the tests first."},
                {"type": "tool_use", "id": "t1", "name": "bash", "input": {"command": "pytest " + LONG}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "t1", "content": LONG},
                {"type": "tool_result", "tool_use_id": "t2", "content": [{"type": "text", "text": LONG}]},
            ],
        },
    ],
}


def walk(value: Any) -> Iterator[Any]:
    """All strings of a JSON value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from walk(inner)


@pytest.mark.parametrize("stable", [False, True])
@pytest.mark.parametrize("rate", [0.05, 0.2, 0.6])
def test_rates_of_tools_never_cut_people(rate: float, stable: bool) -> None:
    for chat in (OPENAI, ANTHROPIC):
        short = compress_messages(chat, PromptCompressor(), rates={"tool": rate}, prefix_stable=stable)
        old, new = list(walk(chat)), list(walk(short))
        assert len(json.dumps(short)) < len(json.dumps(chat))
        for before, after in zip(old, new, strict=True):
            assert after == before or (before == LONG and 0 < len(after) < len(LONG))


def test_a_rate_of_all_names_no_people() -> None:
    short = compress_messages(OPENAI, PromptCompressor(), rates={"*": 0.3})
    assert [m for m in short if m["role"] != "tool"] == [m for m in OPENAI if m["role"] != "tool"]
    assert short[2] != OPENAI[2]
    named = compress_messages(OPENAI, PromptCompressor(), rates={"system": 0.3, "user": 0.3})
    assert named[3] == OPENAI[3]  # the last request stays even if it is named
    assert named[2] == OPENAI[2]


def test_a_target_is_paid_by_the_machine() -> None:
    compressor = PromptCompressor(tokenizer=len)
    whole = json.dumps(OPENAI, ensure_ascii=False)
    for target in (len(whole) - 50, len(whole) - 200):
        short = compress_messages(OPENAI, compressor, target_tokens=target)
        assert len(json.dumps(short, ensure_ascii=False)) <= target
        assert [m for m in short if m["role"] != "tool"] == [m for m in OPENAI if m["role"] != "tool"]
    with pytest.raises(BudgetError) as caught:
        compress_messages(OPENAI, compressor, target_tokens=300)
    assert caught.value.smallest is not None
    compress_messages(OPENAI, compressor, target_tokens=caught.value.smallest)


def test_parts_without_a_rate_never_pay() -> None:
    """What a tool's text cannot save at its rate is not taken from the assistant's."""
    fixed = 'Do not use {"a": 1, "b": [2, 3]} in here, and never without a reason.'
    chat = [{"role": "tool", "content": fixed}, {"role": "assistant", "content": LONG}]
    result = PromptCompressor(tokenizer=len).compress(json.dumps(chat), kind="chat", rates={"tool": 0.1})
    assert json.loads(result.text) == chat
    assert result.limit is not None
    assert result.compressed_tokens <= result.limit


def test_the_last_request_stays_whole_though_results_follow() -> None:
    for rates in ({"user": 0.3}, {"user": 0.3, "tool": 0.2}):
        short = compress_messages(ANTHROPIC, PromptCompressor(), rates=rates)
        assert short["messages"][0] == ANTHROPIC["messages"][0]


def test_a_request_is_as_safe_when_later_turns_follow() -> None:
    """In the default, prefix-stable mode: what was sent as the last request stays as it was sent."""
    rates = {"system": 0.3, "user": 0.3}
    before, after = (compress_messages(OPENAI[:n], PromptCompressor(), rates=rates) for n in (4, len(OPENAI)))
    assert before[3] == after[3] == OPENAI[3]
    more = [*OPENAI, {"role": "user", "content": "And now rename it."}]
    assert compress_messages(more, PromptCompressor(), rates=rates)[3] == OPENAI[3]


def test_of_a_named_request_its_subject_may_be_cut() -> None:
    """A document that a person pasted, between what they ask for."""
    text = f"Summarise the report below in French.\n\n{LONG}\n\n{LONG}\n\nNow write it."
    chat = [{"role": "user", "content": text}]
    (short,) = compress_messages(chat, PromptCompressor(), rates={"user": 0.5}, prefix_stable=False)
    assert short["content"].startswith("Summarise the report below in French.\n")
    assert short["content"].endswith("Now write it.")
    assert len(short["content"]) <= 0.5 * len(text)


def test_a_misspelt_rate() -> None:
    source = json.dumps(OPENAI)
    with pytest.raises(PromptError, match=r"\(chat\) is called 'tol'; there is .*tool"):
        PromptCompressor().compress(source, kind="chat", rates={"tol": 0.3})
    with pytest.raises(PromptError, match=r"\(text\) is called 'tool'"):
        PromptCompressor().compress(LONG, rates={"tool": 0.3})
    with pytest.raises(PromptError, match="'Frist'"):
        PromptCompressor().compress(f"# First\n{LONG}", kind="markdown", rates={"Frist": 0.3})
    with pytest.raises(PromptError, match=r"'rows\.\*\.nte'"):
        PromptCompressor().compress(
            json.dumps({"rows": [{"note": LONG}]}), kind="json", rates={"rows.*.nte": 0.3}
        )
    PromptCompressor().compress(json.dumps({"rows": [], "x": LONG}), kind="json", rates={"rows.*.note": 0.3})


def test_a_role_that_has_not_spoken_yet() -> None:
    assert compress_messages(OPENAI[:2], PromptCompressor(), rates={"tool": 0.3}) == OPENAI[:2]


def test_byte_order_mark() -> None:
    result = PromptCompressor().compress("\ufeff" + json.dumps(OPENAI), kind="chat", rates={"tool": 0.3})
    assert json.loads(result.text)[3] == OPENAI[3]
    assert "".join(result.origin[u.start : u.end] for u in result.units if u.kept) == result.text
    assert result.origin[0] == "\ufeff"


def test_roles_of_texts() -> None:
    found = {t.path: t for t in texts(ANTHROPIC)}
    assert found[("system",)].role == "system"
    assert found[("messages", 2, "content", 0, "content")].role == "tool"
    assert found[("messages", 2, "content", 1, "content", 0, "text")].role == "tool"
    assert [t.path for t in found.values() if t.request] == [("messages", 0, "content")]


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        (f"Summarise this, without names.\n\n{LONG}\n\nThe end.", ["Summarise this, without names."]),
        (f"{LONG}\n\nWhich test failed?", ["Which test failed?"]),
        (f"Fasse den Text zusammen.\n\n{LONG}", ["Fasse den Text zusammen."]),
        (f"Résumez ce texte.\n\n{LONG}", ["Résumez ce texte."]),
        (f"请总结下面的文章。\n\n{LONG}", ["请总结下面的文章。"]),
        (f"次の文章を要約してください。\n\n{LONG}", ["次の文章を要約してください。"]),
        (f"لخص النص التالي.\n\n{LONG}", ["لخص النص التالي."]),
        (f"{LONG} Why did it fail?", ["Why did it fail?"]),
        (f"You are an expert of tests.\n\n{LONG}", ["You are an expert of tests."]),
        (f"List of tests in the suite. {LONG}\n\nHe sang \"Give me more\" again.", []),
        (f"{LONG}\n\n<|user|>\nWhich test failed?<|end|>", ["<|user|>\nWhich test failed?<|end|>"]),
        (f"{LONG}\n\n{LONG}", []),
        (LONG, []),
        ("", []),
        ("Why?", []),
    ],
)  # fmt: skip
def test_instructions_are_found(text: str, kept: list[str]) -> None:
    assert [text[a:b].strip() for a, b in instructions(text)] == kept


def test_instructions_are_kept() -> None:
    text = (
        f"Summarise the text below, without names. Do not add a title.\n\n{LONG}\n\nNow write it in French."
    )
    for scorer in ("auto", "random", "classifier"):
        for kind in ("text", "markdown"):
            short = PromptCompressor(scorer).compress(text, rate=0.4, kind=kind).text
            assert short.startswith("Summarise the text below, without names. Do not add a title.\n\n")
            assert short.endswith("Now write it in French.")
    stable = PromptCompressor().compress(text, rate=0.4, prefix_stable=True).text
    assert stable.startswith("Summarise the text below, without names. Do not add a title.\n\n")
    off = PromptCompressor("random", protect="-instruction,-negation").compress(text, rate=0.4).text
    assert not off.startswith("Summarise the text below, without names.")


words = st.sampled_from(
    [*SAMPLES.values(), LONG, ORDER, "Yes.", "ok", "{}", "", " ", "...", "🎉", "no\r\nway"]
)
spoken = st.lists(words, min_size=1, max_size=3).map(" ".join)
text_block = spoken.map(lambda t: {"type": "text", "text": t})
result_block = st.one_of(spoken, st.lists(text_block, max_size=2)).map(
    lambda c: {"type": "tool_result", "tool_use_id": "x", "content": c}
)
other_block = st.just({"type": "image", "source": {"data": LONG}})
blocks = st.lists(st.one_of(text_block, result_block, other_block), max_size=3)
message = st.fixed_dictionaries(
    {
        "role": st.sampled_from(["user", "assistant", "tool", "system", "developer"]),
        "content": st.one_of(spoken, blocks, st.none()),
    }
)
chats = st.lists(message, max_size=6)


def check_chat(chat: list[dict[str, Any]], result: Compressed, named: set[str]) -> None:
    """The shape of the chat, people's texts unless named, no text that became empty, the limit."""
    after = json.loads(result.text)

    def at(value: Any, path: tuple[str | int, ...]) -> Any:
        for step in path:
            value = value[step]
        return value

    found = texts(chat)
    for text in found:
        old, new = at(chat, text.path), at(after, text.path)
        assert bool(new.strip()) == bool(old.strip())
        if text.role in FIXED and text.role not in named:
            assert new == old
        at(after, text.path[:-1])[text.path[-1]] = old
    assert after == chat
    assert result.limit is None or result.compressed_tokens <= result.limit


@settings(max_examples=4 * settings().max_examples, deadline=None)
@example([{"role": "tool", "content": "ok"}], {"tool": 0.1}, None, "auto", True)
@given(
    chat=chats,
    rates=st.dictionaries(
        st.sampled_from(["tool", "assistant", "user", "system", "*"]), st.floats(0, 1), max_size=2
    ),
    rate=st.one_of(st.none(), st.floats(0, 1)),
    scorer=st.sampled_from(["auto", "auto", "random"]),
    stable=st.booleans(),
)
def test_random_chats(
    chat: list[dict[str, Any]], rates: dict[str, float], rate: float | None, scorer: str, stable: bool
) -> None:
    source = json.dumps(chat, ensure_ascii=bool(rates))
    result = PromptCompressor(scorer).compress(
        source, kind="chat", rate=rate, rates=rates, prefix_stable=stable
    )
    check_chat(chat, result, set(rates) - {"*"})


@settings(max_examples=150, deadline=None)
@given(chat=chats, share=st.floats(0, 1))
def test_random_chats_within_a_target(chat: list[dict[str, Any]], share: float) -> None:
    source = json.dumps(chat, ensure_ascii=False)
    target = int(share * len(source))
    compressor = PromptCompressor(tokenizer=len)
    try:
        result = compressor.compress(source, kind="chat", target_tokens=target)
    except BudgetError as error:
        target = error.smallest or 0
        result = compressor.compress(source, kind="chat", target_tokens=target)
    assert len(result.text) <= target
    check_chat(chat, result, set())
