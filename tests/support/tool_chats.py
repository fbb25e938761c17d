"""Requests of an agent with tool results, in the formats of three APIs."""

from __future__ import annotations

import json
from typing import Any

LONG = " ".join(
    f"The committee of town {i} met in the large hall and spoke about the weather. "
    f"The mayor of town {i} said that its bridge will be closed."
    for i in range(20)
)


def result(i: int) -> str:
    """A long text of its own for each call."""
    return LONG.replace("town", f"village {i}")


def completions(turns: int, **call: Any) -> dict[str, Any]:
    """A request to chat completions after so many calls. call: the arguments of each."""
    messages: list[dict[str, Any]] = [
        {"role": "system", "content": LONG},
        {"role": "user", "content": "Find the bridge. " + LONG},
    ]
    for i in range(turns):
        function = {"name": "read", "arguments": json.dumps(call)}
        calls = [{"id": f"call{i}", "type": "function", "function": function}]
        messages.append({"role": "assistant", "content": None, "tool_calls": calls})
        messages.append({"role": "tool", "tool_call_id": f"call{i}", "content": result(i)})
    return {"model": "m", "messages": messages}


def messages(turns: int, marked: bool = False, error: bool = False) -> dict[str, Any]:
    """A request to Anthropic's messages. marked: with cache_control at its end."""
    out: list[dict[str, Any]] = [{"role": "user", "content": "Find the bridge. " + LONG}]
    for i in range(turns):
        call = {"type": "tool_use", "id": f"call{i}", "name": "read", "input": {"path": "x"}}
        out.append({"role": "assistant", "content": [call]})
        content = [{"type": "text", "text": result(i)}, {"type": "text", "text": "The end."}]
        block: dict[str, Any] = {"type": "tool_result", "tool_use_id": f"call{i}", "content": content}
        if error:
            block["is_error"] = True
        if marked and i == turns - 1:
            block["cache_control"] = {"type": "ephemeral"}
        out.append({"role": "user", "content": [block]})
    return {"model": "m", "max_tokens": 9, "system": LONG, "messages": out}


def responses(turns: int) -> dict[str, Any]:
    """A request to OpenAI's responses."""
    items: list[dict[str, Any]] = [{"role": "user", "content": "Find the bridge. " + LONG}]
    for i in range(turns):
        items.append({"type": "function_call", "call_id": f"call{i}", "name": "read", "arguments": "{}"})
        items.append({"type": "function_call_output", "call_id": f"call{i}", "output": result(i)})
    return {"model": "m", "input": items}
