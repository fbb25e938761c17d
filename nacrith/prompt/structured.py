"""Structured prompts: separates the text that may be shortened from syntax.

JSON is shortened only inside its strings, between characters and never inside an escape sequence, so the
output is valid JSON with the same keys, numbers and structure. A chat is JSON in which only the texts of
messages may be shortened (`chat`), and those of people only if a rate names their role. In Markdown,
headings and front matter stay unchanged. The instruction of a prompt stays (`instruction`).
"""

from __future__ import annotations

import json.decoder
import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from nacrith import jsontext
from nacrith.errors import PromptError
from nacrith.prompt import chat, formats
from nacrith.prompt.content.part import ContentPart, routed
from nacrith.prompt.document import Contract, Document, Part
from nacrith.prompt.instruction import instructions
from nacrith.prompt.markup import fences, headings
from nacrith.prompt.turns import last_marker

INPUTS = ("text", "markdown", "json", "chat")
"""Kinds of input. "text" is one part, or in prefix-stable mode one for each paragraph."""

Rates = Mapping[str, float]

_scan_string: Any = json.decoder.scanstring  # type: ignore[attr-defined]  # public, and not in typeshed
_MARK = re.compile(r'["{}\[\],]')
_ESCAPE = re.compile(
    r"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|\\u[0-9a-fA-F]{4}|\\.|.", re.DOTALL
)
_FRONT = re.compile(r"---[ \t]*\n.*?\n---[ \t]*(?:\n|\Z)", re.DOTALL)
_PARAGRAPH_END = re.compile(r"\n[ \t]*\n")  # not all white space: more may follow
_WILD = re.compile(r"[*?\[]")
_SHORT = 8  # a JSON string of fewer units is a value, not prose
_BRIEF = 120  # words; a request of at most this length stays whole


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
    wildcards * and ?); 1 keeps a part unchanged. A rate that can match nothing is an error. stable: no
    paragraph depends on the text after it.
    """
    rates = rates or {}
    names: Iterable[str] = ()
    hollow: Sequence[str] = ()
    if kind == "text":
        parts = [Part(0, len(source), source, contract=contract)]
    elif kind == "markdown":
        parts = list(_markdown(source, contract))
        names = [p.label for p in parts]
    elif kind == "json":
        found = _strings(source)
        parts = [_string_part(source, s, label(s.path), contract) for s in found]
        parts = [p for p in parts if len(p.passage) >= _SHORT or _rate(p.label, rates) is not None]
        names = [label(s.path[:n]) for s in found for n in range(1, len(s.path) + 1)]
        hollow = [label(path) for path in _hollow(_value(source))]
    elif kind == "chat":
        parts, roles = _chat(source, contract, rates, stable)
        names = sorted(chat.ROLES | roles)
    else:
        raise PromptError(f"no kind of input is called {kind!r}; there are {', '.join(INPUTS)}")
    _check_names(rates, names, hollow, kind)
    plain = kind in ("text", "markdown")
    if plain:
        parts = _instructed(source, parts, stable)
    parts = [replace(p, rate=_rate(p.label, rates)) for p in parts if p.text and not p.wordless]
    parts = [replace(p, block=0 if plain else n) for n, p in enumerate(parts) if p.rate != 1.0]
    parts = _main([piece for part in parts for piece in routed(part, kind, stable)])
    if stable:
        parts = [piece for part in parts for piece in paragraphs(part)]
    return Document(source, parts, texts=not plain)


def _main(parts: Sequence[Part]) -> list[Part]:
    """The parts, in which the content that is most of a text is a block of its own: a note alone, however
    short the text, would say nothing of it."""
    whole = Counter[int]()
    content = Counter[int]()
    for part in parts:
        whole[part.block] += len(part.text)
        content[part.block] += len(part.text) if isinstance(part, ContentPart) else 0
    return [
        replace(p, main=True, block=~p.block)
        if isinstance(p, ContentPart) and 2 * content[p.block] > whole[p.block]
        else p
        for p in parts
    ]


def paragraphs(part: Part) -> Iterator[Part]:
    """The paragraphs of a part, each with the blank line after it; code fences are not divided."""
    if isinstance(part, ContentPart):
        yield part
        return
    inside = fences(part.text)
    starts = [a for a, _ in inside]
    cuts = [0]
    for match in _PARAGRAPH_END.finditer(part.text):
        k = bisect_left(starts, match.start())
        if (not k or inside[k - 1][1] <= match.start()) and match.end() < len(part.text):
            cuts.append(match.end())
    for a, b in pairwise([*cuts, len(part.text)]):
        yield part.cut(a, b)


def _instructed(source: str, parts: Sequence[Part], stable: bool) -> list[Part]:
    """The parts of a plain prompt, in which its instruction is kept. stable: only what the first paragraph
    says can be known."""
    spans = instructions(source, first_only=stable)
    return [replace(p, kept=_within(spans, p.start, p.end)) for p in parts]


def _within(spans: Iterable[tuple[int, int]], start: int, end: int) -> tuple[tuple[int, int], ...]:
    return tuple((max(a, start) - start, min(b, end) - start) for a, b in spans if a < end and b > start)


def _rate(name: str, rates: Rates) -> float | None:
    return next((r for pattern, r in rates.items() if _match(name, pattern)), None)


def _match(name: str, pattern: str) -> bool:
    return fnmatchcase(name.casefold(), pattern.casefold())


def _check_names(rates: Rates, names: Iterable[str], hollow: Sequence[str], kind: str) -> None:
    """Refuse a rate that matches no name: it is misspelt. hollow: names of what is empty, within which
    everything may have a rate."""
    names = dict.fromkeys(names)
    for pattern in rates:
        before = _WILD.split(pattern)[0].rstrip(".")
        if not any(_match(n, pattern) for n in names) and not any(_match(n, before) for n in hollow):
            there = ", ".join([n for n in names if n][:12]) or "no part with a name"
            raise PromptError(f"no part of the input ({kind}) is called {pattern!r}; there is {there}")


def _hollow(value: Any) -> Iterator[tuple[str | int, ...]]:
    """Paths of the empty lists and objects of a JSON value."""
    left: list[tuple[tuple[str | int, ...], Any]] = [((), value)]
    while left:
        path, node = left.pop()
        if isinstance(node, list | dict):
            if not node:
                yield path
            pairs = enumerate(node) if isinstance(node, list) else node.items()
            left += (((*path, key), inner) for key, inner in pairs)


def _markdown(source: str, contract: Contract) -> Iterator[Part]:
    front = _FRONT.match(source)
    begin = front.end() if front else 0
    found = [h for h in headings(source) if h.start >= begin]
    starts = [begin, *(h.end for h in found)]
    ends = [*(h.start for h in found), len(source)]
    names = ["", *(h.title for h in found)]
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
    return list(string_spans(source))


def _value(source: str) -> Any:
    # Numbers are output as they are in the source. A repeated key is refused, since its meaning is
    # ambiguous.
    try:
        return jsontext.parse(source, finite=False, unique=True)
    except jsontext.JsonError as error:
        raise PromptError(f"the input is not JSON ({error}); choose another kind of input") from None


def string_spans(source: str) -> Iterator[JsonString]:
    """The string values of valid JSON, in order."""
    return (JsonString(path, start, end) for kind, path, start, end in walk(source) if kind == '"')


def walk(source: str) -> Iterator[tuple[str, tuple[str | int, ...], int, int]]:
    """The string values, and the ends of objects and arrays, of valid JSON, in order.

    Each has the kind '"', "}" or "]", its path, and its offsets: of a string without the quotes, of an end
    those of the bracket.
    """
    path: list[str | int] = []
    key_next: list[bool] = []  # for each open object whether a key is next; False for arrays
    end = 0
    while match := _MARK.search(source, end):
        token, start, end = match.group(), match.end(), match.end()
        if token == '"':
            # The decoder's own scanner finds the end of a string many times faster than a pattern does.
            value, end = _scan_string(source, start, False)
            if key_next and key_next[-1]:
                path[-1] = value
                key_next[-1] = False
            else:
                yield token, tuple(path), start, end - 1
        elif token in "{[":
            path.append(0 if token == "[" else "")
            key_next.append(token == "{")
        elif token == ",":
            top = path[-1]
            if isinstance(top, int):
                path[-1] = top + 1
            else:
                key_next[-1] = True
        else:
            path.pop()
            key_next.pop()
            yield token, tuple(path), match.start(), end


def _string_part(source: str, found: JsonString, name: str, contract: Contract) -> Part:
    """The part for a JSON string: its text and the source offset of each character. A carriage return
    before the end of a line belongs to it."""
    raw = source[found.start : found.end]
    if "\\" not in raw:
        return Part(found.start, found.end, raw, label=name, contract=contract)
    text: list[str] = []
    origin: list[int] = []
    for match in _ESCAPE.finditer(raw):
        piece = match.group()
        char = piece if len(piece) == 1 else jsontext.parse(f'"{piece}"')
        if char == "\n" and text and text[-1] == "\r":
            text[-1] = char
            continue
        text.append(char if not "\ud800" <= char <= "\udfff" else "\ufffd")
        origin.append(found.start + match.start())
    ends = np.array([*origin, found.end], np.int64)
    return Part(found.start, found.end, "".join(text), name, ends, contract=contract)


def _chat(source: str, contract: Contract, rates: Rates, stable: bool) -> tuple[list[Part], set[str]]:
    """The parts of a chat, and the roles that it has."""
    strings = _strings(source)
    value = _value(source)
    texts = {t.path: t for t in formats.texts_of_chat(value)}
    marked = last_marker(value)
    parts = []
    for found in strings:
        text = texts.get(found.path)
        if text is None or (text.role.casefold() in chat.FIXED and not _named(text.role, rates)):
            continue
        if not stable and marked and (text.message < 0 or text.path < marked):
            continue  # the provider has it in its cache
        part = _string_part(source, found, text.role, contract)
        # Which request is the last one changes with every turn, and what was sent must not.
        if text.request or (stable and text.role.casefold() in chat.HUMAN):
            part = _request(part)
        parts.append(part)
    return parts, {t.role for t in texts.values()}


def _named(role: str, rates: Rates) -> bool:
    """Whether a rate names a role of people: a wildcard does not."""
    return any(_match(role, pattern) and not _WILD.search(pattern) for pattern in rates)


def _request(part: Part) -> Part:
    """The last request of a person, of which only what it is about may be shortened."""
    text = part.text
    if len(text.split()) <= _BRIEF:
        return replace(part, kept=((0, len(text)),))
    spans = instructions(text)
    if not spans:  # in doubt the last paragraph is the request
        end = len(text.rstrip())
        spans = [(max(0, text.rfind("\n\n", 0, end)), end)]
    return replace(part, kept=tuple(spans))
