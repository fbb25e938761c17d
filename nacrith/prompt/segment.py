"""Text to units, the smallest pieces that compression keeps or drops, and units to sentences.

A unit is a word, the punctuation before or after it, a Han or Hiragana character, a run of Katakana, or
one emoji with all that is joined to it. Units never overlap and cover everything but white space, so that
any choice of them is made of spans of the text; nothing is tokenised and decoded again. Inside a run
without spaces only what can be told by rule is cut: "state-of-the-art", "a/b.py" and Thai stay whole.

Sentence ends follow the idea of UAX #29 (terminator, space, no lower-case letter) with abbreviations taken
out, and the layout: blank lines, list items, headings, and lines that are no wrapped prose.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nacrith.lazy import lazy

I64 = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

WORD, OPEN, CLOSE, INFIX = range(4)
"""Kinds of a unit. All but words follow their neighbours: OPEN the right one, CLOSE the left one, INFIX
(a dash between words) both."""

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
_LABEL = re.compile(r"[^\W\d_][\w .-]{0,30}:$")
_ABBREVIATIONS = re.compile(
    r"(?i)mrs?|ms|[djs]r|prof|st|vs|etc|e\.g|i\.e|cf|fig|eq|no|vol|pp|al|inc|ltd|co|corp|dept|approx|est"
    r"|u\.[sk]|bzw|z\.b|d\.h|usw|ca|nr|jan|feb|mar|apr|ju[nl]|aug|sept?|oct|nov|dec|gen|col|sen|rep|gov"
)
_WRAPPED = 60  # characters: a line as long as this may go on in the next one


@dataclass(frozen=True)
class Passage:
    """A text and its units.

    starts, ends: (n,) offsets of the units, ascending, never touching white space.
    kinds: (n,) WORD, OPEN, CLOSE or INFIX. solid: (n,) units that must not be glued to another such.
    sentence: (n,) number of the sentence of each unit, ascending from 0 without holes.
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
        """(first unit, one past the last) of stretches of whole sentences, of at most `most` units if they
        are more than one sentence."""
        out: list[tuple[int, int]] = []
        for a, b in self.sentences:
            if out and b - out[-1][0] <= most:
                out[-1] = out[-1][0], b
            else:
                out.append((a, b))
        return out

    @lazy
    def gaps(self) -> list[str]:
        """White space, possibly none: before each unit, and after the last one."""
        starts, ends = self.starts.tolist(), self.ends.tolist()
        return [self.text[a:b] for a, b in zip([0, *ends], [*starts, len(self.text)], strict=True)]

    def sentence_text(self, number: int) -> str:
        """The text of a sentence, without the white space around it."""
        first, end = self.sentences[number]
        return self.text[int(self.starts[first]) : int(self.ends[end - 1])]


def passage(text: str) -> Passage:
    """`text` cut into units and sentences."""
    spans: list[tuple[int, int, int, bool]] = []
    for match in _RUN.finditer(text):
        kind = match.lastgroup
        start, end = match.span()
        if kind == "plain":
            _plain(text, start, end, spans)
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


def _plain(text: str, start: int, end: int, spans: list[tuple[int, int, int, bool]]) -> None:
    """A run of ordinary characters: punctuation, word, punctuation."""
    first, last = start, end
    while first < end and text[first] in _AFFIX:
        first += 1
    if first == end:
        spans.append((start, end, _lone(text, start, end), False))
        return
    while first > start and (unicodedata.category(text[first])[0] == "M" or text[first] == "\u200d"):
        first -= 1  # a mark belongs to the character before it
    while last > first + 1 and text[last - 1] in _AFFIX:
        last -= 1
    if first > start:
        spans.append((start, first, OPEN, False))
    spans.append((first, last, WORD, True))
    if last < end:
        spans.append((last, end, CLOSE, False))


def _lone(text: str, start: int, end: int) -> int:
    """The kind of punctuation that touches no word."""
    line = text[text.rfind("\n", 0, start) + 1 : start]
    if not line.strip() or text[start] in _OPENERS:
        return OPEN
    if text[start] in _LONE_CLOSERS or (start and not text[start - 1].isspace()):
        return CLOSE
    return INFIX


def _sentences(text: str, starts: list[int], ends: list[int], kinds: list[int]) -> I64:
    out = np.zeros(len(starts), np.int64)
    number = 0
    for i in range(1, len(starts)):
        if kinds[i] != CLOSE or "\n" in text[ends[i - 1] : starts[i]]:
            number += _is_break(text, starts, ends, i)
        out[i] = number
    return out


def _is_break(text: str, starts: list[int], ends: list[int], i: int) -> bool:
    """Whether a sentence begins with unit i."""
    gap = text[ends[i - 1] : starts[i]]
    before = text[starts[i - 1] : ends[i - 1]]
    terminated = _END & set(before) if before and not before[0].isalnum() else set()
    after = text[starts[i] : ends[i]]
    if "\n" in gap:
        if gap.count("\n") > 1 or terminated or before.endswith(":"):
            return True
        if _BULLET.match(after) or _LABEL.match(text[starts[i] : starts[i] + 32].partition("\n")[0]):
            return True
        line = text[text.rfind("\n", 0, ends[i - 1]) + 1 : ends[i - 1]]
        return len(line) < _WRAPPED or _BULLET.match(line.lstrip().partition(" ")[0]) is not None
    if not terminated:
        return False
    if terminated & set("。！？．"):
        return True
    if not gap or after[0].islower():
        return False
    if before[0] == "." and i > 1:
        word = text[starts[i - 2] : ends[i - 2]]
        if _ABBREVIATIONS.fullmatch(word) or (len(word) == 1 and word.isupper()):
            return False
    return True
