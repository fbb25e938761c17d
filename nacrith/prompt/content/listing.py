"""Listings of files as `ls -l` prints them: some of the lines, and how many of how many.

`total`, the names of directories in a recursive listing and messages stay. Entries are spread over all, after
those of a kind that few others have. A table (`table`) has delimiters and a header; here columns are apart by
spaces.
"""

from __future__ import annotations

import re
from collections import Counter

from nacrith.prompt.content import priors
from nacrith.prompt.content.blocks import Content, Lines, Node, line_spans

_MODE = r"[-dlbcps][-rwxsStT]{9}[.+@]? +\d+ +\S+ +\S+ +"
_TIME = r"(?:\S+ +\S+ +\S+|\d{4}-\d\d-\d\d +\d\d:\d\d\S*)"
_ENTRY = re.compile(rf"{_MODE}[\d.,]+[KMGT]?(?:, *\d+)? +{_TIME} +\S")
_LEAST, _SHARE = 5, 0.7  # entries, and their share of the lines that are not blank
_RARE = 0.1  # share of the entries that have the type and the suffix of a rare one


def parse(text: str) -> Content | None:
    """The content of a listing; None for other text."""
    lines = line_spans(text)
    entries = [i for i, (a, b) in enumerate(lines) if _ENTRY.match(text, a, b)]
    filled = sum(bool(text[a:b].strip()) for a, b in lines)
    if len(entries) < _LEAST or len(entries) < _SHARE * filled:
        return None
    kinds = [text[lines[i][0]] + _suffix(text[slice(*lines[i])]) for i in entries]
    tally = Counter(kinds)
    weights = priors.sampled(len(entries))
    nodes = [
        Node(*lines[i], 1.0 if tally[kind] <= _RARE * len(entries) else weight / 2)
        for i, kind, weight in zip(entries, kinds, weights, strict=True)
    ]
    return Lines("listing", text, nodes)


def _suffix(line: str) -> str:
    """The suffix of the name at the end of a line, or ""."""
    name = line.split()[-1]
    return name.rpartition(".")[2] if "." in name else ""
