"""Source code and YAML: blocks by indentation, which hold what is indented more.

A statement is kept with all that it governs, so no line is taken from under its `if`. Only what is large is
divided: a definition into its signature and its body, a body into statements, a YAML key into its entries.
A note is a comment in the place of what it stands for, so Python stays Python and YAML stays YAML.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from nacrith.prompt.content import priors
from nacrith.prompt.content.blocks import Content, Lines, Node, line_spans

_DEFINITION = re.compile(
    r"\s*(?:export\s+|default\s+|public\s+|private\s+|protected\s+|internal\s+|static\s+|abstract\s+|final\s+"
    r"|async\s+|pub(?:\([a-z]+\))?\s+|unsafe\s+|inline\s+|virtual\s+|override\s+)*"
    r"(?:def|class|function|func|fn|interface|struct|enum|trait|impl|module|namespace|sub|proc|object)\b"
    r"|\s*(?:public|private|protected|internal|static)\b[^;={}]*\("
    r"|[A-Za-z_][\w:<>*&,\s]*\s[*&]?[\w:~]+\([^;{}]*\)\s*(?:const\s*)?\{\s*$"
)
_CODE = re.compile(
    r"\s*(?:(?:def|class|import|return|elif|func|fn|let|const|var|package|using|namespace|struct|enum|impl|pub"
    r"|interface|export|async|await|switch|case|raise|throw|yield|assert|public|private|protected|static|local"
    r"|end|fi|done|esac|try|catch|finally|break|continue|pass)\b|from\s+[\w.]+\s+import\b|#include\b|@\w+"
    r"|(?:if|elif|for|while|until|case)\b.*\b(?:do|then|in)\s*$|(?:echo|set|cd|rm|mkdir|exit|source|sudo) \S"
    r"|(?:if|for|while|with|else|except)\b.*[:{]\s*(?:[#/].*)?$|//|/\*|\*/|\* |#!|#\s|--\s"
    r"|[\w.\[\]\"']+\s*(?:[-+*/|]?=|:=)\s*\S"
    r"|[\w.]+\(.*\)\s*[;:{]?\s*$)|.*[;{}]\s*(?://.*)?$|\s*[\])}]+[,;]?\s*$|\s+\S.*[,(\[\\]\s*$"
)
_STRONG = re.compile(
    r"\s*(?:(?:async\s+)?def\s+\w+\s*\(|class\s+\w+.*[:{]|(?:import|package)\s+[\w.\"{*]"
    r"|from\s+[\w.]+\s+import\b|#include\s*[<\"]|(?:export\s+)?(?:async\s+)?function\b.*[({]|func\s.*\{"
    r"|(?:pub\s+)?fn\s+\w+|(?:const|let|var)\s+\w+\s*=|(?:public|private|static)\s.*[{;(]"
    r"|(?:if|for|while)\b.*[:{]\s*$|return\b|#!/)"
)
_PROSE = re.compile(r"[A-Z][^(){};=]*\w{2,}[^(){};=]*[.!?]\s*$")
_ANNOTATION = re.compile(r"\s+(?:\w+: [\w\[\], |.]+(?: = .*)?|\.\.\.)$")
_SENTENCE = re.compile(r"[A-Z]\w*(?:[ ,]+[\w'-]+){5}")
_QUOTED = re.compile(r"\s*[rbuf]*(?:\"\"\"|''')")
_CLOSING = re.compile(r"\s*(?:[\])}]|end\b|else\b|elif\b|except\b|finally\b|catch\b|fi\b|done\b|esac\b|\*/)")
_OPENING = re.compile(r"\"\"\"|'''|/\*|//|#")
_LEADING = re.compile(r"\s*(?:@\w|#\[)")
_KEY = re.compile(r"\s*(?:- +)*(?:[\w./$@*-]+|\"[^\"\n]*\"|'[^'\n]*')[ \t]*:(?:[ \t]+\S.*|[ \t]*)$")
_ANCHOR, _ALIAS = re.compile(r"(?:^|[\s:-])&([\w-]+)"), re.compile(r"(?:^|[\s:\[,-])\*([\w-]+)")
_ITEM = re.compile(r"\s*-(?:[ \t]|$)")
_SMALL_CODE, _LEAST_CODE, _SMALL_YAML = 500, 60, 100  # characters of a block that is not divided
_DEEP = 60
_LEAST = 3  # lines
_SIGNATURE = 40  # lines of the longest one


@dataclass
class Line:
    """A line with what is indented more after it, and what closes it."""

    start: int
    end: int
    indent: int
    children: list[Line] = field(default_factory=list)


def parse_code(text: str) -> Content | None:
    """The content of source code; None for other text."""
    spans = line_spans(text)
    lines = _outside(text, spans)
    if len(lines) < _LEAST or not any(map(_STRONG.match, lines)):
        return None
    if not (_CODE.match(lines[0]) or _QUOTED.match(lines[0])):
        return None
    prose = sum(_PROSE.match(line) is not None and _CODE.match(line) is None for line in lines)
    indented = sum(line[0].isspace() for line in lines)
    if sum(_is_code_line(line) for line in lines) < 0.6 * len(lines) or prose > 0.1 * len(lines):
        return None
    if not indented and not any(line.rstrip().endswith((";", "{")) for line in lines):
        return None
    braces = sum(line.rstrip().endswith((";", "{", "}")) for line in lines)
    comment, filler = ("// ", "") if braces > 0.15 * len(lines) else ("# ", "...  ")
    roots = _grouped(text, outline(text, spans, _CLOSING), _code_node)
    return Lines("code", text, roots, comment=comment, filler=filler)


def _is_code_line(line: str) -> bool:
    return any(p.match(line) is not None for p in (_CODE, _QUOTED, _ANNOTATION))


def _outside(text: str, spans: Sequence[tuple[int, int]]) -> list[str]:
    """The lines that are not blank and do not begin in a string or comment of several lines."""
    out = []
    inside = ""
    for a, b in spans:
        line = text[a:b].rstrip("\r\n")
        if not inside and line.strip():
            out.append(line)
        inside = _unclosed(line, inside)
    return out


def is_code(paragraph: str) -> bool:
    """Whether most lines of a paragraph are code, and none begins as a sentence does."""
    lines = [line for line in paragraph.splitlines() if line.strip()]
    like = sum(_CODE.match(line) is not None for line in lines)
    return like >= 0.6 * len(lines) and not any(
        _SENTENCE.match(line) and not _CODE.match(line) for line in lines
    )


def parse_yaml(text: str) -> Content | None:
    """The content of YAML; None for other text."""
    spans = line_spans(text)
    lines = [text[a:b].rstrip("\r\n") for a, b in spans]
    lines = [s for s in lines if s.strip() not in ("", "---", "...") and s.lstrip()[0] != "#"]
    keys = sum(_KEY.match(s) is not None for s in lines)
    if len(lines) < _LEAST + 1 or keys < 0.5 * len(lines):
        return None
    if keys + sum(_ITEM.match(s) is not None and _KEY.match(s) is None for s in lines) < 0.8 * len(lines):
        return None
    opened = sum(
        a.rstrip().endswith(":") and (b[0].isspace() or _ITEM.match(b) is not None)
        for a, b in pairwise(lines)
    )
    if not opened or any("\t" in s[: len(s) - len(s.lstrip())] for s in lines):
        return None
    roots = _grouped(text, outline(text, spans, None), _yaml_node)
    _keep_anchors(text, roots)
    return Lines("yaml", text, roots, comment="# ")


def outline(text: str, spans: Sequence[tuple[int, int]], closing: re.Pattern[str] | None) -> list[Line]:
    """The lines as a forest by indentation. A blank line belongs to the line before it; a line that closes
    ("}", "else:") to the line of the same indentation that it goes on."""
    top: list[Line] = []
    stack: list[Line] = []
    inside = ""  # what ends the string or comment of several lines that the line begins in
    for start, end in spans:
        line = text[start:end]
        bare = line.lstrip(" \t")
        within, inside = inside, _unclosed(line, inside) if closing is not None else ""
        if within or not bare.strip():
            for holder in stack or top[-1:]:
                holder.end = end
            if not top:
                top.append(Line(start, end, 0))
            continue
        indent = len(line.expandtabs(8)) - len(bare.expandtabs(8))
        item = closing is None and _ITEM.match(line) is not None
        while stack and stack[-1].indent > indent:
            stack.pop()
        closes = closing is not None and closing.match(line) is not None
        if stack and stack[-1].indent == indent and not closes and not (item and _holds(text, stack[-1])):
            stack.pop()
        goes_on = bool(stack) and stack[-1].indent == indent and closes
        for holder in stack:
            holder.end = end
        if goes_on:
            continue
        made = Line(start, end, indent)
        (stack[-1].children if stack else top).append(made)
        if len(stack) < _DEEP:
            stack.append(made)
    return top


def _unclosed(line: str, inside: str) -> str:
    """What ends the string or comment that is open after a line, or "". inside: the same before it."""
    position = 0
    while True:
        if inside:
            found = line.find(inside, position)
            if found < 0:
                return inside
            position, inside = found + len(inside), ""
        match = _OPENING.search(line, position)
        if match is None or match[0] in ("#", "//"):
            return ""
        position, inside = match.end(), "*/" if match[0] == "/*" else match[0]


def _holds(text: str, line: Line) -> bool:
    """Whether a line is a YAML key that may hold list items of its own indentation."""
    head = _head(text, line)
    return head.rstrip().endswith(":") and _ITEM.match(head) is None


def _head(text: str, line: Line) -> str:
    """The beginning of the line itself."""
    return text[line.start : min(line.end, line.start + 300)].partition("\n")[0]


def _grouped(
    text: str, lines: Sequence[Line], make: Callable[[str, Line, int], Node], depth: int = 0
) -> list[Node]:
    """The nodes of lines beside each other; decorators go with what they decorate."""
    out: list[Node] = []
    lead = -1
    for line in lines:
        if _LEADING.match(text, line.start, line.end) and not line.children:
            lead = line.start if lead < 0 else lead
            continue
        node = make(text, line, depth)
        if lead >= 0:
            node.start, lead = lead, -1
        out.append(node)
    if lead >= 0:
        out.append(Node(lead, lines[-1].end))
    return out


def _code_node(text: str, line: Line, depth: int) -> Node:
    node = Node(line.start, line.end, 0.5)
    head = _head(text, line)
    small = min(_SMALL_CODE, max(_LEAST_CODE, len(text) // 6))
    if _DEFINITION.match(head):
        node.prior = 0.95
        body = [c for c in line.children if c.start >= _signature_end(text, line)]
        inner = any(c.children and _DEFINITION.match(_head(text, c)) for c in body)
        if body and body[-1].end - body[0].start <= small and not inner:
            node.children = [Node(body[0].start, body[-1].end, 0.45)]
        else:
            node.children = _grouped(text, body, _code_node, depth + 1)
    elif line.end - line.start > small and not head.lstrip().startswith("match "):
        node.children = _grouped(text, line.children, _code_node, depth + 1)
    elif head.lstrip().startswith(("import ", "from ", "#include", "use ", "using ")):
        node.prior = 0.6
    return node


def _signature_end(text: str, line: Line) -> int:
    """The end of the lines of a definition up to that which closes its parentheses."""
    depth, position = 0, line.start
    for _ in range(_SIGNATURE):
        found = text.find("\n", position, line.end)
        end = line.end if found < 0 else found + 1
        depth += sum((c in "([") - (c in ")]") for c in text[position:end])
        position = end
        if depth <= 0:
            break
    return position


def _keep_anchors(text: str, roots: Sequence[Node]) -> None:
    """Keep what a name refers to from anywhere: without its anchor, an alias is an error."""
    used = set(_ALIAS.findall(text))
    stack = list(roots) if used else []
    while stack:
        node = stack.pop()
        own = text[node.start : node.children[0].start if node.children else node.end]
        node.forced = not used.isdisjoint(_ANCHOR.findall(own))
        stack += node.children


def _yaml_node(text: str, line: Line, depth: int) -> Node:
    node = Node(line.start, line.end, 1 / (1 + 0.3 * depth))
    if line.end - line.start > _SMALL_YAML:
        node.children = [_yaml_node(text, child, depth + 1) for child in line.children]
        if len(node.children) > 8:  # a list of records
            spread = priors.sampled(len(node.children))
            for child, share in zip(node.children, spread, strict=True):
                child.prior *= 0.5 + 0.5 * share
    return node
