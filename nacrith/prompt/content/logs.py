"""Logs, stack traces, what builds print: entries with their continuation lines; repeats are left out first,
with a count.

An entry is a line with a time, a level or a step and the lines after it that have none, such as a stack
trace. An entry like an earlier one but for its numbers says little, and one like the one before it nothing.
Errors come first, then warnings, then the first entry of each form. Of a long trace the innermost and
outermost frames are worth more than those between.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import Counter

from nacrith.prompt.content.blocks import Content, Lines, Node, line_spans
from nacrith.prompt.content.priors import failure

_START = re.compile(
    r"[ \t]*(?:\x1b\[[0-9;]*m)*[\[(<]?(?:"
    r"\d{4}[-/]\d\d[-/]\d\d[T ]?|\d\d:\d\d:\d\d|[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d|[IWEF]\d{4} \d\d:\d\d"
    r"|(?:TRACE|DEBUG|INFO|NOTICE|WARN(?:ING)?|ERR(?:OR)?|FATAL|CRITICAL|SEVERE|PANIC)\b"
    r"|\d{1,3}(?:\.\d{1,3}){3} \S+ \S+ \[)"
)
_SEVERE = re.compile(r"\b(?:FATAL|CRITICAL|SEVERE|PANIC|ERROR|ERR)\b|Traceback|Exception\b")
_WARNING = re.compile(r"\bWARN(?:ING)?\b")
_FRAME = re.compile(r'[ \t]+(?:at |File "|in |from |\.\.\. \d+ more|\d+: |#\d+ |\S+\.go:\d+)|#\d+ ')
_TRACE = re.compile(
    r"Traceback \(most recent call last\)|^\s+at (?:async )?[\w$.<>/]+ ?\(|^\s+at \S+:\d+:\d+$"
    r"|^\s+File \"[^\"]+\", line \d|^goroutine \d|^stack backtrace:"
)
_FOUND = re.compile(
    r"(?:npm )?(?:error|warn(?:ing)?|ERR!|fatal)\b(?: \w|\[\w+\])?.*|\[(?:ERROR|WARNING)\]"
    r"|[^\s:()]+(?::\d+(?::\d+)?:|\(\d+,\d+\):) (?:fatal )?(?:error|warning|note)\b"
)
"""What a compiler or a package manager found."""
_STEP = re.compile(
    r"[ \t]*(?:Compiling|Checking|Building|Built|Download(?:ing|ed)|Fetch(?:ing|ed)|Finished|Installing"
    r"|Linking"
    r"|Collecting|Updat(?:ing|ed)|Unpacking|Setting up|Using cached|Requirement already|Generating|Running"
    r"|Get:\d+|\[ *\d+(?:%|/\d+)\]|make(?:\[\d+\])?:|npm (?:http|notice|info|timing|sill|verb)\b|\[INFO\])"
)
"""A step of theirs."""
_DETAIL = re.compile(r"[ \t]|\d*[ \t]*\||-->|$")
_VARYING = re.compile(r"0x[0-9a-fA-F]+|\b[0-9a-f]{7,}(?:-[0-9a-f]{4,})*\b|\d+")
_LEAST, _SHARE = 5, 0.4  # lines of a log, and the share of them that begin an entry
_SHORT_TRACE = 8  # lines after an entry that stay with it
_ENDS = 3  # frames at each end of a trace that are worth more


class Log(Lines):
    """Entries, whose notes tell of repeats."""

    def __init__(self, text: str, roots: list[Node], forms: dict[int, str]) -> None:
        super().__init__("log", text, roots)
        self.forms = forms  # form of the entry that starts at an offset
        self.places = sorted(forms)

    def note(self, start: int, end: int) -> str:
        first, last = bisect_left(self.places, start), bisect_left(self.places, end)
        found = {self.forms[p] for p in self.places[max(first - 1, 0) : last]}
        words = super().note(start, end)
        if first and last > first and len(found) == 1 and self.places[first] == start:
            return words.replace(" left out]", " left out, like the one before]")
        return words


def parse(text: str) -> Content | None:
    """The content of a log or a stack trace; None for other text."""
    lines = line_spans(text)
    if len(lines) < _LEAST:
        return None
    starts = [_START.match(text, a, b) is not None for a, b in lines]
    blank = sum(not text[a:b].strip() for a, b in lines)
    first = next((i for i, (a, b) in enumerate(lines) if text[a:b].strip()), 0)
    if sum(starts) < max(_LEAST - 2, _SHARE * (len(lines) - blank)) or not starts[first]:
        if _is_build(text, lines):
            starts = [bool(_FOUND.match(text, a, b) or _STEP.match(text, a, b)) for a, b in lines]
        elif _is_trace(text, lines):
            starts = _of_trace(text, lines)
        else:
            return None
    entries = [i for i, s in enumerate(starts) if s]
    if entries[0] > 0:
        entries.insert(0, 0)
    roots, forms = [], {}
    for i, stop in zip(entries, [*entries[1:], len(lines)], strict=True):
        roots.append(_entry(text, lines[i:stop]))
        forms[lines[i][0]] = form(text[lines[i][0] : lines[i][1]])
    _weigh(text, roots, [forms[r.start] for r in roots])
    return Log(text, roots, forms)


def form(line: str) -> str:
    """What a line has in common with others of the same statement of a program."""
    return _VARYING.sub("#", line).strip()


def _is_trace(text: str, lines: list[tuple[int, int]]) -> bool:
    frames = sum(_FRAME.match(text, a, b) is not None for a, b in lines)
    found = any(_TRACE.search(text[a:b]) for a, b in lines)
    return found and frames >= max(3, len(lines) // 4)


def _of_trace(text: str, lines: list[tuple[int, int]]) -> list[bool]:
    """Which lines begin an entry: what is before the first frame is the message."""
    first = next(i for i, (a, b) in enumerate(lines) if _FRAME.match(text, a, b))
    return [i == 0 or (i > first and not text[a].isspace()) for i, (a, b) in enumerate(lines)]


def _is_build(text: str, lines: list[tuple[int, int]]) -> bool:
    """Whether it is what a compiler or a package manager prints: steps, and what they found."""
    found = sum(_FOUND.match(text, a, b) is not None for a, b in lines)
    steps = sum(_STEP.match(text, a, b) is not None for a, b in lines)
    other = sum(
        not (_FOUND.match(text, a, b) or _STEP.match(text, a, b) or _DETAIL.match(text[a:b].rstrip()))
        for a, b in lines
    )
    return found > 0 and found + steps >= max(3, len(lines) // 6) and other <= 0.1 * len(lines)


def _entry(text: str, lines: list[tuple[int, int]]) -> Node:
    """An entry; the frames of a long trace are nodes in it."""
    node = Node(lines[0][0], lines[-1][1])
    rest = lines[1:]
    if len(rest) <= _SHORT_TRACE:
        return node
    frames: list[Node] = []
    for a, b in rest:
        is_frame = _FRAME.match(text, a, b) is not None
        if is_frame or not frames or frames[-1].prior > 0.5 or not text[a:b][:1].isspace():
            frames.append(Node(a, b, 0.3 if is_frame else 0.9))
        else:  # the source line of a frame
            frames[-1].end = b
    for frame in [*frames[:_ENDS], *frames[-_ENDS:]]:
        frame.prior = max(frame.prior, 0.6)
    node.children = frames
    return node


def _weigh(text: str, roots: list[Node], forms: list[str]) -> None:
    seen: Counter[str] = Counter()
    for i, (node, kind) in enumerate(zip(roots, forms, strict=True)):
        if i and kind == forms[i - 1]:
            node.prior = -1.0
            seen[kind] += 1
            continue
        head = text[node.start : min(node.end, node.start + 2000)]
        worth = 1.0 if _SEVERE.search(head) else 0.8 if _WARNING.search(head) or failure(head) else 0.5
        node.prior = worth / (1 + seen[kind])
        if i in (0, len(roots) - 1):
            node.prior = max(node.prior, 0.7)
        seen[kind] += 1
