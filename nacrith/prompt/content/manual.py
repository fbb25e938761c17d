"""Manual pages and `--help`: options with what they do, under the headings that hold them.

An option stands above its explanation, which is indented more; a heading above its options. As in code
(`indented`) a line is kept with all lines that it is indented under, so no explanation loses its option.
"""

from __future__ import annotations

import re

from nacrith.prompt.content.blocks import Content, Lines, Node, line_spans
from nacrith.prompt.content.indented import Line, outline

_HEADING = re.compile(r"(?:[A-Z][A-Z ]{2,40}|[A-Za-z][\w ]{2,40}:)\s*$")
_USAGE = re.compile(r"(?i)(?:usage:|synopsis\s*$|name\s*$)")
_OPTION = re.compile(r"\s+--?\w[\w-]*(?:[ =,\[]|$)")
_LEAST = 3  # headings and options
_FIRST, _REST = 0.9, 0.5


def parse(text: str) -> Content | None:
    """The content of a manual page or a help text; None for other text."""
    spans = line_spans(text)
    headings = sum(_HEADING.match(text, a, b) is not None for a, b in spans)
    options = sum(_OPTION.match(text, a, b) is not None for a, b in spans)
    filled = sum(bool(text[a:b].strip()) for a, b in spans)
    indented = sum(text[a] in " \t" for a, b in spans if text[a:b].strip())
    if headings < 2 or options < 2 or headings + options < _LEAST or indented < 0.6 * filled:
        return None
    return Lines("manual", text, [_node(text, line, _REST) for line in outline(text, spans, None)])


def _node(text: str, line: Line, prior: float) -> Node:
    """A line with what is indented under it, in nodes; how a program is called comes first."""
    if _USAGE.match(text, line.start, line.end):
        return Node(line.start, line.end, _FIRST)
    return Node(line.start, line.end, prior, children=[_node(text, c, prior * 0.9) for c in line.children])
