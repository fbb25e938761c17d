"""Where the pre-tokenizer may cut a text whose continuation is not known yet.

A byte-level BPE first cuts text into pieces by regular expressions, and then merges within the pieces. Where
the last cuts are can depend on bytes to come: two line ends are one piece if white space follows, and two
pieces if a word does. `PreTokens.patterns` lists what is possible for a text, each time as the tuple of its
cuts; nearly always there is one possibility. `covering` keeps the tokenizations that agree with one of them.

Nothing here knows a regular expression. The real pre-tokenizer is asked, with *witnesses* put behind the text
that stand for its continuations. Questions are few because characters that no part of the expressions tells
apart are asked about as one, and because the runs of such characters are shortened (`Shape`).

Assumptions: a piece depends on nothing before its start (checked, `supported`), and characters further ahead
than the witnesses reach decide nothing (tested, for the expressions in use).
"""

from __future__ import annotations

import codecs
import re
import unicodedata
from collections.abc import Container, Iterable, Iterator, Sequence
from functools import cache, lru_cache
from itertools import accumulate, groupby, product
from typing import NamedTuple

from tokenizers import Regex
from tokenizers.pre_tokenizers import PreTokenizer, Split
from tokenizers.pre_tokenizers import Sequence as Steps

HARD = "\ue000"
"""Stands for a byte that the tokenizer encodes on its own; a private-use character, as are the next."""
_SEPARATOR = "\ue001"
_OURS = {ord(HARD): "\ue002", ord(_SEPARATOR): "\ue002"}  # texts that have them: another of the same kind

_SAMPLE = "aAzZeé你ひا09²½ \t\n\r\u00a0\u3000\u2028.,-_/(\"'’\u0301\u0903€😀\x00\x7f\u00ad"
_ATOM = re.compile(r"\\[pP]\{[^}]*\}|\\[sSdDwWhH]|\[(?:\\.|[^\]\\])+\]")
_SYNTAX = re.compile(r"\(\?[a-z]*[:=!>]|\{[0-9,]+\}|[\^$.*+?()|{}\[\]]")
_CONTROL = {"r": "\r", "n": "\n", "t": "\t"}
_OF_CATEGORIES = re.compile(r"\[?\^?(?:\\[pP]\{\^?[A-Z][a-z]?\}|\\[sSrnt]|\\?[!-/:-@_`|~])*\]?|\[[a-zA-Z]+\]")
_LOOKS_BACK = re.compile(r"\(\?<[=!]|\\[bBAG]|(?<![\[\\])\^")
_EMPTY = "\U00040000"  # from here on no plane is in use but those of tags and of private use
_KEPT = 3  # of a run of equal characters: the first, and the last two

Cuts = tuple[int, ...]
Kinds = tuple[str, ...]


class Shape(NamedTuple):
    """A text in representatives. ends[i] is where, in bytes, the i-th of them ends. tail: the bytes at the
    end that begin a character."""

    text: str
    ends: Cuts
    tail: bytes

    def place(self, cut: int) -> int:
        """The position in bytes of a cut after so many characters, or bytes of the tail."""
        size = len(self.text)
        if cut <= size:
            return self.ends[cut - 1] if cut else 0
        return (self.ends[-1] if size else 0) + cut - size


def _literals(source: str) -> str:
    """The characters that an expression names one by one; a NUL wherever something else stands."""
    source = _ATOM.sub("\0", source)
    source = re.sub(r"\\(.)", lambda m: _CONTROL.get(m[1], "\0" if m[1].isalnum() else f"\\{m[1]}"), source)
    escaped = re.findall(r"\\(.)", source)
    return _SYNTAX.sub("\0", re.sub(r"\\.", "\0", source)) + "\0" + "\0".join(escaped)


def _of_each_category(characters: Iterable[str], literals: Container[str] = (), block: int = 16) -> str:
    """One character of each category. The pre-tokenizer may know a newer Unicode than Python does: of those
    that are unassigned to Python, the first and the last of each block: blocks of digits begin with them, and
    are not full."""
    first: dict[tuple[object, ...], str] = {}
    last: dict[tuple[object, ...], str] = {}
    for c in characters:
        category = unicodedata.category(c)
        part = ord(c) // (block if c < _EMPTY else 1 << 16) if category == "Cn" else 0
        key = (category, c.isspace(), c in literals and c, part)
        first.setdefault(key, c)
        last[key] = c
    return "".join({*first.values(), *last.values()})


