"""Structured prompts: separates the text that may be shortened from syntax.

JSON is shortened only inside its strings, between characters and never inside an escape sequence, so the
output is valid JSON with the same keys, numbers and structure. Chat messages (OpenAI and Anthropic) are
JSON in which only the text of messages may be shortened; system messages and the last user message stay
unchanged. In Markdown, headings and front matter stay unchanged.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from nacrith import jsontext
from nacrith.errors import PromptError
from nacrith.prompt.document import Contract, Document, Part

INPUTS = ("text", "markdown", "json", "chat")
"""Kinds of input. "text" is one part, or in prefix-stable mode one for each paragraph."""

Rates = Mapping[str, float]

_TOKEN = re.compile(r'"((?:[^"\\]|\\.)*)"|[{}\[\],:]|[^\s{}\[\],:"]+', re.DOTALL)
_ESCAPE = re.compile(
    r"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|\\u[0-9a-fA-F]{4}|\\.|.", re.DOTALL
)
_HEADING = re.compile(r"(?m)^#{1,6}[ \t]+(.*?)[ \t]*#*[ \t]*$")
_FRONT = re.compile(r"---[ \t]*\n.*?\n---[ \t]*(?:\n|\Z)", re.DOTALL)
_FENCE = re.compile(r"(?ms)^[ \t]*(?P<fence>`{3,}|~{3,}).*?(?:^[ \t]*(?P=fence)[`~]*[ \t]*$|\Z)")
_PARAGRAPH_END = re.compile(r"\n[ \t]*\n")  # not all white space: more may follow
_SHORT = 8  # a JSON string of fewer units is a value, not prose
_FIXED_ROLES = frozenset({"system", "developer"})


class JsonString(NamedTuple):
    """A string value: the keys and indices of its path, and its offsets in the source, without the
    quotes."""

    path: tuple[str | int, ...]
    start: int
    end: int


def build(
    source: str, kind: str, contract: Contract, rates: Rates | None = None, stable: bool = False
) -> Document:
    """The document of a source of one of INPUTS.

    rates: the fraction to keep for parts whose label matches (a role, a heading, a JSON path; with the
    wildcards * and ?); 1 keeps a part unchanged. stable: no paragraph depends on the text after it.
    """
    rates = rates or {}
    if kind == "text":
        parts = [Part(0, len(source), source, contract=contract)]
    elif kind == "markdown":
        parts = list(_markdown(source, contract))
    elif kind == "json":
        parts = [_string_part(source, s, label(s.path), contract) for s in _strings(source)]
        parts = [p for p in parts if len(p.passage) >= _SHORT or _rate(p.label, rates) is not None]
    elif kind == "chat":
        parts = list(_chat(source, contract, rates, stable))
    else:
        raise PromptError(f"no kind of input is called {kind!r}; there are {', '.join(INPUTS)}")
    if stable:
        parts = [piece for part in parts for piece in paragraphs(part)]
    rated = [replace(p, rate=_rate(p.label, rates)) for p in parts]
    return Document(source, [p for p in rated if p.rate != 1.0 and p.text])


def paragraphs(part: Part) -> Iterator[Part]:
    """The paragraphs of a part, each with the blank line after it; code fences are not divided."""
    fences = [m.span() for m in _FENCE.finditer(part.text)]
    cuts = [0]
    for match in _PARAGRAPH_END.finditer(part.text):
        if not any(a < match.start() < b for a, b in fences) and match.end() < len(part.text):
            cuts.append(match.end())
    for a, b in pairwise([*cuts, len(part.text)]):
        start, end = part.to_source(a, b)
        origin = None if part.origin is None else part.origin[a : b + 1]
        yield replace(part, start=start, end=end, text=part.text[a:b], origin=origin)


def _rate(name: str, rates: Rates) -> float | None:
    return next((r for pattern, r in rates.items() if fnmatchcase(name.casefold(), pattern.casefold())), None)


def _markdown(source: str, contract: Contract) -> Iterator[Part]:
    fences = [m.span() for m in _FENCE.finditer(source)]
    headings = [m for m in _HEADING.finditer(source) if not any(a <= m.start() < b for a, b in fences)]
    front = _FRONT.match(source)
    starts = [front.end() if front else 0, *(m.end() for m in headings)]
    ends = [*(m.start() for m in headings), len(source)]
    names = ["", *(m.group(1) for m in headings)]
    for a, b, name in zip(starts, ends, names, strict=True):
        body = source[a:b]
        first = a + len(body) - len(body.lstrip())  # the blank lines around a body stay
        last = a + len(body.rstrip())
        if first < last:
            yield Part(first, last, source[first:last], label=name, contract=contract)


def label(path: Sequence[str | int]) -> str:
    """A JSON path in the notation of rates: messages.0.content."""
    return ".".join(map(str, path))


def _strings(source: str) -> list[JsonString]:
    _value(source)
    return list(_scan(source))


def _value(source: str) -> Any:
    # Numbers are output as they are in the source. A repeated key is refused, since its meaning is
    # ambiguous.
    try:
        return jsontext.parse(source, finite=False, unique=True)
    except jsontext.JsonError as error:
        raise PromptError(f"the input is not JSON ({error}); choose another kind of input") from None


def _scan(source: str) -> Iterator[JsonString]:
    """The string values of valid JSON, in order."""
    path: list[str | int] = []
    key_next: list[bool] = []  # for each open object whether a key is next; False for arrays
    for match in _TOKEN.finditer(source):
        token = match.group()
        if token in "{[":
            path.append(0 if token == "[" else "")
            key_next.append(token == "{")
        elif token in "}]":
            path.pop()
            key_next.pop()
        elif token == ",":
            top = path[-1]
            if isinstance(top, int):
                path[-1] = top + 1
            else:
                key_next[-1] = True
        elif token[0] == '"':
            if key_next and key_next[-1]:
                path[-1] = jsontext.parse(token)
                key_next[-1] = False
            else:
                yield JsonString(tuple(path), match.start(1), match.end(1))


def _string_part(source: str, found: JsonString, name: str, contract: Contract) -> Part:
    """The part for a JSON string: its text and the source offset of each character."""
    raw = source[found.start : found.end]
    if "\\" not in raw:
        return Part(found.start, found.end, raw, label=name, contract=contract)
    text: list[str] = []
    origin: list[int] = []
    for match in _ESCAPE.finditer(raw):
        piece = match.group()
        char = piece if len(piece) == 1 else jsontext.parse(f'"{piece}"')
        text.append(char if not "\ud800" <= char <= "\udfff" else "\ufffd")
        origin.append(found.start + match.start())
    return Part(
        found.start, found.end, "".join(text), name, np.array([*origin, found.end], np.int64), None, contract
    )


def _chat(source: str, contract: Contract, rates: Rates, stable: bool) -> Iterator[Part]:
    strings = _strings(source)
    value = _value(source)
    root: tuple[str | int, ...] = ()
    if isinstance(value, dict):
        value, root = value.get("messages"), ("messages",)
    if not isinstance(value, list) or not all(isinstance(m, dict) and "role" in m for m in value):
        raise PromptError(
            'the input is no chat: a list of messages {"role": ..., "content": ...}, or an object with such'
            ' a list under "messages"'
        )
    roles = [str(m["role"]) for m in value]
    last_user = max((i for i, r in enumerate(roles) if r == "user"), default=-1)
    for found in strings:
        if found.path[: len(root)] != root or len(found.path) < len(root) + 2:
            continue
        index, *inner = found.path[len(root) :]
        assert isinstance(index, int)
        role = roles[index]
        fixed = role.casefold() in _FIXED_ROLES or (index == last_user and not stable)
        if _is_text(inner, value[index]) and (_rate(role, rates) is not None or not fixed):
            yield _string_part(source, found, role, contract)


def _is_text(path: Sequence[str | int], message: Any) -> bool:
    """Whether a string in a message is prose for the model: content, text blocks, tool results."""
    if not path or path[0] != "content":
        return False
    node: Any = message["content"]
    for step in path[1:]:
        if isinstance(node, dict):
            kind = node.get("type")
            if (kind, step) not in {("text", "text"), ("tool_result", "content")}:
                return False
        node = node[step]
    return isinstance(node, str)
