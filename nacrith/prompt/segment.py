"""Divides text into units, the smallest pieces that are kept or dropped, and groups units to sentences.

A unit is a word, the punctuation before or after it, a Han or Hiragana character, a run of Katakana, or
one emoji with all characters joined to it. Units do not overlap and cover everything but white space, so
any choice of them consists of spans of the text; text is never decoded from tokens. Within a run without
spaces, only rules are used to divide it: "state-of-the-art", "a/b.py" and Thai remain whole.

Sentences end as in UAX #29 (terminator, space, no lower-case letter), except after abbreviations and
ordinals, and by layout: blank lines, list items, headings, and lines that are not wrapped prose. Sentences
consist of clauses, which end at commas and the like, and before conjunctions.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from nacrith.lazy import lazy
from nacrith.prompt.languages import ABBREVIATIONS, CONJUNCTIONS, MONTHS, ORDINAL_AFTER

I64 = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

WORD, OPEN, CLOSE, INFIX = range(4)
"""Kinds of a unit. All but words depend on their neighbours: OPEN on the right one, CLOSE on the left
one, INFIX (a dash between words) on both."""

_MARKS = (
    "\u0300-\u036f\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\u3099\u309a\ufe00-\ufe0f\ufe20-\ufe2f"
    "\U0001f3fb-\U0001f3ff\U000e0020-\U000e007f\U000e0100-\U000e01ef"
)
_HAN = "\u3005-\u3007\u3041-\u3096\u309d-\u309f\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_KANA = "\u30a0-\u30ff\u31f0-\u31ff\uff66-\uff9f"
_WIDE_OPEN = "\u3008\u300a\u300c\u300e\u3010\u3014\u3016\u3018\u301a\uff08\uff3b\uff5b"
_WIDE_CLOSE = (
    "\u3001\u3002\u3009\u300b\u300d\u300f\u3011\u3015\u3017\u3019\u301b"
    "\uff01\uff09\uff0c\uff0e\uff1a\uff1b\uff1f\uff3d\uff5d"
)
_EMOJI = "\u2190-\u21ff\u2300-\u23ff\u2600-\u27bf\u2b00-\u2bff\u3030\u303d\u3297\u3299\U0001f000-\U0001faff"
_SPECIAL = _HAN + _KANA + _WIDE_OPEN + _WIDE_CLOSE + _EMOJI
_RUN = re.compile(
    rf"(?P<emoji>[\U0001f1e6-\U0001f1ff]{{2}}|[{_EMOJI}][{_MARKS}]*(?:\u200d[{_EMOJI}][{_MARKS}]*)*)"
    rf"|(?P<han>[{_HAN}][{_MARKS}\u200d]*)"
    rf"|(?P<kana>[{_KANA}][{_KANA}{_MARKS}\u200d]*)"
    rf"|(?P<open>[{_WIDE_OPEN}][{_MARKS}\u200d]*)"
    rf"|(?P<close>[{_WIDE_CLOSE}]+[{_MARKS}\u200d]*)"
    rf"|(?P<plain>[^\s{_SPECIAL}]+)"
)
_AFFIX = set("()[]{}<>\"'`.,;:!?…‘’“”„‚«»‹›¡¿،؛؟۔।॥·*_")
_OPENERS = set("([{<“„‘‚«‹¡¿")
_LONE_CLOSERS = set(")]}>.,;:!?…”’»›،؛؟۔।॥")
_END = set(".!?…؟۔।॥。！？．")
_BULLET = re.compile(r"(?:[-*+•>|]+|#{1,6}|\(?(?:\d{1,3}|[A-Za-z])[.)])$")
_TAG = re.compile(
    r"</?[A-Za-z][\w:.-]{0,80}/?>|<\|[^|<>\s]{1,40}\|>|(?<=[\"'])/?>|<[A-Za-z][\w:.-]{0,80}(?:\Z|(?=\s))"
)
_CLAUSE_END = set(",;:،؛、，；：—–")
_LEAD_END = set(":：")
_CLAUSE = 3.0  # words on each side of the end of a clause
_HAN_WORD = 0.4  # words of a Han or Hiragana character
_NUMBERED = re.compile(r"\d{1,3}(?:\.\d{1,3})*|[IVX]+|[A-Za-z]")
_DAY = re.compile(r"\d{1,3}")
_LABEL = re.compile(r"[^\W\d_][\w .-]{0,30}:$")
_QUOTED = 120  # characters of a short line
_WRAPPED = 60  # characters; a sentence may continue after a line of at least this length


@dataclass(frozen=True)
class Passage:
    """A text and its units.

    starts, ends: (n,) offsets of the units, ascending; they never include white space. kinds: (n,) WORD,
    OPEN, CLOSE or INFIX. solid: (n,) units that must not be joined to another solid unit. sentence: (n,)
    number of the sentence of each unit, ascending from 0 without gaps.
    """

    text: str
    starts: I64
    ends: I64
    kinds: I64
    solid: Mask
    sentence: I64

    def __len__(self) -> int:
        return len(self.starts)

    @lazy
    def words(self) -> list[str]:
        """The text of each unit."""
        return [self.text[a:b] for a, b in zip(self.starts.tolist(), self.ends.tolist(), strict=True)]

    @lazy
    def sentences(self) -> list[tuple[int, int]]:
        """(first unit, one past the last) of each sentence."""
        if not len(self):
            return []
        first = np.flatnonzero(np.diff(self.sentence, prepend=-1))
        return list(zip(first.tolist(), [*first[1:].tolist(), len(self)], strict=True))

    def groups(self, most: int) -> list[tuple[int, int]]:
        """(first unit, one past the last) of groups of whole sentences. A group has at most `most` units,
        unless it is a single sentence."""
        out: list[tuple[int, int]] = []
        for a, b in self.sentences:
            if out and b - out[-1][0] <= most:
                out[-1] = out[-1][0], b
            else:
                out.append((a, b))
        return out

    @lazy
    def clauses(self) -> I64:
        """(n,) number of the clause of each unit, ascending from 0 without gaps. Each sentence begins a
        clause; a clause has a few words at least."""
        out = np.zeros(len(self), np.int64)
        sizes = np.where(self.solid, 1.0, _HAN_WORD) * (self.kinds == WORD)
        number = -1
        for first, end in self.sentences:
            number += 1
            left = float(sizes[first:end].sum())
            done = 0.0
            for i in range(first, end):
                if done >= _CLAUSE <= left and self.words[i].casefold() in CONJUNCTIONS:
                    number, done = number + 1, 0.0
                out[i] = number
                done += sizes[i]
                left -= sizes[i]
                ends = self.kinds[i] in (CLOSE, INFIX) and not _CLAUSE_END.isdisjoint(self.words[i])
                if ends and done >= _CLAUSE and left >= _CLAUSE:
                    number, done = number + 1, 0.0
        return out

    @lazy
    def lists(self) -> list[tuple[int, int]]:
        """(sentence that leads a list in, one past the last sentence of its items)."""
        out: list[tuple[int, int]] = []
        for k, (first, _) in enumerate(self.sentences):
            if k == 0:
                continue
            if self.gaps[first].count("\n") in (1, 2) and _is_item(self.text, int(self.starts[first])):
                if out and out[-1][1] == k:
                    out[-1] = out[-1][0], k + 1
                elif not _LEAD_END.isdisjoint(self.words[first - 1]):
                    out.append((k - 1, k + 1))
        return out

    @lazy
    def nested(self) -> list[tuple[int, int]]:
        """(sentence, sentence) of an item of a list, and of one that is indented under it."""
        out: list[tuple[int, int]] = []
        stack: list[tuple[int, int]] = []  # indentation and sentence of the items around
        for k, (first, _) in enumerate(self.sentences):
            gap = self.gaps[first]
            if not _is_item(self.text, int(self.starts[first])) or (k and "\n" not in gap):
                continue
            if gap.count("\n") > 2:
                stack = []
            indent = len(gap) - 1 - gap.rfind("\n")
            while stack and stack[-1][0] >= indent:
                stack.pop()
            if stack:
                out.append((stack[-1][1], k))
            stack.append((indent, k))
        return out

    @lazy
    def gaps(self) -> list[str]:
        """The white space, which may be empty, before each unit and after the last one."""
        starts, ends = self.starts.tolist(), self.ends.tolist()
        return [self.text[a:b] for a, b in zip([0, *ends], [*starts, len(self.text)], strict=True)]

    def sentence_text(self, number: int) -> str:
        """The text of a sentence, without the white space around it."""
        first, end = self.sentences[number]
        return self.text[int(self.starts[first]) : int(self.ends[end - 1])]


def passage(text: str) -> Passage:
    """`text` divided into units and sentences."""
    spans: list[tuple[int, int, int, bool]] = []
    for match in _RUN.finditer(text):
        kind = match.lastgroup
        start, end = match.span()
        if kind == "plain":
            for a, b in _without_tags(text, start, end):
                _plain(text, a, b, spans)
        else:
            code = {"open": OPEN, "close": CLOSE}.get(kind or "", WORD)
            spans.append((start, end, code, kind == "kana"))
    table = np.array([s[:3] for s in spans], np.int64).reshape(-1, 3)
    starts, ends = table[:, 0], table[:, 1]
    return Passage(
        text,
        starts,
        ends,
        table[:, 2],
        np.array([s[3] for s in spans], bool),
        _sentences(text, starts.tolist(), ends.tolist(), table[:, 2].tolist()),
    )


def _without_tags(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Divide a run of ordinary characters at the tags of XML in it."""
    if text.find("<", start, end) < 0 and text.find(">", start, end) < 0:
        yield start, end
        return
    edges = {start, end}
    for tag in _TAG.finditer(text, start, end):
        edges.update(tag.span())
    yield from pairwise(sorted(edges))


