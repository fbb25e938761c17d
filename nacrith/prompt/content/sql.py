"""SQL: statements are kept or dropped whole; of many rows that one INSERT puts in, some.

What defines comes before what fills: CREATE, ALTER and SELECT are worth more than INSERT, SET and LOCK. The
text ends a statement at a semicolon outside of quotes, comments and dollar quotes.
"""

from __future__ import annotations

import re
from bisect import bisect_left

from nacrith.prompt.content import priors
from nacrith.prompt.content.blocks import Content, Node

_STATEMENT = re.compile(
    r"(?:CREATE|ALTER|DROP|INSERT|UPDATE|DELETE|SELECT|WITH|SET|GRANT|REVOKE|COMMENT ON|LOCK|UNLOCK|BEGIN"
    r"|COMMIT|START|USE|TRUNCATE|REPLACE|MERGE|COPY|PRAGMA|ANALYZE)\b",
    re.IGNORECASE,
)
_SKIPPED = re.compile(r"(?:\s|--[^\n]*(?:\n|\Z)|/\*(?:[^*]|\*(?!/))*(?:\*/|\Z))*")
_TOKEN = re.compile(
    r"'(?:[^'\\]|''|\\.)*(?:'|\Z)|\"[^\"]*(?:\"|\Z)|`[^`]*(?:`|\Z)|--[^\n]*|/\*|\$\w*\$|[;()]|\bVALUES\b",
    re.DOTALL | re.IGNORECASE,
)
_DEFINES = re.compile(r"(?:CREATE|ALTER|SELECT|WITH|UPDATE|DELETE|MERGE|GRANT)\b", re.IGNORECASE)
_FILLS = re.compile(r"(?:INSERT|REPLACE)\b", re.IGNORECASE)
_LEAST, _ROWS = 3, 6  # statements, or rows of one


class Sql(Content):
    """Statements, and rows in them. starts, rows: offsets of the statements and of the rows."""

    def __init__(self, text: str, roots: list[Node]) -> None:
        super().__init__("sql", text, roots)
        self.starts = [node.start for node in roots]
        self.rows = [child.start for node in roots for child in node.children]

    def note(self, start: int, end: int) -> str:
        rest = " " if self.text[end - 1 : end] == " " else "\n" if self.text[end - 1 : end] == "\n" else ""
        for places, name in ((self.starts, "statements"), (self.rows, "rows")):
            count = bisect_left(places, end) - bisect_left(places, start)
            if count:
                return f"/* [{count} of {len(places)} {name} left out] */{rest}"
        return f"/* [left out] */{rest}"


def parse(text: str) -> Content | None:
    """The content of SQL; None for other text."""
    if not _begins(text, 0):
        return None
    roots: list[Node] = []
    start = depth = 0
    filling = False  # after VALUES
    rows: list[int] = []  # starts of the rows of the statement
    position = 0
    while match := _TOKEN.search(text, position):
        token, position = match.group(), match.end()
        if token == "/*" or token[0] == "$":
            close = text.find("*/" if token == "/*" else token, position)
            position = len(text) if close < 0 else close + 2 if token == "/*" else close + len(token)
        elif token == "(":
            if filling and not depth:
                rows.append(match.start())
            depth += 1
        elif token == ")":
            depth = max(0, depth - 1)
        elif token.upper() == "VALUES":
            filling = not depth
        elif token == ";" and not depth:
            if not _begins(text, start):
                return None
            end = _line_end(text, position)
            roots.append(_statement(text, start, end, rows))
            start, filling, rows = end, False, []
    if text[start:].strip() and _SKIPPED.sub("", text[start:]).strip():
        return None
    many = max((len(node.children) for node in roots), default=0) >= _ROWS
    return Sql(text, roots) if len(roots) >= _LEAST or many else None


def _begins(text: str, position: int) -> bool:
    """Whether a statement begins here, after comments."""
    skipped = _SKIPPED.match(text, position)
    return _STATEMENT.match(text, skipped.end() if skipped else position) is not None


def _line_end(text: str, position: int) -> int:
    """The position, or the end of its line if nothing follows on it."""
    end = text.find("\n", position)
    end = len(text) if end < 0 else end + 1
    return position if text[position:end].strip() else end


def _statement(text: str, start: int, end: int, rows: list[int]) -> Node:
    """A statement; its rows are nodes but for the last one, after which there is no comma."""
    skipped = _SKIPPED.match(text, start)
    first = skipped.end() if skipped else start
    prior = 0.9 if _DEFINES.match(text, first) else 0.5 if _FILLS.match(text, first) else 0.3
    node = Node(start, end, prior)
    if len(rows) >= _ROWS:
        weights = priors.sampled(len(rows))
        node.children = [Node(a, b, w / 2) for a, b, w in zip(rows, rows[1:], weights, strict=False)]
    return node
