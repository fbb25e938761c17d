"""CSV, TSV and Markdown tables: the header and some rows; columns that say nothing go first.

A column that is empty in all rows is left out, and one with the same value in all is told once, in the note
after the last row: nothing is lost by that. Then rows are left out, with a note of how many remain. If those
that a question is about do not fit, so are columns that it does not name (`columns`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from copy import copy

from nacrith.prompt.content import columns, priors
from nacrith.prompt.content.blocks import Content, Node, add
from nacrith.prompt.document import Piece
from nacrith.prompt.segment import Mask

_LEAST = 4  # records, the header included
_CONSTANT = 6  # rows from which a column with one value is told once
_BAR = re.compile(r"[ \t]*\|?[ \t:|-]*-[ \t:|-]*\|?[ \t]*$")
_FIELDS = {
    d: re.compile(rf'(?: *"(?:[^"]|"")*" *|[^{d}"\r\n][^{d}\r\n]*|)(?P<end>[{d}]|\r?\n|\Z)') for d in ",\t;|"
}
"""A field of a record and what ends it, for each delimiter."""

_HEADER = 60  # characters of a header's field

Span = tuple[int, int]


class Table(Content):
    """rows: the spans of the fields of each record, the header first. bars: number of records after the
    header that are always kept."""

    def __init__(self, text: str, rows: Sequence[Sequence[Span]], ends: Sequence[Span], bars: int) -> None:
        cells = [[text[a:b].strip() for a, b in row] for row in rows]
        weights = priors.of_records(cells[1 + bars :])
        nodes = [Node(*ends[i], 1.0, True) for i in range(1 + bars)]
        nodes += [Node(*span, prior) for span, prior in zip(ends[1 + bars :], weights, strict=True)]
        super().__init__("table", text, nodes)
        self.rows, self.ends, self.bars = rows, ends, bars
        self.cells = cells
        self.columns, self.same = self._choose(cells, 1 + bars)
        self.missing = ""  # what is said of columns that the question does not name

    def _choose(self, cells: Sequence[Sequence[str]], first: int) -> tuple[list[int], list[str]]:
        """The columns that are kept, and what is said once of the others."""
        columns: list[int] = []
        same: list[str] = []
        many = len(cells) - first >= _CONSTANT and not self.bars
        for k, name in enumerate(cells[0]):
            values = {row[k] for row in cells[first:]}
            if many and len(values) == 1:
                (value,) = values
                if value:
                    same.append(f"{name}={value}")
            else:
                columns.append(k)
        return (columns, same) if columns else (list(range(len(cells[0]))), [])

    def narrowed(self, query: str, room: float) -> Table:
        first = 1 + self.bars
        names = [name.strip('"') for name in self.cells[0]]
        sizes = [end - start for start, end in self.ends[first:]]
        found = columns.asked(query, names, self.cells[first:], sizes, room)
        kept = [k for k in self.columns if found is None or k in found]
        if not kept or len(kept) == len(self.columns):
            return self
        made = copy(self)
        made.columns = kept
        made.missing = columns.note([names[k] for k in self.columns if k not in kept])
        return made

    def pieces(self, kept: Mask) -> list[Piece]:
        out: list[Piece] = []
        whole = len(self.columns) == len(self.rows[0])
        count = 0
        for i, (row, (start, end)) in enumerate(zip(self.rows, self.ends, strict=True)):
            if not kept[i]:
                continue
            count += i > self.bars
            if whole:
                add(out, Piece(start, end))
                continue
            for n, k in enumerate(self.columns):
                if n:  # the delimiter before the field
                    add(out, Piece(row[k][0] - 1, row[k][0]))
                add(out, Piece(*row[k]))
            add(out, Piece(row[-1][1], end))
        total = len(self.rows) - 1 - self.bars
        words = [f"{count} of {total} rows kept"] if count < total else []
        words += [f"in all rows: {', '.join(self.same)}"] if self.same else []
        words += [self.missing] if self.missing else []
        if words:
            at = self.ends[-1][1]
            line = "\r\n" if self.text.endswith("\r\n") else "\n"
            last = out[-1]
            ended = self.text[last.end - 1 : last.end] == "\n"
            note = f"[{'; '.join(words)}]"
            tail = line if self.text.endswith("\n") else ""
            add(out, Piece(at, at, f"{'' if ended else line}{note}{tail}"))
        return out


def parse(text: str) -> Content | None:
    """The content of a table; None for other text."""
    head = text.lstrip("\ufeff\r\n \t").partition("\n")[0]
    for delimiter in sorted(_FIELDS, key=head.count, reverse=True)[:2]:
        if delimiter in ",;" and head.count(delimiter) == head.count(f"{delimiter} "):
            continue  # a list in prose
        if head.count(delimiter) >= (2 if delimiter in ",;" else 1):
            found = _table(text, delimiter)
            if found is not None:
                return found
    return None


def _table(text: str, delimiter: str) -> Content | None:
    rows: list[list[Span]] = []
    ends: list[Span] = []
    for row, span in _records(text, delimiter):
        if len(row) == 1 and row[0][0] == row[0][1]:  # a blank line
            if ends:
                ends[-1] = ends[-1][0], span[1]
            continue
        if rows and len(row) != len(rows[0]):
            return None
        rows.append(row)
        ends.append(span)
    if len(rows) < _LEAST or not ends or ends[-1][1] != len(text):
        return None
    bars = 0
    if delimiter == "|":
        if not _BAR.match(text, *ends[1]) and not _BAR.match(text[ends[1][0] : ends[1][1]].rstrip("\r\n")):
            return None
        bars = 1
    header = [text[a:b].strip() for a, b in rows[0]]
    named = [h for h in header if h]
    if len(set(named)) < len(named) or any(len(h) > _HEADER or h[-1] in ".!?" for h in named):
        return None
    if len(named) < max(2, len(header) - 2) or all(_is_number(h) for h in named):
        return None
    ends[0] = 0, ends[0][1]
    return Table(text, rows, ends, bars)


def _is_number(field: str) -> bool:
    return field.strip('"').replace(".", "").replace("-", "").isdigit()


def _records(text: str, delimiter: str) -> Iterator[tuple[list[Span], Span]]:
    """The fields of each record, and its span with the end of the line; ends early where the text is no
    table."""
    pattern = _FIELDS[delimiter]
    position = start = len(text) - len(text.lstrip("\ufeff"))
    row: list[Span] = []
    while position < len(text):
        match = pattern.match(text, position)
        if match is None:
            return
        row.append((position, match.start("end")))
        position = match.end()
        if match["end"] != delimiter:
            yield row, (start, position)
            row, start = [], position
    if row:  # the last field is empty
        row.append((position, position))
        yield row, (start, position)