@cache
def _four_bytes() -> str:
    """Characters of four bytes, of all kinds."""
    return _of_each_category(map(chr, range(0x10000, 0x110000, 7)), block=256)


class PreTokens:
    """The pre-tokenizer of a tokenizer, asked about texts that go on.

    patterns: the regular expressions, as of ByteTokenizer. hard: matches characters encoded byte by byte.
    """

    def __init__(self, expressions: Sequence[str], hard: re.Pattern[str]) -> None:
        self.expressions = tuple(expressions)
        self.hard = hard
        self._splits: list[PreTokenizer] = [Split(Regex(e), "isolated") for e in expressions]
        self._asked = Steps([Split(_SEPARATOR, "removed"), *self._splits])
        source = "\n".join(expressions)
        plain = _literals(source)
        letters = {c for c in plain if c.isalpha()}
        runs = set(re.findall(r"[^\W\d_]+", plain))
        if letters and "(?i" in source:
            letters |= {c.swapcase() for c in letters} | {"\u017f", "\u212a"}  # these fold to s and k
            runs = {"".join(cased) for run in runs for cased in product(*({c, c.swapcase()} for c in run))}
        self._letters = letters
        self._quotes = {c for c in "'’" if c in plain}
        self._literals = letters | {c for c in plain if not c.isalpha() and c != "\0"}
        self._runs = sorted({run[i:] for run in runs for i in range(len(run))})
        self._begun = {run[:i] for run in runs for i in range(1, len(run) + 1)}
        atoms = sorted(set(_ATOM.findall(source)))
        self._atoms = [Steps([Split(_SEPARATOR, "removed"), Split(Regex(a), "removed")]) for a in atoms]
        # Whether the parts ask for nothing but what Unicode's categories say.
        self._by_category = source.isascii() and all(map(_OF_CATEGORIES.fullmatch, atoms))
        self._class_of: dict[str, str] = {HARD: HARD}
        self._plain_of: dict[str, str] = {}
        self._representative: dict[tuple[object, ...], str] = {}
        self._easy = not hard.search("".join(map(chr, range(128))))
        self._runs_of: dict[str, bool] = {}
        self.learn(_SAMPLE)
        self._futures = ["", *(c for c in self._representative.values() if c not in letters)]
        self.completions = lru_cache(1 << 12)(self._find_completions)
        self.patterns = lru_cache(1 << 16)(self._find_patterns)

    @property
    def supported(self) -> bool:
        """Whether no expression looks at what precedes a piece."""
        return not any(map(_LOOKS_BACK.search, self.expressions))

    def learn(self, characters: str) -> None:
        """Find the class of each character: what every part of the expressions says of it."""
        new = sorted(set(characters) - set(self._class_of) - {_SEPARATOR})
        if not new:
            return
        joined = _SEPARATOR.join(new)
        answers = []
        for atom in self._atoms:
            left = {start // 2 for _, (start, _) in atom.pre_tokenize_str(joined)}
            answers.append([i in left for i in range(len(new))])
        for i, character in enumerate(new):
            said = tuple(a[i] for a in answers)
            own = character if character in self._literals else ""
            self._class_of[character] = self._representative.setdefault((own, *said), character)
            if own and character in self._letters:
                self._plain_of[character] = self._representative.get(("", *said), character)

    def shape(self, data: bytes, *, inside: bool = False) -> Shape:
        """The shape of `data`. inside: it may follow something, so that its first letters may end a
        contraction."""
        text, widths, tail = self.units(data)
        if not self._class_of.keys() >= set(text):
            self.learn(text)
        kinds: list[str] = []
        ends = list(accumulate(widths))
        spelt: str | None = "" if inside else None  # letters since a quotation mark
        for character in text:
            if character in self._quotes:
                spelt = ""
            elif spelt is not None:
                spelt = spelt + character if spelt + character in self._begun else None
            known = spelt is not None or not self._quotes
            kind = self._class_of[character]
            kinds.append(kind if known else self._plain_of.get(character, kind))
        return Shape(*self._shortened(kinds, ends), tail)

    def units(self, data: bytes) -> tuple[str, list[int], bytes]:
        """(text, widths in bytes, tail) of bytes as the tokenizer sees them: characters, HARD for a byte that
        is encoded on its own, and the beginning of a character that may still be completed."""
        if self._easy and data.isascii():
            return data.decode("ascii"), [1] * len(data), b""
        decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
        text = decoder.decode(data).translate(_OURS)
        out: list[str] = []
        widths: list[int] = []
        for character in text:
            width = len(character.encode("utf-8", "surrogateescape"))
            is_hard = self.hard.fullmatch(character)
            out += [HARD] * width if is_hard else [character]
            widths += [1] * width if is_hard else [width]
        return "".join(out), widths, decoder.getstate()[0]

    def _shortened(self, kinds: list[str], ends: list[int]) -> tuple[str, Cuts]:
        """The same with long runs cut down to their first and last two; the first takes the place of what
        goes, within which there is no cut."""
        text = ""
        kept: list[int] = []
        i = 0
        for kind, group in groupby(kinds):
            size = len(list(group))
            if size > _KEPT and self._is_run(kind):
                kept += [ends[i + size - _KEPT], *ends[i + size - _KEPT + 1 : i + size]]
                text += kind * _KEPT
            else:
                kept += ends[i : i + size]
                text += kind * size
            i += size
        return text, tuple(kept)

    def _is_run(self, kind: str) -> bool:
        if kind not in self._runs_of:
            self._runs_of[kind] = self.cuts([kind * 9]) == [()]
        return self._runs_of[kind]

    def cuts(self, texts: Sequence[str]) -> list[Cuts]:
        """Where each text, complete as it is, would be cut; positions in characters. Any number at once: the
        separator, which is removed first, keeps the texts apart."""
        if not texts:
            return []
        joined = _SEPARATOR.join(t.replace(HARD, _SEPARATOR) for t in texts)
        starts = iter([s for _, (s, _) in self._asked.pre_tokenize_str(joined)] + [len(joined) + 1])
        start = next(starts)
        found: list[Cuts] = []
        base = 0
        for text in texts:
            end = base + len(text)
            mine = []
            while start < end:
                mine.append(start - base)
                start = next(starts)
            if HARD in text:
                here = [i for i, c in enumerate(text) if c == HARD]
                mine = sorted({*mine, *here, *(i + 1 for i in here)} - {len(text)})
            if mine and mine[0] == 0:
                mine = mine[1:]
            found.append(tuple(mine))
            base = end + 1
        return found

    def patterns_of(self, data: bytes) -> tuple[Cuts, ...]:
        """All possibilities of the cuts strictly inside `data`, which begins where a piece begins; positions
        in bytes."""
        shape = self.shape(data)
        found = self.patterns(shape.text, len(shape.tail), self.completions(shape.tail))
        return tuple(tuple(shape.place(c) for c in cuts) for cuts in found)

    def questions(self, text: str, tail: int, completions: Kinds) -> Iterator[tuple[str, int]]:
        """(question, limit) for each witness of what follows a shape with a tail of so many bytes: cuts of
        the question below the limit are cuts of the text. `len(text)` is where the tail begins. The empty
        witness means the end, or a byte on its own, which ends a text as well."""
        if tail:
            yield text + HARD * tail, len(text) + tail
            for first in completions:
                for then in self._futures:
                    yield text + first + then, len(text) + 1
            return
        for then in self._futures:
            yield text + then, len(text)
        if any(q in text[-3:] for q in self._quotes):
            for then in self._runs:
                yield text + then, len(text)

    def _find_patterns(self, text: str, tail: int, completions: Kinds) -> tuple[Cuts, ...]:
        questions, limits = zip(*self.questions(text, tail, completions), strict=True)
        answers = zip(self.cuts(questions), limits, strict=True)
        return tuple(sorted({tuple(c for c in cuts if c < limit) for cuts, limit in answers}))

    def _find_completions(self, tail: bytes) -> Kinds:
        """The classes of the characters that begin with `tail`; if three bytes are missing, the classes of
        all characters of four bytes, which may be too many."""
        if not tail:
            return ()
        missing = (2 if tail[0] < 0xE0 else 3 if tail[0] < 0xF0 else 4) - len(tail)
        if missing == 3:
            found = _four_bytes()
        else:
            ends = [bytes(p) for p in product(range(0x80, 0xC0), repeat=missing)]
            found = "".join((tail + end).decode("utf-8", "ignore") for end in ends)
        found = self.hard.sub("", found).replace(_SEPARATOR, "").replace(HARD, "")
        if self._by_category:
            found = _of_each_category(found, self._literals)
        self.learn(found)
        return tuple(sorted({self._class_of[c] for c in found}))
