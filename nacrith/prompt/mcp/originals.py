"""What was cut from tool results, and the tool by which a model reads it, exactly as it was."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from nacrith.errors import PromptError
from nacrith.prompt.toolresults import Memory, Shortened

NAME, OTHER_NAME = "retrieve", "nacrith_retrieve"
"""The tool's name, and the one it has if the server in the background has a tool of the first name."""

_DIGITS = 12  # of an identifier
_LISTED = 20  # ranges that a notice names


class Original(NamedTuple):
    """A text before it was shortened, and the spans that the shorter one lacks."""

    text: str
    cuts: tuple[tuple[int, int], ...]


class Originals:
    """The texts that were shortened, by identifier; old ones are forgotten."""

    def __init__(self) -> None:
        self._memory = Memory()

    def add(self, text: str, made: Shortened) -> str:
        """Keep a text; returns its identifier, which depends on nothing else."""
        name = Memory.key(text).hex()[:_DIGITS]
        self._memory.add(name.encode(), Original(text, made.cuts), len(text))
        return name

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name.encode("utf-8", "replace") in self._memory

    def retrieve(self, arguments: Any) -> str:
        """The answer of the tool. Raises PromptError, whose message is for the model."""
        if not isinstance(arguments, dict):
            arguments = {}
        name = arguments.get("id")
        if name not in self:
            raise PromptError("there is no text with this id any more: call the tool that returned it again")
        found: Original = self._memory[name.encode()]
        start, end = (_offset(arguments.get(name), name) for name in ("start", "end"))
        if start is not None or end is not None:
            return found.text[start or 0 : len(found.text) if end is None else end]
        words = arguments.get("find")
        return found.text if words is None else _with_words(found, str(words))


def tool(name: str) -> dict[str, Any]:
    """The tool's definition."""
    offset = {"type": "integer", "minimum": 0}
    return {
        "name": name,
        "title": "Read what was left out of a tool result",
        "description": (
            "Results of the other tools may have been shortened; a note after them says so and gives an id."
            " This tool returns the exact original text: the passages that were left out and contain some"
            " words (find), a range of characters (start, end), or all of it."
        ),
        "inputSchema": {
            "type": "object",
            "properties": {
                "id": {"type": "string", "description": "The id in the note."},
                "find": {"type": "string", "description": "Words that a passage must contain."},
                "start": {**offset, "description": "First character of a range of the original."},
                "end": {**offset, "description": "End of the range."},
            },
            "required": ["id"],
        },
        "annotations": {"readOnlyHint": True, "openWorldHint": False},
    }


def notice(name: str, about: Sequence[tuple[str, str, Shortened]]) -> str:
    """What tells the model that texts were shortened.

    about: identifier, original and shorter form of each.
    """
    lines = []
    for key, text, made in about:
        ranges = [f"{a}-{b}" for a, b in made.cuts[:_LISTED]]
        ranges += ["..."] * (len(made.cuts) > _LISTED)
        cut = len(text) - len(made.text)
        lines.append(f'id "{key}": {cut} of {len(text)} characters left out: {", ".join(ranges)}')
    return f"[Shortened by nacrith; {name} returns what was left out.\n{chr(10).join(lines)}]"


def _offset(value: Any, name: str) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise PromptError(f"{name} is a number of characters, 0 or more")
    return value


def _with_words(found: Original, words: str) -> str:
    wanted = words.casefold().split()
    passages = [
        f"{a}-{b}: {found.text[a:b]}"
        for a, b in found.cuts
        if all(word in found.text[a:b].casefold() for word in wanted)
    ]
    return "\n".join(passages) or f"Nothing that was left out contains {words!r}."
