"""Finds what tools returned in a request to a model: OpenAI's chat completions and responses, Anthropic's
messages.

`structured` finds the texts of all roles in a chat that one wants shortened. The proxy changes what tools
returned and nothing else, and needs to know more: which call a text answers, and whether the model has
answered it already.

https://platform.openai.com/docs/api-reference/chat, https://platform.openai.com/docs/api-reference/responses,
https://docs.anthropic.com/en/api/messages
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from nacrith.errors import PromptError
from nacrith.prompt.toolresults import query_of
from nacrith.prompt.turns import is_output, items

Path = tuple[str | int, ...]


class Place(NamedTuple):
    """A text that a tool returned. path: to the string in the request. call: the identifier of the call.
    answered: whether the model's output follows, so that the text was sent before. query: what the call
    asked for, or ""."""

    path: Path
    call: str
    text: str
    answered: bool
    query: str


def tool_texts(body: Any) -> list[Place]:
    """The texts of tools in a request, in order. A text of an error is not among them."""
    try:
        name, found = items(body)
    except PromptError:
        return []
    root: Path = () if name is None else (name,)
    last = max((i for i, item in enumerate(found) if is_output(item)), default=-1)
    queries: dict[str, str] = {}
    out = []
    for i, item in enumerate(found):
        if not isinstance(item, Mapping):
            continue
        queries.update(_calls(item))
        for path, call, text in _texts(item):
            out.append(Place((*root, i, *path), call, text, i < last, queries.get(call, "")))
    return out


def _texts(item: Mapping[str, Any]) -> Iterator[tuple[Path, str, str]]:
    """Path within the message or item, call and text of what tools returned in it."""
    if item.get("role") in ("tool", "function"):
        yield from _content(item, "content", (), item.get("tool_call_id") or item.get("name"))
    elif str(item.get("type")).endswith("_call_output"):
        yield from _content(item, "output", (), item.get("call_id"))
    content = item.get("content")
    for j, block in enumerate(content if isinstance(content, list) else ()):
        if isinstance(block, Mapping) and block.get("type") == "tool_result" and not block.get("is_error"):
            yield from _content(block, "content", ("content", j), block.get("tool_use_id"))


def _content(block: Mapping[str, Any], key: str, above: Path, call: Any) -> Iterator[tuple[Path, str, str]]:
    content = block.get(key)
    if isinstance(content, str):
        yield (*above, key), str(call), content
    for k, part in enumerate(content if isinstance(content, list) else ()):
        if isinstance(part, Mapping) and part.get("type") in ("text", "input_text", "output_text"):
            text = part.get("text")
            if isinstance(text, str):
                yield (*above, key, k, "text"), str(call), text


def _calls(item: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Identifier and query of the calls in what the model said."""
    calls = item.get("tool_calls")
    for call in calls if isinstance(calls, list) else ():
        if isinstance(call, Mapping) and isinstance(function := call.get("function"), Mapping):
            yield str(call.get("id")), query_of(function.get("arguments"))
    if item.get("type") == "function_call":
        yield str(item.get("call_id")), query_of(item.get("arguments"))
    content = item.get("content")
    for block in content if isinstance(content, list) else ():
        if isinstance(block, Mapping) and block.get("type") == "tool_use":
            yield str(block.get("id")), query_of(block.get("input"))
