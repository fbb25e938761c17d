"""Chats: which strings of a chat's JSON are text for the model, and whose text it is.

Supported are OpenAI's chat messages and Anthropic's messages, as a list or as an object with `messages`. A
text belongs to the role of its message, except that the result of a tool belongs to the tool, even though
Anthropic sends it in a message of the user. Everything else (arguments of calls, images, signatures,
thinking) is not text and stays unchanged. `structured` makes parts of the texts.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from nacrith.errors import PromptError

Path = tuple[str | int, ...]
"""Keys and indices from the root of the JSON to a value."""

HUMAN = frozenset({"user", "human"})
FIXED = HUMAN | {"system", "developer"}
"""Roles of people. Their texts are shortened only if a rate names the role."""

TOOL = "tool"
ROLES = FIXED | {"assistant", "ai", "model", TOOL, "function"}
"""Roles that a rate may name even if a chat has no message of them yet."""


@dataclass(frozen=True)
class Text:
    """A text of a chat. role: whose text it is. message: number of its message, -1 outside of all. request:
    whether it is part of the last request of a person."""

    path: Path
    role: str
    message: int = -1
    request: bool = False


def texts(value: Any) -> list[Text]:
    """The texts of a chat, given as parsed JSON, in no particular order."""
    found: list[Text] = []
    messages, root = value, ()  # type: Any, Path
    if isinstance(value, dict):
        messages, root = value.get("messages"), ("messages",)
        found += (Text(p, "system") for p, _ in _content(value.get("system"), ("system",), "system"))
    if not isinstance(messages, list) or not all(isinstance(m, dict) and "role" in m for m in messages):
        raise PromptError(
            'the input is no chat: a list of messages {"role": ..., "content": ...}, or an object with such'
            ' a list under "messages"'
        )
    for i, message in enumerate(messages):
        role = str(message["role"])
        places = _content(message.get("content"), (*root, i, "content"), role)
        found += (Text(path, owner, i) for path, owner in places)
    last = max((t.message for t in found if t.role.casefold() in HUMAN), default=-1)
    return [
        replace(t, request=t.message == last) if t.role.casefold() in HUMAN and t.message >= 0 else t
        for t in found
    ]


def _content(content: Any, path: Path, role: str) -> Iterator[tuple[Path, str]]:
    """(path, role) of the texts of a message's content: a string, or a list of blocks."""
    if isinstance(content, str):
        yield path, role
    elif isinstance(content, list):
        for i, block in enumerate(content):
            if isinstance(block, str):
                yield (*path, i), role
            elif isinstance(block, dict) and block.get("type") == "text":
                if isinstance(block.get("text"), str):
                    yield (*path, i, "text"), role
            elif isinstance(block, dict) and block.get("type") == "tool_result":
                yield from _content(block.get("content"), (*path, i, "content"), TOOL)
