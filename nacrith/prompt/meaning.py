"""Words that restrict what a sentence says: negations, limits ("only", "hardly"), conditions ("unless").

A restriction is worth nothing without what it restricts, and the rest is wrong without the restriction. So
the sentence of such a word is kept or dropped as a whole; of a very long sentence, the clauses around it.
The words are found by look-up, in the languages that a paragraph may be in; time is linear in the text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from typing import NamedTuple

import numpy as np

from nacrith.prompt.languages import LANGUAGES, LATIN, OTHER_NEGATIONS, SPACED, Language, words
from nacrith.prompt.segment import WORD, Passage

NEGATION, LIMIT, CONDITION, NUMERAL, HARMLESS = "negation", "limit", "condition", "numeral", "harmless"
RESTRICTIONS = (NEGATION, LIMIT, CONDITION)

_LONG = 80.0
"""Words. Of a longer sentence only the surroundings of a restriction stay together."""
_AROUND = 24.0  # words, at least, of such surroundings
_HAN_WORD = 0.5

TOKEN = re.compile(r"[^\W\d_]+")
_PARAGRAPH = re.compile(r"\n[ \t]*\n")
_KANA = re.compile(r"[\u3041-\u30ff]")
_HAN = re.compile(r"[\u3041-\u30ff\u3400-\u9fff]")
_CLITICS = "وفبلك"
_LEAST, _MOST = 2, 12  # letters of the fixed beginning of an entry with an ending of any kind


class Hit(NamedTuple):
    """A word of the tables in a text."""

    start: int
    end: int
    kind: str


class _Entry(NamedTuple):
    """The rest of a phrase after its first word. open: its last word may have any ending."""

    rest: tuple[str, ...]
    open: bool
    kind: str
    language: str


def _fields(language: Language) -> Iterator[tuple[str, str]]:
    for kind, field in (
        (NEGATION, language.negations),
        (LIMIT, language.limits),
        (CONDITION, language.conditions),
        (NUMERAL, language.numerals),
        (HARMLESS, language.harmless),
    ):
        for entry in words(field):
            yield kind, entry


@cache
def _table() -> tuple[dict[str, list[_Entry]], dict[str, list[_Entry]]]:
    """Entries by their first word, and those of a single word with any ending by its beginning."""
    whole: dict[str, list[_Entry]] = {}
    begun: dict[str, list[_Entry]] = {}
    every = [(kind, e, name) for name in SPACED for kind, e in _fields(LANGUAGES[name])]
    every += [(NEGATION, e, "") for e in OTHER_NEGATIONS]
    for kind, entry, language in every:
        first, *rest = TOKEN.findall(entry)
        made = _Entry(tuple(rest), entry.endswith("*"), kind, language)
        (begun if made.open and not rest else whole).setdefault(first, []).append(made)
    return whole, begun


@cache
def _unspaced(language: str) -> list[tuple[str, re.Pattern[str]]]:
    table = LANGUAGES[language]
    fields = ((NEGATION, table.negations), (LIMIT, table.limits), (CONDITION, table.conditions))
    return [(kind, re.compile("|".join(words(field)))) for kind, field in fields]


@cache
def _common() -> dict[str, list[str]]:
    """The languages of each common word."""
    out: dict[str, list[str]] = {}
    for name in LATIN:
        for word in words(LANGUAGES[name].common):
            out.setdefault(word, []).append(name)
    return out


Token = tuple[int, int, str]


def tokens(text: str, start: int = 0, end: int | None = None) -> list[Token]:
    """(start, end, word in lower case) of the runs of letters."""
    found = TOKEN.finditer(text, start, len(text) if end is None else end)
    return [(m.start(), m.end(), m.group().casefold()) for m in found]


def languages(found: Sequence[Token], otherwise: frozenset[str] = frozenset(LATIN)) -> frozenset[str]:
    """The Latin languages that a text may be in; `otherwise` if there is no sign of any."""
    common = _common()
    tally = dict.fromkeys(LATIN, 0)
    for _, _, word in found:
        for name in common.get(word, ()):
            tally[name] += 1
    most = max(tally.values())
    return frozenset(n for n, c in tally.items() if 2 * c >= most) if most else otherwise


def hits(text: str) -> list[Hit]:
    """The restrictions and the numbers in words of a text, by paragraph."""
    out: list[Hit] = []
    every = tokens(text)
    latin = languages(every)
    k = 0
    start = 0
    for end in [*(m.end() for m in _PARAGRAPH.finditer(text)), len(text)]:
        first = k
        while k < len(every) and every[k][0] < end:
            k += 1
        mine = every[first:k]
        out += _harmful(_words(text, mine, languages(mine, latin)))
        if _HAN.search(text, start, end):
            name = "ja" if _KANA.search(text, start, end) else "zh"
            for kind, pattern in _unspaced(name):
                out += (Hit(m.start(), m.end(), kind) for m in pattern.finditer(text, start, end))
        start = end
    return sorted(out)


def _harmful(found: Iterable[Hit]) -> Iterator[Hit]:
    """Without the words of harmless phrases, such as "a few"."""
    every = list(found)
    harmless = [h for h in every if h.kind == HARMLESS]
    if not harmless:
        yield from every
        return
    covered = {k for h in harmless for k in range(h.start, h.end)}
    yield from (h for h in every if h.start not in covered)


def _words(text: str, found: Sequence[Token], latin: frozenset[str]) -> Iterator[Hit]:
    allowed = latin | set(LANGUAGES).difference(LATIN) | {""}
    whole, begun = _table()
    for i, (start, end, word) in enumerate(found):
        if word == "t" and i and text[start - 1] in "'’" and found[i - 1][2].endswith("n"):
            yield Hit(found[i - 1][0], end, NEGATION)  # don't
            continue
        for form in _forms(word):
            for entry in whole.get(form, ()):
                last = i + len(entry.rest)
                if entry.language in allowed and last < len(found) and _follows(entry, found, i):
                    yield Hit(start, found[last][1], entry.kind)
            for size in range(_LEAST, min(len(form), _MOST) + 1):
                for entry in begun.get(form[:size], ()):
                    if entry.language in allowed:
                        yield Hit(start, end, entry.kind)


def _forms(word: str) -> Iterable[str]:
    """A word, and without the prepositions and the article that Arabic writes together with it."""
    if not "\u0600" <= word[0] <= "\u06ff":
        return (word,)
    bare = word[1:] if word[0] in _CLITICS and len(word) > 2 else word
    return dict.fromkeys((word, bare, word.removeprefix("ال"), bare.removeprefix("ال") or bare))


def _follows(entry: _Entry, found: Sequence[Token], i: int) -> bool:
    for k, wanted in enumerate(entry.rest, i + 1):
        word = found[k][2]
        final = entry.open and k == i + len(entry.rest)
        if not (word.startswith(wanted) if final else word == wanted) or found[k][0] - found[k - 1][1] > 2:
            return False
    return True


def scopes(p: Passage, found: Iterable[Hit]) -> Iterator[Hit]:
    """The spans that stay together because of the restrictions found; kind is that of the restriction."""
    sizes = np.where(p.solid, 1.0, _HAN_WORD) * (p.kinds == WORD)
    total = np.concatenate([[0.0], np.cumsum(sizes)])
    done: dict[str, tuple[int, int]] = {}  # the last span of each kind
    for start, _, kind in found:
        if kind not in RESTRICTIONS:
            continue
        unit = min(int(np.searchsorted(p.ends, start, "right")), len(p) - 1)
        first, end = p.sentences[int(p.sentence[unit])]
        if total[end] - total[first] > _LONG:
            begun, ended = done.get(kind, (0, 0))
            if 2 * unit < begun + ended:
                continue  # in the first half of the last span: its surroundings are there
            first, end = _clauses_around(p, unit, total)
        elif done.get(kind) == (first, end):
            continue
        done[kind] = first, end
        yield Hit(int(p.starts[first]), int(p.ends[end - 1]), kind)


def _clauses_around(p: Passage, unit: int, total: np.ndarray) -> tuple[int, int]:
    """The units of the clauses around a unit within its sentence: first, one past the last."""
    low, high = p.sentences[int(p.sentence[unit])]
    first = low + int(np.searchsorted(p.clauses[low:high], p.clauses[unit], "left"))
    end = low + int(np.searchsorted(p.clauses[low:high], p.clauses[unit], "right"))
    if total[end] - total[first] > _LONG:  # no commas for a long while
        first = max(first, int(np.searchsorted(total, total[unit] - _AROUND / 2)))
        end = min(end, int(np.searchsorted(total, total[unit] + _AROUND)))
    while total[end] - total[first] < _AROUND and (end < high or first > low):
        if end < high:
            end = low + int(np.searchsorted(p.clauses[low:high], p.clauses[end], "right"))
        if first > low:
            first = low + int(np.searchsorted(p.clauses[low:high], p.clauses[first - 1], "left"))
    return first, max(end, unit + 1)
