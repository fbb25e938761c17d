"""Content as blocks: the pieces of a tool output that are kept or dropped whole, and the text of a choice.

A content (a log, a table, JSON, code) is a text with nodes: a record, a function, a log entry, a hunk. A
node holds nodes (a class its methods), and its own text is what lies between them. A node is kept only
together with those that hold it, so no line is left without what it belongs to. Where nodes are dropped, a
note says how many of how many; a drop that would save less than its note costs does not happen.

The output is a list of pieces. Each is a span of the text, or a note, so every character of the output is
either literally in the input or says what was left out.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from nacrith.prompt.document import Piece
from nacrith.prompt.segment import Mask


@dataclass
class Node:
    """start, end: offsets in the text. prior: importance without a query, from 0 to 1. forced: kept always.
    children: ascending and disjoint, inside the span."""

    start: int
    end: int
    prior: float = 0.5
    forced: bool = False
    children: list[Node] = field(default_factory=list)


class Segment(NamedTuple):
    """A span of the text that belongs to one block."""

    start: int
    end: int
    block: int


class Content:
    """A text as blocks, numbered in the order of the nodes, a holder before what it holds.

    kind: its name. segments: cover the text, ascending. parent: of each block, -1 at the top. prior,
    forced: of each block.
    """

    def __init__(self, kind: str, text: str, roots: Sequence[Node]) -> None:
        self.kind, self.text = kind, text
        self.nodes: list[Node] = []
        self.segments: list[Segment] = []
        parents: list[int] = []
        position = 0
        stack: list[tuple[Node, int, bool]] = [(node, -1, False) for node in reversed(roots)]
        while stack:
            node, parent, done = stack.pop()
            if done:  # what follows its last child
                self._own(position, node.end, parent)
                position = max(position, node.end)
                continue
            number = len(self.nodes)
            self.nodes.append(node)
            parents.append(parent)
            self._own(position, node.start, parent)
            position = max(position, node.start)
            stack.append((node, number, True))
            stack += [(child, number, False) for child in reversed(node.children)]
        self._own(position, len(text), -1)
        self.parent = np.array(parents, np.int64)
        self.prior = np.array([n.prior for n in self.nodes], np.float64)
        self.forced: Mask = np.array([n.forced for n in self.nodes], bool)

    def _own(self, start: int, end: int, block: int) -> None:
        if start < end:
            self.segments.append(Segment(start, end, block))

    def narrowed(self, query: str, room: float) -> Content:
        """The content with only what a question is about of each record, if no more fits into `room`
        characters."""
        return self

    def closed(self, kept: Mask) -> Mask:
        """(blocks,) the blocks of `kept`, those that are forced, and all that hold them."""
        out = kept | self.forced
        parent = self.parent
        for i in np.flatnonzero(out).tolist():
            while (i := int(parent[i])) >= 0 and not out[i]:
                out[i] = True
        return out

    def pieces(self, kept: Mask) -> list[Piece]:
        """The output for a closed choice of blocks."""
        return noted(self.text, self.segments, kept, self.note)

    def note(self, start: int, end: int) -> str:
        """What stands for a dropped span, which is not empty."""
        raise NotImplementedError


_HEADER = 600  # characters before a note in which a colon is looked for, past comments
_OPENED = re.compile(r":[ \t]*(?:#[^\n]*)?\n(?:\s*#[^\n]*\n)*\s*\Z")


class Lines(Content):
    """Content of which whole lines are dropped. comment: what stands before a note, so that the output stays
    code; filler: before that after a colon, where Python needs a statement."""

    def __init__(
        self,
        kind: str,
        text: str,
        roots: Sequence[Node],
        *,
        comment: str = "",
        filler: str = "",
    ) -> None:
        super().__init__(kind, text, roots)
        self.comment, self.filler = comment, filler
        self.total = text.count("\n") + (not text.endswith("\n"))

    def note(self, start: int, end: int) -> str:
        dropped = self.text[start:end]
        lines = dropped.count("\n") + (not dropped.endswith("\n"))
        first = dropped.lstrip("\r\n")
        indent = first[: len(first) - len(first.lstrip(" \t"))]
        left = self.comment
        if self.filler and _OPENED.search(self.text[max(0, start - _HEADER) : start]):
            left = self.filler + left
        line_end = "\r\n" if dropped.endswith("\r\n") else "\n" if dropped.endswith("\n") else ""
        return f"{indent}{left}[{lines} of {self.total} lines left out]{line_end}"


def noted(text: str, segments: Iterable[Segment], kept: Mask, note: Callable[[int, int], str]) -> list[Piece]:
    """The kept segments, and for every gap its note, or the dropped text if that is not longer."""
    out: list[Piece] = []
    gap = -1  # start of the dropped span that ends at the current segment

    def close(end: int) -> None:
        if gap >= 0:
            words = note(gap, end)
            add(out, Piece(gap, end) if len(words) >= end - gap else Piece(end, end, words))

    for start, end, block in segments:
        if block >= 0 and not kept[block]:
            gap = start if gap < 0 else gap
            continue
        close(start)
        gap = -1
        add(out, Piece(start, end))
    close(len(text))
    return out


def add(out: list[Piece], piece: Piece) -> None:
    """Append a piece, merged with the one before it if both are one span."""
    start, end, inserted = piece
    if not inserted and out and not out[-1].inserted and out[-1].end == start:
        out[-1] = Piece(out[-1].start, end)
    elif inserted or start < end:
        out.append(piece)


def line_spans(text: str) -> list[tuple[int, int]]:
    """(start, end) of each line, its end of line included."""
    out = []
    start = 0
    while start < len(text):
        found = text.find("\n", start)
        end = len(text) if found < 0 else found + 1
        out.append((start, end))
        start = end
    return out