def _plain(text: str, start: int, end: int, spans: list[tuple[int, int, int, bool]]) -> None:
    """Divide a run of ordinary characters: punctuation, word, punctuation."""
    first, last = start, end
    while first < end and text[first] in _AFFIX:
        first += 1
    if first == end:
        spans.append((start, end, _lone(text, start, end), False))
        return
    while first > start and (unicodedata.category(text[first])[0] == "M" or text[first] == "\u200d"):
        first -= 1  # a combining mark belongs to the character before it
    while last > first + 1 and text[last - 1] in _AFFIX:
        last -= 1
    if first > start:
        spans.append((start, first, OPEN, False))
    spans.append((first, last, WORD, True))
    if last < end:
        spans.append((last, end, CLOSE, False))


def _lone(text: str, start: int, end: int) -> int:
    """The kind of punctuation that is next to no word."""
    before = start - 1
    while before >= 0 and text[before].isspace() and text[before] != "\n":
        before -= 1
    if before < 0 or text[before] == "\n" or text[start] in _OPENERS:
        return OPEN
    if text[start] in _LONE_CLOSERS or (start and not text[start - 1].isspace()):
        return CLOSE
    return INFIX


def _sentences(text: str, starts: list[int], ends: list[int], kinds: list[int]) -> I64:
    out = np.zeros(len(starts), np.int64)
    number = 0
    for i in range(1, len(starts)):
        if kinds[i] != CLOSE or "\n" in text[ends[i - 1] : starts[i]]:
            first = i < 3 or out[i - 2] != out[i - 3]
            number += _is_break(text, starts, ends, i) and not (first and _counts(text, starts, ends, i))
        out[i] = number
    return out


