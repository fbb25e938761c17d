"""Sentences that could answer a question by what they have: a date for "when", a number for "how many".

A question word says what kind of thing is asked for, in the languages of the tables; names are a sign only
where names alone are capitalised. A sentence without it may answer too, so this is one weight among others.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from nacrith.arith import F64
from nacrith.prompt.languages import MONTHS, every

_FLAGS = re.IGNORECASE


def _any(words: Sequence[str]) -> str:
    return "|".join(re.escape(w) for w in sorted(words, key=len, reverse=True))


_WHEN = re.compile(
    r"\b(?:when|(?:what|which) (?:year|date|day|month|century|decade)|wann|(?:welchem|welches) jahr|quand"
    r"|quelle année|cuándo|(?:qué|que|che) año|quando|in che anno)\b",
    _FLAGS,
)
_NUMBER = re.compile(
    r"\b(?:how (?:many|much|long|old|far|tall|big|high|large|often|deep|fast)|wie ?viele?"
    r"|wie (?:lange|alt|weit|hoch|groß|oft)|combien|cuánt[oa]s?|quant[oaie])\b",
    _FLAGS,
)
_NAME = re.compile(r"\b(?:who|whom|whose|qui|quién(?:es)?|chi|quem)\b", _FLAGS)
_PLACE = re.compile(
    r"\b(?:where|(?:what|which) (?:city|country|state|town|place)|où|dónde|dove|onde)\b", _FLAGS
)

_DATE = re.compile(
    rf"\b(?:1\d{{3}}|20\d\d)s?\b|\b(?:{_any(list(MONTHS))})\b|\b(?:century|jahrhundert|siècle|siglo)\b|年",
    _FLAGS,
)
_DIGITS = re.compile(rf"\d|\b(?:{_any(every('numerals'))})\b", _FLAGS)
_CAPITAL = re.compile(r"(?<=[^\s.!?:] )[\"“(]?([A-ZÀ-Þ]\w+)")
_HAS_NAME, _HAS_DATE, _HAS_NUMBER, _HAS_PLACE = 1.0, 1.2, 1.0, 0.7


def cues(question: str, sentences: Sequence[str]) -> F64:
    """(sentences,) weight of the sign that a sentence has what is asked for, 0 without."""
    out = np.zeros(len(sentences))
    for asks, has, weight in ((_WHEN, _DATE, _HAS_DATE), (_NUMBER, _DIGITS, _HAS_NUMBER)):
        if asks.search(question):
            out += weight * np.array([has.search(s) is not None for s in sentences])
    for asks, weight in ((_NAME, _HAS_NAME), (_PLACE, _HAS_PLACE)):
        if asks.search(question):
            known = set(re.findall(r"\w+", question.casefold()))
            out += weight * np.array([_new_name(s, known) for s in sentences])
    return out


def _new_name(sentence: str, known: set[str]) -> bool:
    """Whether a word that is no first one is capitalised, and is none of the question."""
    return any(m[1].casefold() not in known for m in _CAPITAL.finditer(sentence))
