"""The values of JSON text with their places in it; those of JSON in a string too."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from nacrith import jsontext
from nacrith.prompt.content.blocks import Node

_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\],:]|[^\s{}\[\],:"]+', re.DOTALL)
_ESCAPE = re.compile(r"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|\\u[0-9a-fA-F]{4}|\\.")
_DEEP = 60  # levels; deeper JSON is not touched
LONG = 400
"""Characters of a string that is shortened."""


@dataclass
class Value:
    """A value of JSON text. shape: "{", "[", '"', or "" for the rest. keys: spans of an object's keys."""

    start: int
    shape: str
    end: int = 0
    keys: list[tuple[int, int]] = field(default_factory=list)
    items: list[Value] = field(default_factory=list)
    node: Node | None = None  # if the value may be dropped
    sentences: list[Node] = field(default_factory=list)  # of a long string
    open: bool = False  # whether something inside may be dropped
    inner: Value | None = None  # the JSON in a string, with offsets in the text


def read_values(text: str) -> Iterator[Value]:
    """The values at the top of text of valid JSON values; none if one is too deep."""
    stack: list[Value] = []
    key: tuple[int, int] | None = None
    for match in _TOKEN.finditer(text):
        first = match.group()[0]
        start, end = match.span()
        if first in ",:":
            continue
        if first in "}]":
            value = stack.pop()
            value.end = end
            if not stack:
                yield value
            continue
        holder = stack[-1] if stack else None
        if holder is not None and holder.shape == "{" and key is None:
            key = start, end
            continue
        value = Value(start, first if first in '{["' else "", end)
        if holder is not None:
            holder.items.append(value)
            if key is not None:
                holder.keys.append(key)
                key = None
        elif first not in "{[":
            yield value
        if first in "{[":
            if len(stack) >= _DEEP:
                return
            stack.append(value)


def inner(text: str, string: Value) -> Value | None:
    """The JSON in a long string, as services pass on what others said; strings in it stay whole."""
    if string.end - string.start < LONG or text[string.start + 1] not in "{[":
        return None
    try:
        inside = jsontext.parse(text[string.start : string.end])
        jsontext.parse(inside, finite=False)
    except jsontext.JsonError:
        return None
    found = list(read_values(inside))
    if len(found) != 1:
        return None
    # Every character of `inside` is one character or one escape of the text.
    shift = np.zeros(len(inside) + 2, np.int64)
    longer = 0
    first = string.start + 1
    for match in _ESCAPE.finditer(text, first, string.end - 1):
        shift[match.start() - first - longer + 1] = match.end() - match.start() - 1
        longer += match.end() - match.start() - 1
    places = (first + np.arange(len(shift)) + np.cumsum(shift)).tolist()
    stack = found[:]
    while stack:
        value = stack.pop()
        value.start, value.end = places[value.start], places[value.end]
        value.keys = [(places[a], places[b]) for a, b in value.keys]
        value.shape = "" if value.shape == '"' else value.shape
        stack += value.items
    return found[0]


def alike(text: str, values: Sequence[Value]) -> bool:
    """Whether all are objects with the same keys in the same order."""
    first = values[0]
    if first.shape != "{" or not first.keys:
        return False
    names = [text[a:b] for a, b in first.keys]
    return all(
        v.shape == "{" and len(v.keys) == len(names) and [text[a:b] for a, b in v.keys] == names
        for v in values
    )
