"""The result of a compression: the text, the figures, and every span of the original with its reason."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, NamedTuple, overload

import numpy as np

from nacrith.arith import F64
from nacrith.lazy import lazy
from nacrith.prompt.document import Document, Piece
from nacrith.prompt.segment import WORD, Mask

SPACE, PUNCTUATION, SCORE, APART = "space", "punctuation", "score", "keeps words apart"
"""Reasons besides the rules of `protect`: white space; punctuation follows its neighbours; the score; the
unit separates two words."""


BYTE_ORDER_MARK = "\ufeff"
_MARK = re.compile(rf"\A{BYTE_ORDER_MARK}")
_LEFT_OUT = re.compile(rf"\A{BYTE_ORDER_MARK}|\r(?=\n)")


class Span(NamedTuple):
    """A span of the original, whether it is in the output, and the reason. score: NaN if there is none."""

    start: int
    end: int
    kept: bool
    reason: str
    score: float


class Later(Sequence[Span]):
    """Spans that are computed when they are first read, which most programs never do."""

    def __init__(self, compute: Callable[[], Sequence[Span]]) -> None:
        self._compute = compute

    @lazy
    def _made(self) -> Sequence[Span]:
        return self._compute()

    @overload
    def __getitem__(self, place: int) -> Span: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[Span]: ...
    def __getitem__(self, place: int | slice) -> Span | Sequence[Span]:
        return self._made[place]

    def __len__(self) -> int:
        return len(self._made)

    def __iter__(self) -> Iterator[Span]:
        return iter(self._made)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]


@dataclass(frozen=True)
class Compressed:
    """A compressed prompt.

    units: the whole original, unit by unit; the kept ones make up `text`, together with what is inserted.
    inserted: (offset in the original, text), ascending: what stands there for what was left out of content
    that is no prose. limit: the allowed tokens, None if there was no budget. raised: by how many of them what
    has to be kept of each text exceeds its rate; they are part of the limit. cut: the lowest score of a
    chosen unit. note: why the text was left unchanged, or "". retain: whether numbers, restrictions and the
    like were kept "always" or "with_sentence".
    """

    origin: str
    text: str
    origin_tokens: int
    compressed_tokens: int
    limit: int | None
    scorer: str
    units: Sequence[Span]
    contexts: Sequence[tuple[int, int]] = ()
    cut: float = float("nan")
    note: str = ""
    retain: str = ""
    inserted: Sequence[tuple[int, str]] = ()
    raised: int = 0

    @lazy
    def spans(self) -> list[Span]:
        """`units` with adjacent ones of the same decision and reason merged; white space belongs to the
        span before it."""
        out: list[Span] = []
        for unit in self.units:
            last = out[-1] if out else None
            if last and last.kept == unit.kept and (unit.reason in (last.reason, SPACE)):
                out[-1] = last._replace(end=unit.end, score=float("nan"))
            else:
                out.append(unit)
        return out

    def pieces(self) -> Iterator[Piece]:
        """The output: spans of the original and, between them, what is inserted."""
        notes = list(reversed(self.inserted))
        for span in self.units:
            start = span.start
            while notes and notes[-1][0] <= (span.end - 1 if span.kept else span.start):
                place, text = notes.pop()
                if start < place:
                    yield Piece(start, place)
                yield Piece(place, place, text)
                start = max(start, place)
            if span.kept:
                yield Piece(start, span.end)
        yield from (Piece(place, place, text) for place, text in reversed(notes))

    @property
    def rate(self) -> float:
        """The fraction of tokens that were kept."""
        return self.compressed_tokens / self.origin_tokens if self.origin_tokens else 1.0

    def to_origin(self, start: int, end: int) -> list[tuple[int, int]]:
        """The spans of the original from which a span of `text` was taken, for instance of a quotation in
        an answer."""
        out: list[tuple[int, int]] = []
        position = 0
        for first, last, inserted in self.pieces():
            size = len(inserted) or last - first
            a, b = max(start, position), min(end, position + size)
            if a < b and not inserted:
                if out and out[-1][1] == first + a - position:
                    out[-1] = out[-1][0], first + b - position
                else:
                    out.append((first + a - position, first + b - position))
            position += size
        return out

    def as_dict(self) -> dict[str, Any]:
        """The result under LLMLingua's keys, and the spans."""
        ratio = self.origin_tokens / self.compressed_tokens if self.compressed_tokens else 0.0
        return {
            "compressed_prompt": self.text,
            "compressed_prompt_list": [self.within(a, b) for a, b in self.contexts],
            "origin_tokens": self.origin_tokens,
            "compressed_tokens": self.compressed_tokens,
            "ratio": f"{ratio:.1f}x",
            "rate": f"{100 * self.rate:.1f}%",
            "limit": self.limit,
            "scorer": self.scorer,
            "note": self.note,
            "retain": self.retain,
            "spans": [
                {"start": s.start, "end": s.end, "kept": s.kept, "reason": s.reason} for s in self.spans
            ],
        }

    def within(self, start: int, end: int) -> str:
        """The text that remains of a span of the original."""
        out = []
        for a, b, inserted in self.pieces():
            if inserted and start < a < end:
                out.append(inserted)
            elif a < end and start < b:
                out.append(self.origin[max(a, start) : min(b, end)])
        return "".join(out).strip()


