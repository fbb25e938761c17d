"""A request to a model as a list of messages: who said what, the requests that led to it, and cache markers.

`structured` finds the texts in a chat that may be shortened; here whole messages matter, since a provider
caches prompts by them. Known are the requests of OpenAI (chat completions and responses), Anthropic and
Gemini.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from nacrith.errors import PromptError
from nacrith.prompt import chat, formats

MARKER = "cache_control"
"""The key by which a request to Anthropic says up to where it is to be cached."""

_LISTS = ("messages", "input", "contents")
_HEAD = ("tools", "system", "systemInstruction", "instructions")  # in the order in which they are cached
_OUTPUT = ("function_call", "reasoning")  # items of a response that have no role


def items(body: Any) -> tuple[str | None, list[Any]]:
    """The messages or items of a request, and the key that has them; None if `body` is the list itself.

    Raises PromptError if it has none.
    """
    if isinstance(body, list):
        return None, body
    for name in _LISTS if isinstance(body, Mapping) else ():
        if isinstance(body.get(name), list):
            return name, body[name]
    raise PromptError('there is no list of messages: a chat has one, or an object with one under "messages"')


def is_output(item: Any) -> bool:
    """Whether a message or item is what the model said."""
    if not isinstance(item, Mapping):
        return False
    return item.get("role") in ("assistant", "model") or item.get("type") in _OUTPUT


def requests(body: Any) -> Iterator[Any]:
    """The requests that led to a chat: for each answer of the model, and for the one still to come, all that
    was sent. Raises PromptError if it is no chat."""
    name, found = items(body)
    ends = [i for i, item in enumerate(found) if is_output(item) and i and not is_output(found[i - 1])]
    if found and not is_output(found[-1]):
        ends.append(len(found))
    for end in ends:
        yield found[:end] if name is None else {**body, name: found[:end]}


def cached_pieces(body: Any) -> list[Any]:
    """What a request consists of, in the order in which it is cached: tools, instructions, messages. Markers
    are left out, since they are not part of what is cached."""
    name, found = items(body)
    head = [] if name is None else [body[key] for key in _HEAD if body.get(key)]
    return [_without_markers(piece) for piece in [*head, *found]]


def _without_markers(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _without_markers(inner) for key, inner in value.items() if key != MARKER}
    return [_without_markers(inner) for inner in value] if isinstance(value, list) else value


def last_marker(body: Any) -> tuple[str | int, ...]:
    """A path that is above those of all texts of messages up to the last cache marker, () without one."""
    try:
        name, found = items(body)
    except PromptError:
        return ()
    root: tuple[str | int, ...] = () if name is None else (name,)
    for index in range(len(found) - 1, -1, -1):
        message = found[index]
        if not isinstance(message, Mapping):
            continue
        if MARKER in message:
            return (*root, index + 1)
        content = message.get("content")
        blocks = content if isinstance(content, list) else []
        for number in range(len(blocks) - 1, -1, -1):
            if isinstance(blocks[number], Mapping) and MARKER in blocks[number]:
                return (*root, index, "content", number + 1)
    return ()


def question(body: Any) -> str:
    """The last text of a person in a request, or "". Raises PromptError if it is no chat."""
    texts = [t for t in formats.texts_of_chat(body) if t.role.casefold() in chat.HUMAN]
    if not texts:
        return ""
    value = body
    for step in max(texts, key=lambda text: (text.message, text.path)).path:
        value = value[step]
    return str(value)
