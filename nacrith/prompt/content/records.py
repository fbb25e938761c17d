"""JSON and JSON lines: records as rows under one list of keys, fewer of them, and shorter texts.

What is done first loses nothing: the white space of pretty-printed JSON goes, and an array of objects with
the same keys becomes {"columns": [...], "rows": [[...], ...]}. Then elements of arrays, members of objects
that are used as tables, and sentences of long strings are left out, each with a note of how many remain; of
a table that a question is about also columns (`columns`). The output of JSON is JSON, of JSON lines is JSON
lines.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from copy import copy
from itertools import pairwise

from nacrith import jsontext
from nacrith.prompt.content import columns, priors
from nacrith.prompt.content.blocks import Content, Node, Segment, add, noted
from nacrith.prompt.content.values import LONG, Value, alike, inner, read_values
from nacrith.prompt.document import Piece
from nacrith.prompt.segment import Mask

_BREAK = re.compile(r"\n[ \t\r\n]*")
_SENTENCE_END = re.compile(r"\\n|\\.|[.!?]['”’)]*[ ]+|[。！？]")
_FEW = 3  # an array of fewer elements stays whole
_LARGE = 600  # characters; a smaller record is kept or dropped as a whole
_TABLE = 8  # members of an object whose values are all objects or arrays, to be used as a table
_SCALAR, _MANY = 100, 20
"""In a large object longer members may be dropped; all of them if there are more than this."""

_MEMBER = 0.9  # prior of a member, which is worth more than a record


class Json(Content):
    """One JSON value, or with `lines` one in each line."""

    def __init__(self, text: str, values: Sequence[Value], lines: bool) -> None:
        self.values, self.lines = values, lines
        source = self.source = text
        roots = _elements(source, values) if lines else _nodes(source, values[0])
        super().__init__("json lines" if lines else "json", text, roots)
        self.number = {id(node): i for i, node in enumerate(self.nodes)}
        self._known: dict[int, list[Piece]] = {}  # by the start of a value that is not open
        self._rows: dict[int, list[Piece]] = {}
        self._tables: dict[int, bool] = {}  # by the start of an array whether its values are alike
        self._only: dict[int, list[int]] = {}  # the same; the columns that a question is about
        self._quote = '"'  # as it is written where the output is now

    def narrowed(self, query: str, room: float) -> Json:
        only = {}
        for at, records in self._arrays():
            if len(records) < _FEW or not self._are_alike(at, records):
                continue
            rows = [[self.source[v.start : v.end].strip('\\"') for v in r.items] for r in records]
            sizes = [sum(v.end - v.start + 1 for v in r.items) for r in records]
            found = columns.asked(query, self._names(records[0]), rows, sizes, room)
            if found is not None:
                only[at] = found
        if not only:
            return self
        made = copy(self)
        made._only, made._rows = only, {}
        return made

    def _arrays(self) -> Iterator[tuple[int, Sequence[Value]]]:
        """The place and the elements of each array."""
        if self.lines:
            yield self.values[0].start, self.values
        stack = list(self.values)
        while stack:
            value = stack.pop()
            if value.shape == "[" and value.open:
                yield value.start, value.items
            stack += value.items if value.inner is None else [value.inner]

    def pieces(self, kept: Mask) -> list[Piece]:
        out: list[Piece] = []
        if self.lines:
            self._put_lines(out, kept)
        else:
            self._put(out, self.values[0], kept)
        return out

    def _kept(self, value: Value, kept: Mask) -> bool:
        return value.node is None or bool(kept[self.number[id(value.node)]])

    def _say(self, out: list[Piece], at: int, words: str) -> None:
        """Insert JSON syntax, and words without an escape."""
        add(out, Piece(at, at, words.replace('"', self._quote)))

    def _put_lines(self, out: list[Piece], kept: Mask) -> None:
        chosen = [v for v in self.values if self._kept(v, kept)]
        at = self.values[0].start
        table = self._table(at, self.values, chosen)
        if table is not None:
            add(out, Piece(at, at, f'{{"columns":[{self._keys(chosen[0], table)}]}}\n'))
        self._put_each(out, chosen, "\n", table, kept)
        note = self._note("lines", at, self.values, chosen)
        if note:
            end = self.values[-1].end
            note = f'{{"note":"{note}"}}'
            add(out, Piece(end, end, f"\n{note}" if chosen else note))
        if self.source.endswith("\n"):
            add(out, Piece(len(self.source) - 1, len(self.source)))

    def _put_each(
        self, out: list[Piece], values: Sequence[Value], between: str, table: Sequence[int] | None, kept: Mask
    ) -> None:
        """The values with `between` them. table: as rows of a table with these columns."""
        for i, value in enumerate(values):
            if i:
                add(out, Piece(value.start, value.start, between))
            if table is not None:
                self._put_row(out, value, table, kept)
            else:
                self._put(out, value, kept)

    def _put(self, out: list[Piece], value: Value, kept: Mask) -> None:
        if not value.open:
            for piece in self._compact(value):
                add(out, piece)
        elif value.shape == '"':
            self._put_string(out, value, kept)
        elif value.shape == "[":
            self._put_array(out, value, kept)
        else:
            self._put_object(out, value, kept)

    def _are_alike(self, start: int, values: Sequence[Value]) -> bool:
        if start not in self._tables:
            self._tables[start] = alike(self.source, values)
        return self._tables[start]

    def _compact(self, value: Value) -> list[Piece]:
        """The pieces of a value of which nothing is dropped but line breaks and indentation."""
        found = self._known.get(value.start)
        if found is None:
            found, position = [], value.start
            if value.shape in ("{", "["):
                # A string has no line break: JSON escapes it.
                for gap in _BREAK.finditer(self.source, value.start, value.end):
                    add(found, Piece(position, gap.start()))
                    position = gap.end()
            add(found, Piece(position, value.end))
            self._known[value.start] = found
        return found

    def _put_array(self, out: list[Piece], value: Value, kept: Mask) -> None:
        chosen = [v for v in value.items if self._kept(v, kept)]
        table = self._table(value.start, value.items, chosen)
        if table is not None:
            self._say(out, value.start, '{"columns":[')
            add(out, Piece(value.start, value.start, self._keys(chosen[0], table)))
            self._say(out, value.start, '],"rows":')
        add(out, Piece(value.start, value.start + 1))
        self._put_each(out, chosen, ",", table, kept)
        end = value.end
        kind = "items" if table is None else "rows"
        note = self._note(kind, value.start, value.items, chosen)
        if note and table is None:
            self._say(out, end - 1, f'{"," if chosen else ""}"[{note}]"')
        add(out, Piece(end - 1, end))
        if table is not None:
            self._say(out, end, f',"note":"{note}"}}' if note else "}")

    def _put_object(self, out: list[Piece], value: Value, kept: Mask) -> None:
        add(out, Piece(value.start, value.start + 1))
        count = 0
        for key, item in zip(value.keys, value.items, strict=True):
            if not self._kept(item, kept):
                continue
            if count:
                add(out, Piece(key[0], key[0], ","))
            count += 1
            add(out, Piece(*key))
            add(out, Piece(key[1], key[1], ":"))
            self._put(out, item, kept)
        if count < len(value.items):
            note = f'"...":"{count} of {len(value.items)} members kept"'
            self._say(out, value.end - 1, f",{note}" if count else note)
        add(out, Piece(value.end - 1, value.end))

    def _table(self, at: int, values: Sequence[Value], chosen: Sequence[Value]) -> Sequence[int] | None:
        """The columns of the table that the values make; None if they make none."""
        if not chosen or not self._are_alike(at, values):
            return None
        every = range(len(values[0].keys)) if len(chosen) >= _FEW else None
        return self._only.get(at, every)

    def _note(self, kind: str, at: int, values: Sequence[Value], chosen: Sequence[Value]) -> str:
        words = [f"{len(chosen)} of {len(values)} {kind} kept"] if len(chosen) < len(values) else []
        if at in self._only and chosen:
            names = self._names(values[0])
            words.append(columns.note([n for k, n in enumerate(names) if k not in self._only[at]]))
        return "; ".join(words)

    def _names(self, record: Value) -> list[str]:
        return [self.source[a:b].strip('\\"') for a, b in record.keys]

    def _keys(self, record: Value, table: Sequence[int]) -> str:
        return ",".join(self.source[slice(*record.keys[k])] for k in table)

    def _put_row(self, out: list[Piece], record: Value, table: Sequence[int], kept: Mask) -> None:
        if record.open:
            self._cells(out, record, table, kept)
            return
        found = self._rows.get(record.start)
        if found is None:
            found = self._rows[record.start] = []
            self._cells(found, record, table, kept)
        out += found

    def _cells(self, out: list[Piece], record: Value, table: Sequence[int], kept: Mask) -> None:
        for k in table:
            item = record.items[k]
            add(out, Piece(item.start, item.start, "," if k != table[0] else "["))
            self._put(out, item, kept)
        add(out, Piece(record.end, record.end, "]"))

    def _put_string(self, out: list[Piece], value: Value, kept: Mask) -> None:
        if value.inner is not None:
            add(out, Piece(value.start, value.inner.start))
            self._quote = '\\"'
            self._put(out, value.inner, kept)
            self._quote = '"'
            add(out, Piece(value.inner.end, value.end))
            return
        segments, position = [], value.start
        for node in value.sentences:
            if position < node.start:
                segments.append(Segment(position, node.start, -1))
            segments.append(Segment(node.start, node.end, self.number[id(node)]))
            position = node.end
        segments.append(Segment(position, value.end, -1))
        total = len(value.sentences)

        def note(start: int, end: int) -> str:
            return f"[{sum(start <= s.start < end for s in value.sentences)} of {total} sentences left out] "

        for piece in noted(self.source, segments, kept, note):
            add(out, piece)


def parse(text: str) -> Content | None:
    """The content of JSON text or of JSON lines; None for other text, and for JSON without an array or
    object."""
    bare = text.strip()
    if bare[:1] not in ("{", "["):
        return None
    try:
        jsontext.parse(bare, finite=False)
    except jsontext.JsonError:
        return _parse_lines(text)
    found = list(read_values(text))
    return Json(text, found, False) if found and found[0].items else None


def _parse_lines(text: str) -> Content | None:
    lines = [line for line in text.split("\n") if line.strip()]
    if len(lines) < _FEW:
        return None
    try:
        if not all(isinstance(jsontext.parse(line, finite=False), dict | list) for line in lines):
            return None
    except jsontext.JsonError:
        return None
    found = list(read_values(text))
    return Json(text, found, True) if len(found) == len(lines) else None


def _nodes(text: str, value: Value) -> list[Node]:
    """The nodes directly inside a value, which is kept; marks the values that hold a node as open."""
    out: list[Node] = []
    if value.shape == '"':
        value.inner = inner(text, value)
        out = _nodes(text, value.inner) if value.inner else _sentences(text, value)
        value.sentences = [] if value.inner else out
    elif _is_table(value):
        out = _elements(text, value.items)
    else:
        large = value.shape == "{" and value.end - value.start > _LARGE and len(value.items) >= _FEW
        for item in value.items:
            if large and (item.end - item.start > _SCALAR or len(value.items) > _MANY):
                out += _elements(text, [item], _MEMBER)
            else:
                out += _nodes(text, item)
    value.open = bool(out)
    return out


def _is_table(value: Value) -> bool:
    """Whether the values of an array or object are records, which may be dropped."""
    if value.shape == "[":
        return len(value.items) >= _FEW
    return (
        value.shape == "{" and len(value.items) >= _TABLE and all(v.shape in ("{", "[") for v in value.items)
    )


def _elements(text: str, values: Sequence[Value], prior: float | None = None) -> list[Node]:
    """A node for each of some records, or for a member of an object with its prior."""
    rows = [[text[v.start : v.end] for v in record.items or [record]] for record in values]
    weights = priors.of_records(rows) if prior is None else [prior]
    for record, weight in zip(values, weights, strict=True):
        record.node = Node(record.start, record.end, weight)
        if record.end - record.start > _LARGE or (prior is not None and record.shape != '"'):
            record.node.children = _nodes(text, record)
    return [record.node for record in values if record.node]


def _sentences(text: str, value: Value) -> list[Node]:
    """The sentences of a long string."""
    if value.end - value.start < LONG:
        return []
    first, last = value.start + 1, value.end - 1
    inside = text[first:last]
    if inside[:1] in ("{", "["):  # nearly JSON, which would break
        return []
    cuts = [
        first + m.end()
        for m in _SENTENCE_END.finditer(inside)
        if (m.group()[0] != "\\" or m.group() == "\\n") and m.end() < len(inside)
    ]
    spans = list(pairwise([first, *cuts, last]))
    if len(spans) < _FEW:
        return []
    weights = priors.of_records([[text[a:b]] for a, b in spans])
    return [Node(a, b, 0.5 * prior) for (a, b), prior in zip(spans, weights, strict=True)]
