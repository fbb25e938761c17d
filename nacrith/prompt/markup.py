"""Markdown's lines: fences of code, headings, tables. For texts whose lines end in a single line feed.

Lines are found by patterns without backtracking and then read in order, so the time is linear in the text.
https://spec.commonmark.org/0.31.2/ and, for tables, https://github.github.com/gfm/
"""

from __future__ import annotations

import re
from typing import NamedTuple

_FENCE_LINE = re.compile(r"(?m)^[ \t>]*(?:(?P<ticks>`{3,})(?P<info>[^\n]*)|(?P<tildes>~{3,})[^\n]*)$")
_HEADING_LINE = re.compile(r"(?m)^ {0,3}#{1,6}(?:[ \t][^\n]*)?$")
_UNDERLINE = re.compile(r"(?m)^ {0,3}(?:=+|-{2,})[ \t]*$")
_NO_TITLE = re.compile(r"\s*(?:$|[|>#]|[-*+] |\d+[.)] |={2,}|-{2,}|`{3})")
_RULED = re.compile(r"(?m)^[|:\- \t]+$")


class Heading(NamedTuple):
    """A heading with its underline, from the start of its line to the end of its last one."""

    start: int
    end: int
    title: str


class Table(NamedTuple):
    """Spans of the header with the line below it, and of each row; without the ends of their lines."""

    head: tuple[int, int]
    rows: list[tuple[int, int]]


def fences(text: str) -> list[tuple[int, int]]:
    """Fenced code with its fences, ascending. A fence that is never closed reaches to the end. The opening
    fence of back-ticks has no back-tick after it: ```a``` on one line is inline code."""
    out: list[tuple[int, int]] = []
    opened: tuple[int, str] | None = None
    for line in _FENCE_LINE.finditer(text):
        mark = line["ticks"] or line["tildes"]
        if opened is None:
            if "`" not in (line["info"] or ""):
                opened = line.start(), mark
        elif mark.startswith(opened[1]) and not line.group().strip(" \t>").strip(mark[0]):
            out.append((opened[0], line.end()))
            opened = None
    if opened is not None:
        out.append((opened[0], len(text)))
    return out


def headings(text: str) -> list[Heading]:
    """The headings, ascending: lines with #, and single lines that are underlined (setext)."""
    inside = fences(text)
    found = [
        Heading(m.start(), m.end(), m.group().strip().lstrip("#").strip().rstrip("#").rstrip())
        for m in _HEADING_LINE.finditer(text)
    ]
    for line in _UNDERLINE.finditer(text):
        end = line.start() - 1
        start = text.rfind("\n", 0, max(end, 0)) + 1
        title = text[start : max(end, 0)]
        above = text[text.rfind("\n", 0, max(start - 1, 0)) + 1 : max(start - 1, 0)]
        if not _NO_TITLE.match(title) and not above.strip():
            found.append(Heading(start, line.end(), title.strip()))
    out: list[Heading] = []
    k = 0
    for heading in sorted(found):
        while k < len(inside) and inside[k][1] <= heading.start:
            k += 1
        if k == len(inside) or heading.start < inside[k][0]:
            out.append(heading)
    return out


def tables(text: str) -> list[Table]:
    """Tables with a ruled line below the header."""
    out: list[Table] = []
    for ruled in _RULED.finditer(text):
        if "|" not in ruled.group() or "-" not in ruled.group() or not ruled.start():
            continue
        start = text.rfind("\n", 0, ruled.start() - 1) + 1
        if "|" not in text[start : ruled.start()] or (out and start < _last(out[-1])):
            continue
        rows = []
        position = ruled.end() + 1
        while position < len(text):
            end = text.find("\n", position)
            end = len(text) if end < 0 else end
            if "|" not in text[position:end]:
                break
            rows.append((position, end))
            position = end + 1
        out.append(Table((start, ruled.end()), rows))
    return out


def _last(table: Table) -> int:
    return table.rows[-1][1] if table.rows else table.head[1]