def unchanged(origin: str, tokens: int, limit: int | None, scorer: str, note: str) -> Compressed:
    """The result for an unchanged prompt."""
    whole = [Span(0, len(origin), True, note, float("nan"))] if origin else []
    return Compressed(origin, origin, tokens, tokens, limit, scorer, whole, [(0, len(origin))], note=note)


def of_source(result: Compressed, source: str) -> Compressed:
    """The result for a source of which the byte order mark and the carriage returns at ends of lines had been
    left out. If nothing else was dropped, the carriage returns stay."""
    whole = result.text == result.origin
    pattern = _MARK if whole else _LEFT_OUT
    there = np.ones(len(source), bool)
    there[[m.start() for m in pattern.finditer(source)]] = False
    if whole:
        text = source.removeprefix(BYTE_ORDER_MARK)
        units: Sequence[Span] = [Span(0, len(text), True, result.note, float("nan"))]
    else:
        text, units = result.text, result.units
    owner = np.full(len(source), -1, np.int64)  # the unit of each character; -1 is left out
    owner[there] = np.repeat(np.arange(len(units)), [u.end - u.start for u in units])
    edges = [0, *(np.flatnonzero(np.diff(owner)) + 1).tolist(), len(source)]
    placed = [
        units[owner[a]]._replace(start=a, end=b) if owner[a] >= 0 else Span(a, b, False, SPACE, float("nan"))
        for a, b in pairwise(edges)
        if a < b
    ]
    places = np.append(np.flatnonzero(there), len(source))
    inserted = [(int(places[place]), note) for place, note in result.inserted]
    contexts = [(0, len(source))]
    return replace(result, origin=source, text=text, units=placed, contexts=contexts, inserted=inserted)


def explain(
    document: Document,
    kept: Sequence[Mask],
    scores: Sequence[F64],
    cuts: Sequence[float],
    by_sentence: bool,
) -> list[Span]:
    """The whole source as units and the white space between them, each with its decision and reason.

    kept, scores, cuts: for each part the choice, the scores, and the lowest chosen score (or NaN).
    """
    size = len(document.source)
    alive = np.zeros(size + 1, bool)
    for a, b, _ in document.pieces(kept):
        alive[a:b] = True
    owner = np.full(size + 1, -1, np.int64)  # of each character; -1 is outside of all parts
    reasons: list[tuple[str, float]] = []
    for part, mask, score, cut in zip(document.parts, kept, scores, cuts, strict=True):
        p = part.passage
        owner[part.start : part.end] = -2  # white space, unless a unit covers it
        values = score[p.sentence] if by_sentence else score
        for i, (a, b) in enumerate(zip(p.starts.tolist(), p.ends.tolist(), strict=True)):
            a, b = part.to_source(a, b)
            owner[a:b] = len(reasons)
            if mask[i] and part.reasons[i]:
                reasons.append((part.reasons[i], float("nan")))
            elif p.kinds[i] != WORD:
                reasons.append((PUNCTUATION, float("nan")))
            else:
                low = mask[i] and values[i] < cut
                reasons.append((APART if low else SCORE, float(values[i])))
    edges = np.flatnonzero((np.diff(owner[:size]) != 0) | (np.diff(alive[:size]) != 0)) + 1
    borders = [0, *edges.tolist(), size]
    out = []
    for a, b in pairwise(borders):
        if a == b:
            continue
        number = int(owner[a])
        reason, value = (
            reasons[number] if number >= 0 else (document.outside if number == -1 else SPACE, float("nan"))
        )
        out.append(Span(a, b, bool(alive[a]), reason, value))
    return out
