"""Which columns of records a question is about: those that it names, and those with a value that it names.

A column is left out last: only if the rows with such a value do not fit with all columns, and only if the
question names a column; else what is asked for may stand anywhere. The first column, which mostly tells
which record it is, stays.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from nacrith.prompt.scorers.terms import stem, terms
from nacrith.prompt.segment import passage

_WORD = re.compile(r"[^\W_]+")
_CASE = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_VALUE = 60  # characters; a longer value is a text, in which words of the question say little
_ROWS = 0.8  # of the room is for rows; the rest for the header and notes


def asked(
    query: str, names: Sequence[str], rows: Sequence[Sequence[str]], sizes: Sequence[int], room: float
) -> list[int] | None:
    """The columns to keep, ascending; None for all. rows: the values of each record. sizes: (rows,)
    characters of each. room: characters that may be kept."""
    words = {term for _, term in terms(passage(query))}
    columns = {k for k, name in enumerate(names) if not words.isdisjoint(_terms(_CASE.sub(" ", name)))}
    if not columns or sum(sizes) <= _ROWS * room:
        return None
    named = [{k for k, value in enumerate(row) if _names(words, value)} for row in rows]
    some = any(named)
    wanted = sum(size for size, found in zip(sizes, named, strict=True) if found or not some)
    if wanted <= _ROWS * room:
        return None
    first = next((k for k, name in enumerate(names) if name), 0)
    columns |= {first, *(k for k, name in enumerate(names) if not name)}.union(*named)
    return sorted(columns) if len(columns) < len(names) else None


def note(missing: Sequence[str]) -> str:
    """What is said of columns that are left out."""
    return f"columns left out: {', '.join(missing)}"


def _names(words: set[str], value: str) -> bool:
    """Whether a question names a value: all of its words. A digit alone is no name."""
    if not 1 < len(value) <= _VALUE:
        return False
    found = _terms(value)
    return bool(found) and words.issuperset(found)


def _terms(text: str) -> list[str]:
    return [stem(word.casefold()) for word in _WORD.findall(text) if len(word) > 1]
