"""Numbers with what gives them their meaning: unit, currency, comparator, month; ranges and dates whole.

"at most 40 mg a day", "EUR 1,250.50", "3 March 2025 at 14:30" are one atom each: kept or dropped as a whole.
The words are those of all languages together, since next to a number few of them mean anything else.
Around each number only a few characters are read, so the time is linear in the text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache

from nacrith.prompt.languages import COMMON, CURRENCIES, MONTHS, SPACED, SYMBOLS, UNSPACED, every
from nacrith.prompt.meaning import TOKEN

Span = tuple[int, int]

_SPACE = "[ \u00a0\u202f\u2009]"
_CORE = (
    rf"[+\-−±]?(?:[$€£¥₹₽]{_SPACE}?)?(?:\d{{1,3}}(?:[ \u00a0\u202f\u2009]\d{{3}})+(?!\d)(?:[.,]\d+)?"
    r"|\d[\d.,:/×x^eE+-]*(?<![.,:/+-])|[½¼¾⅓⅔⅛])(?:[%‰°€£¥₹₽]|(?<=\d)[½¼¾])?"
)
_NUMBER = re.compile(_CORE)
_RANGE = re.compile(
    rf"(?:{_SPACE}?[-–—~〜～/×]{_SPACE}?|{_SPACE}(?:to|bis|or|oder|à|a|al|ou|o|et|and|und|y|e|и|до|или|in|on|إلى|و){_SPACE}"
    rf"|至|到|から){_CORE}"
)
_HAN_NUMERAL = re.compile(r"[〇一二三四五六七八九十百千万亿两億]+")
_BEFORE = re.compile(r"[^\W\d_]+|[<>≤≥=≈~±$€£¥₹₽§№#]+")
_WINDOW = 48  # characters before a number that may belong to it
_REACH = 4  # words of a comparator
_NOUN = re.compile(rf"{_SPACE}([^\W\d_][\w'’-]*)")
_DATE_END = re.compile(rf"(?:,{_SPACE}|{_SPACE}(?:at|um|à|alle|às|de|del|year)?{_SPACE}?|,|T)")
_GLUE = re.compile(rf"{_SPACE}?|{_SPACE}(?:at|um|de|del|alle){_SPACE}")


@cache
def _after() -> re.Pattern[str]:
    """What may follow a number: a unit, and units per which it is."""
    spaced = {*every("units", SPACED), *MONTHS, *(w for w in SYMBOLS if w[0].isalpha())}
    units = "|".join(_escaped(w) for w in sorted(spaced, key=len, reverse=True))
    signs = "|".join(_escaped(w) for w in sorted(SYMBOLS, key=len, reverse=True) if not w[0].isalpha())
    dense = sorted({*every("units", UNSPACED)}, key=len, reverse=True)
    unit = rf"(?:(?:{units})(?!\w)|(?:{signs}))"
    per = "|".join(map(_escaped, every("per")))
    tail = rf"(?:{_SPACE}?(?:/|\b(?:{per})\b){_SPACE}?{unit}){{0,2}}"
    link = rf"(?:-|\.?{_SPACE}?(?:(?:de|of){_SPACE})?)"
    return re.compile(rf"{link}{unit}{tail}|{_SPACE}?(?:{'|'.join(dense)})+", re.IGNORECASE)


def _escaped(word: str) -> str:
    return re.escape(word.removesuffix("*")) + (r"\w*" if word.endswith("*") else "")


@cache
def _comparators() -> tuple[frozenset[tuple[str, ...]], frozenset[str]]:
    """Phrases before a number as tuples of words, and substrings of languages without spaces."""
    spaced = {tuple(TOKEN.findall(w)) for w in (*every("comparators", SPACED), *CURRENCIES, *MONTHS)}
    return frozenset(spaced - {()}), frozenset(every("comparators", UNSPACED))


def atoms(text: str, numerals: Iterable[Span] = ()) -> list[Span]:
    """The spans of numbers with what belongs to them, ascending and disjoint. numerals: spans of numbers
    in words."""
    found = [m.span() for m in _NUMBER.finditer(text)]
    found += (m.span() for m in _HAN_NUMERAL.finditer(text) if _after().match(text, m.end()))
    out: list[Span] = []
    for start, end in sorted([*found, *numerals]):
        if out and start < out[-1][1]:
            continue
        span = _begin(text, start), _end(text, end)
        if out and (span[0] <= out[-1][1] or _joined(text, out[-1], span)):
            out[-1] = out[-1][0], span[1]
        else:
            out.append(span)
    return out


def _joined(text: str, left: Span, right: Span) -> bool:
    """Whether two atoms are one: 5 h 30 min, March 3, 2025."""
    if right[0] - left[1] > 6:
        return False
    if _GLUE.fullmatch(text, left[1], right[0]):
        return True
    dated = any(t.casefold() in MONTHS for t in TOKEN.findall(text[left[0] : left[1]]))
    return dated and _DATE_END.fullmatch(text, left[1], right[0]) is not None


def _end(text: str, end: int) -> int:
    """The end of what follows a number."""
    known = False
    for _ in range(3):
        unit = _after().match(text, end)
        if unit:
            end, known = unit.end(), True
        again = _RANGE.match(text, end)
        if not again:
            break
        end, known = again.end(), False
    noun = None if known else _NOUN.match(text, end)
    return noun.end() if noun and noun[1].casefold() not in COMMON else end


def _begin(text: str, start: int) -> int:
    """The start of what precedes a number."""
    spaced, dense = _comparators()
    for _ in range(2):
        size = next((n for n in (4, 3, 2, 1) if text[start - n : start].strip() in dense), 0) if start else 0
        if size:
            start -= size
            continue
        base = max(0, start - _WINDOW)
        before = list(_BEFORE.finditer(text, base, start))[-_REACH:]
        if base and before and before[0].start() == base:
            before = before[1:]  # it may begin within a word
        taken = next((n for n in range(len(before), 0, -1) if _ends_in(text, before[-n:], start, spaced)), 0)
        if not taken:
            break
        start = before[-taken].start()
    return start


def _ends_in(text: str, found: list[re.Match[str]], start: int, phrases: frozenset[tuple[str, ...]]) -> bool:
    """Whether these words stand directly before `start` and are a phrase."""
    edges = [*(m.start() for m in found[1:]), start]
    if any(e - m.end() > 2 or "\n\n" in text[m.end() : e] for m, e in zip(found, edges, strict=True)):
        return False
    if any(c in ",;:.!?)" for m, e in zip(found, edges, strict=True) for c in text[m.end() : e]):
        return False
    if len(found) == 1 and not found[0].group()[0].isalpha():
        return True
    return tuple(m.group().casefold() for m in found) in phrases