def _counts(text: str, starts: list[int], ends: list[int], i: int) -> bool:
    """Whether what begins a sentence before unit i is its number ("9. Fees are due."), on the same line."""
    return (
        i > 1
        and text[starts[i - 1] : ends[i - 1]] == "."
        and "\n" not in text[ends[i - 1] : starts[i]]
        and _NUMBERED.fullmatch(text, starts[i - 2], ends[i - 2]) is not None
    )


def _is_break(text: str, starts: list[int], ends: list[int], i: int) -> bool:
    """Whether a sentence begins with unit i."""
    gap = text[ends[i - 1] : starts[i]]
    before = text[starts[i - 1] : ends[i - 1]]
    terminated = _END & set(before) if before and not before[0].isalnum() else set()
    after = text[starts[i] : ends[i]]
    short = before[0] == "." and _continues(text, starts, ends, i)
    if "\n" in gap:
        if gap.count("\n") > 1 or (terminated and not short) or before.endswith(":"):
            return True
        if _is_item(text, starts[i]) or _LABEL.match(text[starts[i] : starts[i] + 32].partition("\n")[0]):
            return True
        line = text[text.rfind("\n", 0, ends[i - 1]) + 1 : ends[i - 1]]
        return len(line) < _WRAPPED or _BULLET.match(line.lstrip().partition(" ")[0]) is not None
    if not terminated or _is_quoted(text, ends[i - 1]):
        return False
    if terminated & set("。！？．"):
        return True
    if not gap or after[0].islower():
        return False
    return not short


def _is_item(text: str, start: int) -> bool:
    """Whether a line that begins there is an item of a list."""
    return _BULLET.match(text[start : start + 8].partition(" ")[0]) is not None


def _is_quoted(text: str, place: int) -> bool:
    """Whether a line is short and of a mail that is quoted: its mark would not stand before each sentence."""
    start = text.rfind("\n", 0, place) + 1
    return text.startswith(">", start) and text.find("\n", place, start + _QUOTED) >= 0


def _continues(text: str, starts: list[int], ends: list[int], i: int) -> bool:
    """Whether the full stop before unit i is that of an abbreviation or an ordinal."""
    if i < 2:
        return False
    word = text[starts[i - 2] : ends[i - 2]]
    if word.casefold() in ABBREVIATIONS or (len(word) == 1 and word.isupper()):
        return True
    if not _DAY.fullmatch(word):
        return False
    before = text[starts[i - 3] : ends[i - 3]] if i > 2 else ""
    return text[starts[i] : ends[i]].casefold() in MONTHS or before.casefold() in ORDINAL_AFTER
