"""Diffs: changed lines before the context around them; a hunk keeps its header, a file its name.

What is generated (lock files, minified code) comes last.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from nacrith.prompt.content.blocks import Content, Lines, Node, line_spans

_FILE = re.compile(r"diff --git |Index: |diff -")
_OLD = re.compile(r"--- \S")
_HUNK = re.compile(r"@@+ [-+,\d ]+ @@")
_GENERATED = re.compile(
    r"(?:package-lock\.json|yarn\.lock|\.lock\b|go\.sum|\.min\.(?:js|css)|\.map\b|\.snap\b|_pb2\.py)"
)
_CHANGE, _CONTEXT, _FILES, _HEADER, _ABOUT = 0.8, 0.2, 0.9, 0.3, 0.8
"""Priors. The names of several files are an overview; a header of one, or of a hunk, is none: it comes with
a change."""
_TOLD = ("--- ", "+++ ", "index ", "similarity ", "old mode", "new mode")
"""Lines of a file's header that say what others do; the first two repeat the names of `diff --git`."""
_LEAST, _MOST = 3, 20  # changed lines that are kept together: an eighth of all, so many at least and most


def parse(text: str) -> Content | None:
    """The content of a unified diff, also with a message before it; None for other text."""
    lines = line_spans(text)
    files = [i for i, (a, b) in enumerate(lines) if _starts_file(text, lines, i)]
    hunks = [i for i, (a, b) in enumerate(lines) if _HUNK.match(text, a, b)]
    if not hunks or not files or files[0] > hunks[0]:
        return None
    changed = sum(text[a] in "+- @\n\r\\" for a, b in lines[files[0] :])
    if changed < 0.7 * (len(lines) - files[0]):
        return None
    roots = [Node(lines[0][0], lines[files[0] - 1][1], _ABOUT)] if files[0] else []
    changes = sum(text[a] in "+-" for a, b in lines[hunks[0] :])
    many = min(_MOST, max(_LEAST, changes // 8))
    for i, stop in zip(files, [*files[1:], len(lines)], strict=True):
        roots.append(_file(text, lines[i:stop], _FILES if len(files) > 1 else _HEADER, many))
    return Lines("diff", text, roots)


def _starts_file(text: str, lines: Sequence[tuple[int, int]], i: int) -> bool:
    a, b = lines[i]
    if _FILE.match(text, a, b):
        return True
    if not _OLD.match(text, a, b) or i + 1 == len(lines) or not text.startswith("+++ ", lines[i + 1][0]):
        return False
    # The header of a git diff begins a few lines before.
    return not any(_FILE.match(text, *lines[k]) for k in range(max(0, i - 6), i))


def _file(text: str, lines: Sequence[tuple[int, int]], prior: float, many: int) -> Node:
    head = text[lines[0][0] : lines[0][1]]
    scale = 0.1 if _GENERATED.search(head) else 1.0
    node = Node(lines[0][0], lines[-1][1], prior)
    hunks = [i for i, (a, b) in enumerate(lines) if _HUNK.match(text, a, b)]
    named = head.startswith("diff --git")
    for a, b in lines[1 : hunks[0] if hunks else len(lines)]:
        if text.startswith(_TOLD if named else _TOLD[2:], a):
            node.children.append(Node(a, b, 0.1))
    for i, stop in zip(hunks, [*hunks[1:], len(lines)], strict=True):
        node.children.append(_hunk(text, lines[i:stop], scale, many))
    return node


def _hunk(text: str, lines: Sequence[tuple[int, int]], scale: float, many: int) -> Node:
    """A hunk: its header, and a node for each run of changed lines, which holds the context before it; that
    after the last one belongs to it too. So no context is kept for want of room for what it is about. A run
    holds its later lines, so that what is kept of it has no gap."""
    node = Node(lines[0][0], lines[-1][1], _HEADER * scale)
    around: list[Node] = []  # runs of context before the next change
    chain: list[Node] = []  # the run of changes so far, each node in the one before it
    size = 0  # lines of the run
    for a, b in lines[1:]:
        if text[a] not in "+-\\":
            if around and text.count("\n", around[-1].start, around[-1].end) < _MOST:
                around[-1].end = b
            else:
                around.append(Node(a, b, _CONTEXT * scale))
            continue
        if around or not chain or size == _MOST:
            chain = [Node(around[0].start if around else a, b, _CHANGE * scale, children=around)]
            node.children.append(chain[0])
            around, size = [], 0
        elif size % many == 0:
            chain.append(Node(a, b, _CHANGE * scale))
            chain[-2].children.append(chain[-1])
        size += 1
        for holder in chain:
            holder.end = b
    for holder in chain if around else ():
        holder.end = around[-1].end
    (chain[-1] if chain else node).children += around
    return node
