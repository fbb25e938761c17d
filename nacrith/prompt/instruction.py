"""Finds the instruction of a plain prompt: what a person asks for, beside the text that it is about.

It stands in the first or the last paragraph, and is an imperative or a question. If a paragraph begins with
one, or is short, all of it is the instruction, since what follows usually says how ("in French").
"""

from __future__ import annotations

import re
from functools import cache

from nacrith.prompt.languages import SPACED, UNSPACED, every
from nacrith.prompt.meaning import TOKEN
from nacrith.prompt.segment import passage

Span = tuple[int, int]

_PARAGRAPH = re.compile(r"\n[ \t]*\n\s*")
_SHORT = 60  # words of a paragraph that is an instruction as a whole
_LONG = 100
_ASIDE = re.compile(r"<\|?[^<>\n]{1,80}>|\"[^\"\n]*\"|“[^”\n]*”|«[^»\n]*»|„[^“”\n]*[“”]")
_NOUN = frozenset({"of", "is", "was"})  # before them, "list" and "answer" are no verbs
_READ = 4000  # characters of a paragraph that are examined
_QUESTION = "?？؟"
_CLOSERS = "\"'”’»」』)）*_ "
_OPENERS = "-*•>#\"'“„«¿¡([1234567890.) "


@cache
def _phrases() -> tuple[frozenset[str], frozenset[tuple[str, ...]], tuple[str, ...]]:
    """First words, phrases anywhere, and beginnings."""
    first = set(every("imperatives", SPACED))
    polite = every("polite", SPACED)
    begun = {w.removeprefix("^") for w in polite if w[0] == "^" or w[-1] in ":："}
    phrases = {tuple(TOKEN.findall(w)) for w in polite if w[0] != "^" and w[-1] not in ":："}
    begun |= {w[:-1] for w in first if w.endswith("*")}
    begun |= {*every("imperatives", UNSPACED), *every("polite", UNSPACED)}
    return frozenset(first), frozenset(phrases), tuple(begun)


def is_instruction(sentence: str) -> bool:
    """Whether a sentence is an imperative or a question."""
    plain = _ASIDE.sub("", sentence.strip().casefold()) or sentence
    if plain.rstrip(_CLOSERS).endswith(tuple(_QUESTION)):
        return True
    first, phrases, begun = _phrases()
    plain = plain.lstrip(_OPENERS)
    if plain.startswith(begun) or _polite_end(plain):
        return True
    found = TOKEN.findall(plain[:400])
    if not found:
        return False
    if found[0] in first and _NOUN.isdisjoint(found[1:2]):
        return True
    return any(tuple(found[i : i + n]) in phrases for i in range(len(found)) for n in (1, 2, 3, 4))


def _polite_end(sentence: str) -> bool:
    """Whether it ends as a request in a language with the verb at the end."""
    return sentence.rstrip("。.！!　 ").endswith(tuple(every("polite", ("ja",))))


def instructions(text: str, first_only: bool = False) -> list[Span]:
    """Spans of the instruction of a prompt, ascending and disjoint. first_only: of the first paragraph,
    whatever follows it."""
    edges = [m.span() for m in _PARAGRAPH.finditer(text)]
    starts = [0, *(b for _, b in edges)]
    ends = [*(a for a, _ in edges), len(text)]
    blocks = [(a, b) for a, b in zip(starts, ends, strict=True) if text[a:b].strip()]
    if not blocks:
        return []
    if len(blocks) == 1 and not first_only:
        return _outer(text, *blocks[0])
    out: list[Span] = []
    for a, b in blocks[:1] if first_only else (blocks[0], blocks[-1]):
        out += _paragraph(text, a, b)
    return out


def _paragraph(text: str, start: int, end: int) -> list[Span]:
    found = _sentences(text, start, min(end, start + _READ))
    asked = [(a, b) for a, b in found if is_instruction(text[a:b])]
    size = len(text[start:end].split()) + len(re.findall(r"[\u3041-\u9fff]", text[start:end])) // 2
    if asked and (size <= _SHORT or (asked[0] == found[0] and size <= _LONG)):
        return [(start, end)]
    return asked


def _outer(text: str, start: int, end: int) -> list[Span]:
    """The first and the last sentence, where they are instructions."""
    found = [
        *_sentences(text, start, min(end, start + _READ))[:1],
        *_sentences(text, max(start, end - _READ), end)[-1:],
    ]
    return [(a, b) for a, b in dict.fromkeys(found) if is_instruction(text[a:b]) and (a, b) != (start, end)]


def _sentences(text: str, start: int, end: int) -> list[Span]:
    p = passage(text[start:end])
    return [(start + int(p.starts[a]), start + int(p.ends[b - 1])) for a, b in p.sentences]
