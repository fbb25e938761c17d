"""Agent loops for `bench.prompts.bill`: made up, each from its seed, as requests to a model's API.

A loop has a system prompt with tools, a task, and turns in which the model says a little, calls one to three
tools and gets their results: pages of prose, logs, JSON, program text, short answers. Sizes are log-normal,
with a median of about 4,000 characters.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from typing import Any

_WORDS = """
account bridge branch budget cache client committee config contract council customer database delivery
department deployment device document engine error event failure feature file finding handler house index
invoice item journal kernel label lawyer ledger letter library license market matter member memory
message meeting method migration minister model module network number object office order package parser
payment pipeline planet policy process product project query queue record region release report request
response result river schedule server service session signal source station storage street student system
table target teacher thread ticket token town train transfer user valley value vendor version village
worker
"""
_VERBS = """
accepts affects builds changes checks closes contains covers creates describes discards explains follows
handles includes keeps leaves loads marks needs opens parses prevents produces reads refuses replaces
reports requires returns sends shows starts stores supports takes updates uses validates wants writes
"""
WORDS, VERBS = _WORDS.split(), _VERBS.split()
JOINS = ("because", "although", "while", "so that", "when", "if", "unless", "before", "after")

Pages = Sequence[str]


def _clause(rng: random.Random) -> str:
    a, b, c = rng.sample(WORDS, 3)
    return f"the {a} {rng.choice(VERBS)} the {b} of the {c}"


def _sentence(rng: random.Random) -> str:
    text = _clause(rng)
    if rng.random() < 0.6:
        text += f" {rng.choice(JOINS)} {_clause(rng)}"
    if rng.random() < 0.2:
        text += f" in {rng.randint(1950, 2026)}"
    return text[0].upper() + text[1:] + "."


def _prose(rng: random.Random, size: int, pages: Pages) -> str:
    out: list[str] = []
    while sum(map(len, out)) < size:
        made = " ".join(_sentence(rng) for _ in range(rng.randint(2, 7)))
        out.append(rng.choice(pages) if pages else made)
    return "\n\n".join(out)


def _log(rng: random.Random, size: int, _: Pages) -> str:
    levels, second, out = ("INFO", "INFO", "INFO", "DEBUG", "WARN", "ERROR"), 0, [""]
    while len(out) * 80 < size:
        second += rng.randint(0, 3)
        stamp = f"2026-11-28T10:{second // 60 % 60:02}:{second % 60:02}Z"
        out.append(
            f"{stamp} {rng.choice(levels)} {rng.choice(WORDS)}: {_clause(rng)} ({rng.randint(1, 999)} ms)"
        )
    return "\n".join(out[1:])


def _records(rng: random.Random, size: int, _: Pages) -> str:
    rows = [
        {"id": rng.randint(1, 10**6), "name": rng.choice(WORDS), "state": rng.choice(("open", "done")),
         "description": " ".join(_sentence(rng) for _ in range(rng.randint(1, 4)))}
        for _ in range(max(1, size // 250))
    ]  # fmt: skip
    return json.dumps({"total": len(rows), "items": rows}, indent=rng.choice((None, 2)))


def _program(rng: random.Random, size: int, _: Pages) -> str:
    out: list[str] = []
    while sum(map(len, out)) < size:
        name, a, b = rng.sample(WORDS, 3)
        out.append(
            f"def {name}_{rng.randint(1, 99)}({a}, {b}=None):\n    # {_sentence(rng)}\n    if {b} is None:\n"
            f"        return {a}\n    for {b} in {a}.{rng.choice(WORDS)}s:\n        {a}.update({b})\n"
            f"    return {a}\n"
        )
    return "\n".join(out)


def _short(rng: random.Random, _: int, __: Pages) -> str:
    return f"Done: {_clause(rng)}."


_KINDS: dict[Callable[[random.Random, int, Pages], str], int] = {
    _prose: 50, _log: 15, _records: 15, _program: 10, _short: 10
}  # fmt: skip


def loop(seed: int, turns: int, pages: Pages = ()) -> list[dict[str, Any]]:
    """The requests of a loop, in order. Odd seeds give Anthropic's format, even ones OpenAI's."""
    rng = random.Random(seed)
    anthropic = bool(seed % 2)
    tools = [
        {"name": word, "description": _prose(rng, 300, ()), "input_schema": {"type": "object"}}
        for word in rng.sample(WORDS, rng.randint(3, 20))
    ]
    system, task = _prose(rng, rng.randint(500, 9000), ()), _prose(rng, rng.randint(50, 900), ())
    messages: list[dict[str, Any]] = [] if anthropic else [{"role": "system", "content": system}]
    messages.append({"role": "user", "content": task})
    head = {"model": "m", "tools": tools, **({"system": system} if anthropic else {})}
    out = []
    for turn in range(turns):
        out.append({**head, "messages": [*messages]})
        results = [_result(rng, pages) for _ in range(rng.choice((1, 1, 1, 2, 3)))]
        add = _anthropic_turn if anthropic else _openai_turn
        messages += add(rng, turn, results)
        if rng.random() < 0.1:
            messages.append({"role": "assistant", "content": _prose(rng, 300, ())})
            messages.append({"role": "user", "content": _prose(rng, 100, ())})
    return [*out, {**head, "messages": messages}]


def _result(rng: random.Random, pages: Pages) -> str:
    make = rng.choices(list(_KINDS), list(_KINDS.values()))[0]
    return make(rng, min(40_000, int(rng.lognormvariate(8.3, 0.8))), pages)


def _openai_turn(rng: random.Random, turn: int, results: list[str]) -> list[dict[str, Any]]:
    calls = [
        {"id": f"call_{turn}_{i}", "type": "function",
         "function": {"name": rng.choice(WORDS), "arguments": json.dumps({"path": _clause(rng)})}}
        for i in range(len(results))
    ]  # fmt: skip
    said = {"role": "assistant", "content": _prose(rng, 150, ()), "tool_calls": calls}
    found = zip(calls, results, strict=True)
    return [said, *({"role": "tool", "tool_call_id": call["id"], "content": text} for call, text in found)]


def _anthropic_turn(rng: random.Random, turn: int, results: list[str]) -> list[dict[str, Any]]:
    calls = [
        {
            "type": "tool_use",
            "id": f"call_{turn}_{i}",
            "name": rng.choice(WORDS),
            "input": {"path": _clause(rng)},
        }
        for i in range(len(results))
    ]
    said = [{"type": "text", "text": _prose(rng, 150, ())}, *calls]
    found = [
        {"type": "tool_result", "tool_use_id": call["id"], "content": text}
        for call, text in zip(calls, results, strict=True)
    ]
    return [{"role": "assistant", "content": said}, {"role": "user", "content": found}]
