"""Content that is no prose: what it is, and how it becomes shorter without losing what holds it together.

`route` finds what a text is. Each kind has a module, which makes a text a `Content`: blocks that are kept or
dropped whole. `part.routed` makes parts of a prompt of it. A text that no kind is sure of is prose.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from itertools import pairwise

from nacrith.errors import PromptError
from nacrith.prompt.content import (
    diff,
    indented,
    listing,
    logs,
    manual,
    markup,
    outcomes,
    records,
    sql,
    table,
)
from nacrith.prompt.content.blocks import Content

KINDS: dict[str, Callable[[str], Content | None]] = {
    "json": records.parse,
    "diff": diff.parse,
    "test output": outcomes.parse,
    "log": logs.parse,
    "listing": listing.parse,
    "sql": sql.parse,
    "table": table.parse,
    "html": markup.parse_html,
    "xml": markup.parse_xml,
    "manual": manual.parse,
    "yaml": indented.parse_yaml,
    "code": indented.parse_code,
}
"""For each kind the function that gives the content of a text, or None. Earlier ones are more certain."""


_SHORT = 160  # characters; a shorter text is not routed
_EMBEDDED = ("json", "diff", "log", "code")
"""Kinds that are certain enough beside prose."""

_BLANK = re.compile(r"\n(?:[ \t]*\r?\n)+")
_LIKE = re.compile(r"(?:diff --git |--- a|Index: |Traceback \(|[{\[]|\s)|\d{4}-\d\d-\d\d[T ]\d\d:")


def route(text: str, kind: str | None = None) -> Content | None:
    """The content of a text of a kind of KINDS, or of the first one that fits; None if it is prose."""
    if kind is not None and kind not in KINDS:
        raise PromptError(f"no kind of content is called {kind!r}; there are {', '.join(KINDS)}")
    if kind is None and len(text) < _SHORT:
        return None
    for name, parse in KINDS.items():
        if kind in (None, name):
            found = parse(text)
            if found is not None:
                return found
    return None


def regions(text: str) -> Iterator[tuple[int, int]]:
    """(start, end) of the stretches of paragraphs in a text that may be content beside prose."""
    cuts = [0, *(m.end() for m in _BLANK.finditer(text)), len(text)]
    begin = -1
    for start, end in pairwise(cuts):
        if start < end and _may_be_content(text, start, end):
            begin = start if begin < 0 else begin
        elif begin >= 0:
            yield begin, start
            begin = -1
    if begin >= 0:
        yield begin, len(text)


def _may_be_content(text: str, start: int, end: int) -> bool:
    """Whether a paragraph looks like content, or goes on with it."""
    return _LIKE.match(text, start, end) is not None or indented.is_code(text[start:end])


def embedded(text: str) -> Content | None:
    """The content of a stretch beside prose, of a kind that is certain there."""
    if len(text) < _SHORT:
        return None
    for name in _EMBEDDED:
        found = KINDS[name](text)
        if found is not None:
            return found
    return None
