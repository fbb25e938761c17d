"""The model of a prompt: a source text, parts of it that may be shortened, and rules about what must
stay.

Everything outside the parts (JSON syntax, a system message, the caller's instruction) is output
unchanged. If the source of a part is escaped (a JSON string), the part has the unescaped text and the
source offset of each character; words are segmented in the text, and spans are taken from the source.

`close` and `spans` make any choice of units a readable text: punctuation stays with its words, two words
are never joined, and one piece of white space remains around dropped units.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np

from nacrith.arith import F64
from nacrith.lazy import lazy
from nacrith.prompt.meaning import RESTRICTIONS
from nacrith.prompt.protect import BOUND, HARD, INSTRUCTION, RULES, STRUCTURE, Protected, protected
from nacrith.prompt.segment import CLOSE, I64, INFIX, OPEN, WORD, Mask, Passage, passage

_ENDS = ".!?…؟۔।॥。！？．"
_COMMAS = set(",;:،؛、，；：")
_MANDATORY = _ENDS + "\"'”’)]}」』"


ALWAYS, WHOLE, WITH_SENTENCE = "always", "whole sentences", "with_sentence"
"""Modes of a part: rules other than `protect.HARD` keep their spans, or the sentences of their spans, or
only those spans of whose sentence something is kept. In every mode a span is kept whole or not at all."""


class Piece(NamedTuple):
    """A piece of an output: a span of its source or, if `inserted` is not empty, that text at the place
    `start` = `end`."""

    start: int
    end: int
    inserted: str = ""


@dataclass(frozen=True)
class Contract:
    """The rules about what is kept. See `protect.protected`.

    with_sentence: rules that are not in `protect.HARD` apply only in sentences of which something is kept;
    None: if the scorer ranks sentences.
    """

    rules: Sequence[str] = RULES
    patterns: Sequence[str] = ()
    forced: Sequence[str] = ()
    with_sentence: bool | None = None

    def of(self, read: Passage) -> list[Protected]:
        return protected(read.text, self.rules, self.patterns, self.forced, read)

    def modes(self, by_sentence: bool) -> tuple[str, ...]:
        """The modes to try, until the budget suffices."""
        if self.with_sentence or (self.with_sentence is None and by_sentence):
            return (WITH_SENTENCE,)
        return (WHOLE if by_sentence else ALWAYS), WITH_SENTENCE


@dataclass(frozen=True)
class Part:
    """A stretch of the source that may be shortened.

    start, end: its offsets in the source. text: its unescaped text. origin: (len(text) + 1,) source
    offset of each character and of the end; None if `text` is the source itself. label: its name for the
    caller (a role, a heading, a JSON path). rate: its own rate, or None. kept: spans of `text` that are
    kept as the instruction. block: number of the string of the source that it is from, negative
    for content that is most of it; of each block something is kept.
    """

    start: int
    end: int
    text: str
    label: str = ""
    origin: I64 | None = None
    rate: float | None = None
    contract: Contract = field(default_factory=Contract)
    kept: tuple[tuple[int, int], ...] = ()
    block: int = 0
    mode: str = ALWAYS

    @property
    def noted(self) -> bool:
        """Whether a note stands for what is dropped, so that the output is never empty."""
        return False

    @property
    def brings(self) -> I64 | None:
        """(units,) characters that are kept at least with a unit; None if sentences tell."""
        return None

    def in_mode(self, mode: str) -> Part:
        """The part in another mode; what does not depend on the mode is not computed again."""
        if mode == self.mode:
            return self
        made = replace(self, mode=mode)
        made.__dict__.update(
            passage=self.passage, reasons=self.reasons, _protected=self._protected, _affixes=self._affixes
        )
        return made

    def cut(self, a: int, b: int) -> Part:
        """The part for a stretch of `text`."""
        start, end = self.to_source(a, b)
        origin = None if self.origin is None else self.origin[a : b + 1]
        kept = tuple((max(c, a) - a, min(d, b) - a) for c, d in self.kept if c < b and d > a)
        return replace(self, start=start, end=end, text=self.text[a:b], origin=origin, kept=kept)

    @lazy
    def passage(self) -> Passage:
        return passage(self.text)

    @property
    def wordless(self) -> bool:
        """Whether there is no word: nothing to choose from."""
        return not any(c.isalnum() for c in self.text) and not (self.passage.kinds == WORD).any()

    @lazy
    def _protected(self) -> list[Protected]:
        found = self.contract.of(self.passage)
        if INSTRUCTION in self.contract.rules:
            found += (Protected(a, b, INSTRUCTION) for a, b in self.kept)
        return found

    def _range(self, start: int, end: int) -> tuple[int, int]:
        """The units (first, one past the last) of a span of `text`."""
        p = self.passage
        return int(np.searchsorted(p.ends, start, "right")), int(np.searchsorted(p.starts, end, "left"))

    @lazy
    def reasons(self) -> list[str]:
        """For each unit, the rule that protects it, or ""."""
        out = [""] * len(self.passage)
        for start, end, reason in self._protected:
            for i in range(*self._range(start, end)):
                if not out[i] or (reason in HARD and out[i] not in HARD):
                    out[i] = reason
        return out

    @lazy
    def _hard(self) -> Mask:
        return np.array([r in HARD for r in self.reasons], bool)

    @lazy
    def _structure(self) -> Mask:
        """Units that consist of structure only."""
        p = self.passage
        out = np.zeros(len(p), bool)
        for start, end, reason in self._protected:
            if reason in STRUCTURE:
                a, b = self._range(start, end)
                out[a:b] |= (p.starts[a:b] >= start) & (p.ends[a:b] <= end)
        return out

    @lazy
    def forced(self) -> Mask:
        """Units that are always kept."""
        if self.mode == WITH_SENTENCE:
            return self._hard
        out = np.array([bool(r) and r not in BOUND for r in self.reasons], bool)
        if self.mode == WHOLE and len(out):
            alive = self._alive(out & ~self._hard)
            out |= alive[self.passage.sentence]
        return out

    @lazy
    def soft(self) -> Mask:
        """Units that are kept if something of their sentence is kept."""
        return np.array([bool(r) for r in self.reasons], bool) & ~self.forced

    @lazy
    def _links(self) -> list[tuple[int, int, int]]:
        """(first, one past the last, other) sentences: if anything of the other one is kept, so are the
        protected units of the first ones. For spans that go beyond a sentence, and for lists after a
        restriction ("Never use: ...")."""
        p = self.passage
        out = []
        for start, end, reason in self._protected:
            a, b = self._range(start, end)
            if reason in HARD or a >= b or p.sentence[a] == p.sentence[b - 1]:
                continue
            first, last = int(p.sentence[a]), int(p.sentence[b - 1])
            out += [(first, last + 1, k) for k in range(first, last + 1)]
        out += [(outer, outer + 1, inner) for outer, inner in p.nested]
        for lead, end in p.lists:
            first, last = p.sentences[lead]
            if any(self.reasons[i] in RESTRICTIONS for i in range(first, last)):
                out += [(lead, lead + 1, k) for k in range(lead + 1, end)]
        return out

    @lazy
    def linked(self) -> Mask:
        """(sentences,) whether others are kept with it."""
        out = np.zeros(len(self.passage.sentences), bool)
        out[[other for first, end, other in self._links if (first, end) != (other, other + 1)]] = True
        return out

    def _alive(self, words: Mask) -> Mask:
        """The sentences of which something is kept, given the words that are kept."""
        p = self.passage
        alive = np.zeros(len(p.sentences), bool)
        alive[p.sentence[words]] = True
        changed = bool(self._links)
        while changed:
            changed = False
            for first, end, other in self._links:
                if alive[other] and not alive[first:end].all():
                    alive[first:end] = changed = True
        return alive

    @lazy
    def _affixes(self) -> list[tuple[int, int, bool, bool, bool]]:
        """(unit, kind, whether the unit before is of its sentence, the one after, whether it must end its
        sentence) of the units that are no words."""
        p = self.passage
        sentence = p.sentence.tolist()
        last = len(p) - 1
        out = []
        for i in np.flatnonzero(p.kinds != WORD).tolist():
            left = i > 0 and sentence[i - 1] == sentence[i]
            right = i < last and sentence[i + 1] == sentence[i]
            out.append((i, int(p.kinds[i]), left, right, not right and self._ends_sentence(i)))
        return out

    def close(self, kept: Mask) -> Mask:
        """`kept` and the units that it requires: protected units, punctuation, and units that separate
        words."""
        p = self.passage
        words = (kept | self.forced) & ((p.kinds == WORD) | self.forced)
        if self.soft.any():
            words |= self.soft & self._alive(words & (kept | ~self._structure))[p.sentence]
        apart = self._apart(words)
        live = np.zeros(len(p.sentences), bool)
        live[p.sentence[apart]] = True
        out = apart.tolist()
        for i, kind, left, _, final in self._affixes:
            if kind == CLOSE and not out[i]:
                out[i] = (left and out[i - 1]) or (final and bool(live[p.sentence[i]]))
        self._drop_commas(out)
        for i, kind, _, right, _ in reversed(self._affixes):
            if kind == OPEN:
                out[i] = out[i] or (right and out[i + 1])
            elif kind == INFIX:
                out[i] = out[i] or (right and out[i + 1] and i > 0 and out[i - 1])
        return np.array(out, bool)

    def _drop_commas(self, out: list[bool]) -> None:
        """Drop a comma that is now directly before the end of its sentence."""
        chosen = np.flatnonzero(out)
        p = self.passage
        close = p.kinds[chosen] == CLOSE
        both = np.flatnonzero(close[:-1] & close[1:] & ~self.forced[chosen[:-1]] & ~self.soft[chosen[:-1]])
        for i, j in zip(chosen[both].tolist(), chosen[both + 1].tolist(), strict=True):
            if set(p.words[i]) <= _COMMAS:
                out[i] = p.words[j][0] not in _ENDS

    def _ends_sentence(self, i: int) -> bool:
        mark = self.passage.words[i]
        return any(c in _ENDS for c in mark) and all(c in _MANDATORY for c in mark)

    def _apart(self, kept: Mask) -> Mask:
        """If two solid units would touch, also keep the unit after the first of them."""
        p = self.passage
        out = kept.copy()
        chosen = np.flatnonzero(kept & (p.kinds == WORD))
        before, after = chosen[:-1], chosen[1:]
        touching = p.solid[before] & p.solid[after] & (after > before + 1)
        gaps = p.gaps
        for i, j in zip(before[touching].tolist(), after[touching].tolist(), strict=True):
            if not any(gaps[i + 1 : j + 1]) and not out[i + 1 : j].any():
                out[i + 1] = True
        return out

    def spans(self, kept: Mask) -> list[tuple[int, int]]:
        """The spans of `text` that are output for a closed choice of units, ascending and disjoint."""
        p = self.passage
        chosen = np.flatnonzero(kept)
        if not len(chosen):
            return []
        breaks = np.flatnonzero(np.diff(chosen) > 1)
        firsts = chosen[np.concatenate([[0], breaks + 1])]
        lasts = chosen[np.concatenate([breaks, [len(chosen) - 1]])]
        out: list[tuple[int, int]] = []
        before = -1
        for i, last, a, b in zip(  # runs of consecutive units
            firsts.tolist(), lasts.tolist(), p.starts[firsts].tolist(), p.ends[lasts].tolist(), strict=True
        ):
            if before >= 0:
                out += self._space(before, i)
            out.append((0 if i == 0 else a, b))
            before = last
        tail = int(p.ends[-1])
        if before == len(p) - 1 or "\n" in self.text[tail:]:
            out.append((tail, len(self.text)))
        return [(a, b) for a, b in out if a < b]

    def _space(self, before: int, after: int) -> list[tuple[int, int]]:
        """The white space to keep between two kept units if units between them were dropped."""
        p = self.passage
        left, right = int(p.ends[before]), int(p.starts[after])
        gaps = p.gaps[before + 1 : after + 1]
        begins = [left, *p.ends[before + 1 : after].tolist()]
        lines = [g.count("\n") for g in gaps]
        if max(lines):
            best = len(lines) - 1 - lines[::-1].index(max(lines))
            a, b = begins[best], begins[best] + len(gaps[best])
            if best < len(gaps) - 1 and lines[-1]:  # the indentation of the next line
                a_last = begins[-1] + gaps[-1].rindex("\n") + 1
                return [(a, a + gaps[best].rindex("\n") + 1), (a_last, right)]
            return [(a, b)]
        if p.kinds[after] == CLOSE or gaps[-1]:
            return [(begins[-1], right)]
        if p.kinds[before] == OPEN:
            return []
        best = next((k for k, g in enumerate(gaps) if g), 0)
        return [(begins[best], begins[best] + len(gaps[best]))]

    def pieces(self, kept: Mask) -> list[Piece]:
        """The output for a closed choice of units, as pieces of `text`, ascending. Only content that is no
        prose has pieces that are inserted (`content.part`)."""
        return [Piece(a, b) for a, b in self.spans(kept)]

    def output(self, kept: Mask) -> str:
        """The same as text, not escaped."""
        return rendered(self.text, self.pieces(kept))

    def written(self, kept: Mask, source: str) -> str:
        """The same as it is written in the source."""
        if self.origin is None:
            text = self.text  # a stretch of the source
            return "".join(self.escaped(new) if new else text[a:b] for a, b, new in self.pieces(kept))
        spans = ((*self.to_source(a, b), new) for a, b, new in self.pieces(kept))
        return "".join(self.escaped(new) if new else source[a:b] for a, b, new in spans)

    def escaped(self, text: str) -> str:
        """A text as it is written in the source."""
        return text

    def weighed(self, score: F64, query: str, by_sentence: bool) -> F64:
        """The scores of a scorer, for each sentence or unit, with what the part knows about importance."""
        return score

    def to_source(self, start: int, end: int) -> tuple[int, int]:
        """The source offsets of a span of `text`."""
        if self.origin is None:
            return self.start + start, self.start + end
        return int(self.origin[start]), int(self.origin[end])


@dataclass(frozen=True)
class Document:
    """A source text and its parts, ascending and disjoint. outside: the reason why the rest stays. texts:
    whether it consists of several texts, such as messages."""

    source: str
    parts: Sequence[Part]
    outside: str = "syntax"
    texts: bool = False

    def pieces(self, kept: Sequence[Mask]) -> list[Piece]:
        """The output for closed choices of the parts' units, as pieces of the source, merged."""
        out: list[Piece] = []
        position = 0

        def add(start: int, end: int, inserted: str = "") -> None:
            if not inserted and out and not out[-1].inserted and out[-1].end == start:
                out[-1] = Piece(out[-1].start, end)
            elif inserted or start < end:
                out.append(Piece(start, end, inserted))

        for part, mask in zip(self.parts, kept, strict=True):
            add(position, part.start)
            for start, end, inserted in part.pieces(mask):
                add(*part.to_source(start, end), part.escaped(inserted))
            position = part.end
        add(position, len(self.source))
        return out

    def render(self, kept: Sequence[Mask]) -> str:
        """The output for closed choices of the parts' units."""
        out: list[str] = []
        position = 0
        for part, mask in zip(self.parts, kept, strict=True):
            out += (self.source[position : part.start], part.written(mask, self.source))
            position = part.end
        return "".join([*out, self.source[position:]])


def rendered(source: str, pieces: Sequence[Piece]) -> str:
    """The text of pieces of a source."""
    return "".join(inserted or source[a:b] for a, b, inserted in pieces)
