"""Chats in other formats than messages: OpenAI's Responses, Gemini, results of MCP tools.

Each function gives the texts of a format as `chat.Text`, or None for a value of another format. As in
`chat`, what a tool returns belongs to the tool, whoever sends it; calls, thoughts, signatures, images and
identifiers are not text.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from nacrith.prompt import chat
from nacrith.prompt.chat import HUMAN, TOOL, Path, Text

_OUTPUTS = frozenset(
    (
        "function_call_output",
        "custom_tool_call_output",
        "local_shell_call_output",
        "shell_call_output",
        "mcp_call",
    )
)
_ITEMS = _OUTPUTS | {
    "message",
    "reasoning",
    "function_call",
    "custom_tool_call",
    "item_reference",
    "web_search_call",
    "file_search_call",
    "computer_call",
    "computer_call_output",
    "code_interpreter_call",
    "image_generation_call",
}
_TEXTS = frozenset(("text", "input_text", "output_text", "summary_text"))
_RESPONSES = ("functionResponse", "function_response")
_INSTRUCTIONS = ("systemInstruction", "system_instruction")


def texts_of_chat(value: Any) -> list[Text]:
    """The texts of a chat in any format, of this module or of `chat`. Raises PromptError if it is no chat."""
    found = texts(value)
    return chat.texts(value) if found is None else found


def texts(value: Any) -> list[Text] | None:
    """The texts of a chat in one of the formats of this module, given as parsed JSON; None for another."""
    for read in (gemini, mcp, responses):
        found = read(value)
        if found is not None:
            last = max((t.message for t in found if t.role.casefold() in HUMAN), default=-1)
            return [replace(t, request=True) if _asks(t, last) else t for t in found]
    return None


def _asks(text: Text, last: int) -> bool:
    return text.message == last >= 0 and text.role.casefold() in HUMAN


def responses(value: Any) -> list[Text] | None:
    """OpenAI's Responses: a list of items, a request with `input`, or a response with `output`."""
    items, root = value, ()  # type: Any, Path
    found: list[Text] = []
    if isinstance(value, Mapping):
        name = "input" if "input" in value else "output"
        items, root = value.get(name), (name,)
        if isinstance(items, str) and "messages" not in value:
            items, found = [], [Text(root, "user", 0)]
        elif not isinstance(items, list):
            return None
        if isinstance(value.get("instructions"), str):
            found.append(Text(("instructions",), "system"))
    elif not isinstance(value, list) or not any(_is_item(i) for i in value):
        return None
    if not all(_is_item(i) or (isinstance(i, Mapping) and "role" in i) for i in items):
        return None
    for n, item in enumerate(items):
        if "role" in item:
            found += (
                Text(p, str(item["role"]), n) for p in _blocks(item.get("content"), (*root, n, "content"))
            )
        elif item["type"] in _OUTPUTS:
            found += (Text(p, TOOL, n) for p in _blocks(item.get("output"), (*root, n, "output")))
    return found


def _is_item(value: Any) -> bool:
    return isinstance(value, Mapping) and value.get("type") in _ITEMS


def gemini(value: Any) -> list[Text] | None:
    """Gemini: an object with `contents`, or a list of contents, which have `parts`."""
    contents, root = value, ()  # type: Any, Path
    found: list[Text] = []
    if isinstance(value, Mapping):
        contents, root = value.get("contents"), ("contents",)
        for name in _INSTRUCTIONS:
            told = value.get(name)
            parts = told.get("parts") if isinstance(told, Mapping) else None
            found += (Text(p, "system") for p, _ in _parts(parts, (name, "parts"), "system"))
    if not isinstance(contents, list) or not contents:
        return None
    if not all(isinstance(c, Mapping) and isinstance(c.get("parts"), list) for c in contents):
        return None
    for n, content in enumerate(contents):
        role = str(content.get("role", "user"))
        found += (Text(p, who, n) for p, who in _parts(content["parts"], (*root, n, "parts"), role))
    return found


def _parts(parts: Any, path: Path, role: str) -> Iterator[tuple[Path, str]]:
    """(path, role) of the texts of Gemini's parts."""
    for n, part in enumerate(parts if isinstance(parts, list) else ()):
        if not isinstance(part, Mapping) or part.get("thought") is True:
            continue
        if isinstance(part.get("text"), str):
            yield (*path, n, "text"), role
        for name in _RESPONSES:
            if isinstance(part.get(name), Mapping):
                inner = part[name].get("response")
                yield from ((p, TOOL) for p in _strings(inner, (*path, n, name, "response")))


def mcp(value: Any) -> list[Text] | None:
    """MCP: the result of a tool, alone or in a JSON-RPC response, or a list of such responses."""
    if isinstance(value, list):
        if not value or not all(isinstance(v, Mapping) and "jsonrpc" in v for v in value):
            return None
        every = [mcp(v) or [] for v in value]
        return [replace(t, path=(n, *t.path), message=n) for n, found in enumerate(every) for t in found]
    if not isinstance(value, Mapping) or "role" in value:
        return None
    result, root = (value["result"], ("result",)) if "result" in value else (value, ())  # type: Any, Path
    content = result.get("content") if isinstance(result, Mapping) else None
    if not isinstance(content, list) or not all(isinstance(b, Mapping) and "type" in b for b in content):
        return [] if "jsonrpc" in value else None
    return [Text(p, TOOL, 0) for p in _blocks(content, (*root, "content"))]


def _blocks(content: Any, path: Path) -> Iterator[Path]:
    """The paths of the texts in a string, or in a list of blocks."""
    if isinstance(content, str):
        yield path
    for n, block in enumerate(
        content if isinstance(content, Sequence) and not isinstance(content, str) else ()
    ):
        if not isinstance(block, Mapping):
            continue
        if block.get("type") in _TEXTS and isinstance(block.get("text"), str):
            yield (*path, n, "text")
        resource = block.get("resource")
        if isinstance(resource, Mapping) and isinstance(resource.get("text"), str):
            yield (*path, n, "resource", "text")
        for name in ("stdout", "stderr"):  # of a shell call
            if isinstance(block.get(name), str):
                yield (*path, n, name)


def _strings(value: Any, path: Path) -> Iterator[Path]:
    """The paths of all strings in a value. The parser limits its depth."""
    stack = [(value, path)]
    while stack:
        node, at = stack.pop()
        if isinstance(node, str):
            yield at
        elif isinstance(node, Mapping):
            stack += ((inner, (*at, key)) for key, inner in node.items())
        elif isinstance(node, list):
            stack += ((inner, (*at, n)) for n, inner in enumerate(node))
