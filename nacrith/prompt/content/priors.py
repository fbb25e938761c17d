"""Importance of records where no query says what is looked for: a spread over all, and what is rare.

A reader of "5 of 500 rows" wants to know what rows look like, how far they go, and which differ. So the
first and the last come first, then those between, evenly; and rows with a value that few others have (a
status that is not "ok"), or with a word of failure, come before like ones.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

_FAILURE = re.compile(
    r"(?i)\b(?:error|fail(?:ed|ure|s)?|exception|fatal|critical|panic(?:ked)?|denied|refused"
    r"|timed? ?out|abort(?:ed)?|fehler|erreur|échec|errore|ошибка)\b|错误|失败|エラー|خطأ"
)
_SPREAD, _RARE = 0.6, 0.4  # shares of the prior
_REPEATED = 0.1  # of the prior is left for a record that is there already
_CLASSES = 12  # a field with more values is no class
_SMALL = 0.2  # a value is rare if it has at most this share of the records


def sampled(count: int) -> list[float]:
    """Priors of `count` like records, so that any number of the best ones is spread over all of them: the
    first, the last, the middle, the quarters, and so on."""
    out = [0.0] * count
    if not count:
        return out
    order = dict.fromkeys((0, count - 1))
    step = count
    while step > 1:
        step = (step + 1) // 2
        order.update(dict.fromkeys(range(step, count, step)))
    for rank, i in enumerate(order):
        out[i] = 1 - rank / count
    return out


def of_records(rows: Sequence[Sequence[str]]) -> list[float]:
    """Priors of records, given as the text of each field; rows may differ in length."""
    rare = [1.0 if any(map(failure, row)) else 0.0 for row in rows]
    columns = max(map(len, rows), default=0)
    for k in range(columns):
        tally = Counter(row[k] for row in rows if k < len(row))
        if not 1 < len(tally) <= min(_CLASSES, len(rows) // 3):
            continue
        few = {value for value, n in tally.items() if n <= _SMALL * len(rows)}
        for i, row in enumerate(rows):
            if k < len(row) and row[k] in few:
                rare[i] = max(rare[i], 0.75)
    out = [_SPREAD * a + _RARE * b for a, b in zip(sampled(len(rows)), rare, strict=True)]
    seen: set[tuple[str, ...]] = set()
    for i, row in enumerate(map(tuple, rows)):
        if row in seen:
            out[i] *= _REPEATED
        seen.add(row)
    return out


def failure(text: str) -> bool:
    """Whether a text tells of a failure."""
    return _FAILURE.search(text) is not None
