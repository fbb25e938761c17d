"""HTML and XML: of a web page the text of its body, of data its elements.

A page loses its tags, scripts, styles, comments and repeated white space; what remains is the text in
paragraphs, list items, cells and headings, each a block. Navigation, headers and footers come last. XML
keeps its tags: elements are blocks, and like ones beside each other are records.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from nacrith.prompt.content import priors
from nacrith.prompt.content.blocks import Content, Node, Segment, add, noted
from nacrith.prompt.document import Piece
from nacrith.prompt.segment import Mask

_PAGE = re.compile(r"(?is)\s*(?:<!--.{0,2000}?-->\s*)?(?:<!doctype\s+html|<html[\s>]|<head[\s>]|<body[\s>])")
_XML = re.compile(r"\s*<(?:\?xml\s|!DOCTYPE\s|[A-Za-z_][\w:.-]*[\s/>])")
_NAME = re.compile(r"</?([A-Za-z_][\w:.-]*)")
_HIDDEN = frozenset(("script", "style", "noscript", "template", "svg", "iframe"))
_ASIDE = frozenset(("nav", "header", "footer", "aside", "menu", "form", "button", "select"))
_BLOCK = _ASIDE | frozenset(
    re.findall(
        r"\w+",
        "p div section article main h1 h2 h3 h4 h5 h6 ul ol li table thead tbody tr td th dl dt dd pre"
        " blockquote figure figcaption title br hr body html option",
    )
)
_HEADINGS = frozenset(("h1", "h2", "h3", "title"))
_SPACE = re.compile(r"\s{2,}|[\t\r\n]")
_SMALL = 300  # characters of an element that is kept or dropped as a whole
_DEEP = 100
_LEAST = 3  # like elements that are records


class _Token(NamedTuple):
    """A tag, or what is no tag. name: of a tag in its own case, else ""; shape: "open", "close", "empty",
    "text", "other"."""

    start: int
    end: int
    name: str
    shape: str


def _tokens(text: str) -> Iterator[_Token]:
    position = 0
    while position < len(text):
        start = text.find("<", position)
        if start < 0:
            start = len(text)
        if start > position:
            yield _Token(position, start, "", "text")
        if start == len(text):
            return
        if text.startswith("<!--", start):
            shape, mark = "other", "-->"
        elif text.startswith("<![CDATA[", start):
            shape, mark = "text", "]]>"
        elif text.startswith(("<!", "<?"), start):
            shape, mark = "other", ">"
        else:
            shape, mark = "tag", ">"
        found = text.find(mark, start)
        end = len(text) if found < 0 else found + len(mark)
        name = _NAME.match(text, start, end) if shape == "tag" else None
        if shape == "tag" and name is None:  # a bare "<"
            end, shape = start + 1, "text"
        elif name is not None:
            shape = "close" if text[start + 1] == "/" else "empty" if text[end - 2 : end] == "/>" else "open"
        yield _Token(start, end, name[1] if name else "", shape)
        position = end


class Page(Content):
    """The text of a page. lines: of each block the spans of its text."""

    def __init__(self, text: str, nodes: list[Node], lines: list[list[tuple[int, int]]]) -> None:
        super().__init__("html", text, nodes)
        self.lines = lines

    def pieces(self, kept: Mask) -> list[Piece]:
        out: list[Piece] = []
        gap = 0
        total = len(self.nodes)

        def close(at: int) -> None:
            if gap:
                add(out, Piece(at, at, f"[{gap} of {total} blocks left out]\n"))

        for i, node in enumerate(self.nodes):
            if not kept[i]:
                gap += 1
                continue
            close(node.start)
            gap = 0
            for a, b in self.lines[i]:
                add(out, Piece(a, b))
            add(out, Piece(node.end, node.end, "\n"))
        close(len(self.text))
        return out


def parse_html(text: str) -> Content | None:
    """The text of a web page; None for other text."""
    if not _PAGE.match(text):
        return None
    nodes: list[Node] = []
    lines: list[list[tuple[int, int]]] = []
    hidden = ""  # the element whose content is not shown
    aside: list[str] = []
    heading = fresh = True
    for token in _tokens(text):
        name = token.name.lower()
        if hidden:
            if token.shape == "close" and name == hidden:
                hidden = ""
            continue
        if token.shape == "text":
            spans = _collapsed(text, token)
            if not spans:
                continue
            if fresh or not nodes:
                prior = 0.1 if aside else 0.9 if heading else 0.5
                nodes.append(Node(token.start, token.end, prior))
                lines.append([])
                fresh = False
            nodes[-1].end = token.end
            lines[-1] += spans
        elif token.shape == "open" and name in _HIDDEN:
            hidden = name
        elif name in _BLOCK:
            fresh = True
            heading = token.shape == "open" and name in _HEADINGS
            if name in _ASIDE and token.shape == "open":
                aside.append(name)
            elif name in aside and token.shape == "close":
                del aside[aside.index(name) :]
    lines = [_trimmed(text, spans) for spans in lines]
    return Page(text, nodes, lines) if nodes else None


def _collapsed(text: str, token: _Token) -> list[tuple[int, int]]:
    """The spans of a text without repeated white space, of which the first character stays."""
    out: list[tuple[int, int]] = []
    position = token.start
    for match in _SPACE.finditer(text, token.start, token.end):
        # A space in the run, else its first character, stands for the run.
        space = match.group().find(" ")
        keep = match.start() + max(space, 0)
        out += [(position, match.start()), (keep, keep + 1)]
        position = match.end()
    out.append((position, token.end))
    return [(a, b) for a, b in out if a < b] if text[token.start : token.end].strip() else []


def _trimmed(text: str, spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """The spans of a block without white space at either end."""
    while spans and not text[slice(*spans[0])].strip():
        spans = spans[1:]
    while spans and not text[slice(*spans[-1])].strip():
        spans = spans[:-1]
    return spans


class Elements(Content):
    """XML: notes are comments, and white space between tags that has a line break goes."""

    def __init__(self, text: str, roots: list[Node]) -> None:
        super().__init__("xml", text, roots)
        self.starts = [n.start for n in self.nodes]
        self.segments = [s for s in self.segments if s.start < s.end]

    def note(self, start: int, end: int) -> str:
        dropped = sum(start <= s < end for s in self.starts)
        return f"<!-- {dropped} of {len(self.nodes)} elements left out -->"

    def pieces(self, kept: Mask) -> list[Piece]:
        out: list[Piece] = []
        for a, b, inserted in noted(self.text, self._whole(), kept, self.note):
            add(out, Piece(a, b, inserted))
        return out

    def _whole(self) -> list[Segment]:
        """The segments; white space alone between two nodes belongs to the one before it."""
        out: list[Segment] = []
        for s in self.segments:
            if out and not self.text[s.start : s.end].strip() and s.block != out[-1].block:
                out.append(Segment(s.start, s.end, out[-1].block))
            else:
                out.append(s)
        return out


def parse_xml(text: str) -> Content | None:
    """The content of XML data; None for other text."""
    if not _XML.match(text) or not text.rstrip().endswith(">"):
        return None
    top = Node(0, len(text))
    stack: list[tuple[str, Node]] = [("", top)]
    for token in _tokens(text):
        if token.shape == "text" and len(stack) == 1 and text[token.start : token.end].strip():
            return None
        if token.shape in ("open", "empty"):
            node = Node(token.start, token.end)
            stack[-1][1].children.append(node)
            if token.shape == "open":
                if len(stack) > _DEEP:
                    return None
                stack.append((token.name, node))
        elif token.shape == "close":
            if stack[-1][0] != token.name:
                return None
            stack.pop()[1].end = token.end
    if len(stack) > 1 or not top.children:
        return None
    for node in top.children:
        _prune(text, node)
        node.forced = True
    return Elements(text, top.children)


def _prune(text: str, node: Node) -> None:
    """Make an element small enough a single block; weigh elements beside each other."""
    if node.end - node.start <= _SMALL:
        node.children = []
    if len(node.children) >= _LEAST:
        rows = [[text[c.start : c.end]] for c in node.children]
        for child, prior in zip(node.children, priors.of_records(rows), strict=True):
            child.prior = prior
    for child in node.children:
        _prune(text, child)
