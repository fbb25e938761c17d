"""The forms of a learner: which contexts it has, and what chooses the rows of its mixers.

Text is for any text, data for executables, tables of records and other binaries, fast for speed; beside is
for text that a language model predicts too. A context is two words of 32 bits; what is made with `+`, `*` or
`<<` may be longer, and its low 32 bits count.
codecs/learner/shapes.hpp.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from nacrith.learner.cursor import Cursor, Followers
from nacrith.learner.tables import mix

Contexts = list[tuple[int, int]]

MODEL_STEPS = 36
"""In which mixers tell a language model's probabilities apart, half a nat each."""


@dataclass(slots=True)
class Selectors:
    """What a row of weights may be chosen by."""

    partial: int  # the bits of the byte so far under a leading 1
    gone: int  # how many bits they are
    hits: int = 0  # how many of the six contexts from `first_hit` on have been seen before
    expected: int = 0  # by the match models: 0 nothing, 1 a 0, 2 a 1
    match: int = 0  # length of the longest match, in 5 steps
    model: int = 0  # the stretch of the language model's probability of a 1


@dataclass(frozen=True)
class Form:
    contexts: Callable[[Cursor, Followers], Contexts]
    sets: Callable[[Cursor, Selectors], list[int]]  # the row of each mixer
    size: int  # number of contexts
    first_hit: int  # the first of the six contexts counted as `hits`
    least: tuple[int, ...]  # bytes that must agree, for each match model
    rows: tuple[int, ...]  # of each mixer
    cells: Callable[[Selectors], list[int]] | None = None  # where each table of cells is looked up
    cell_count: int = 0
    cell_bits: int = 0  # log2 of the entries of each table
    rate_end: int = 10  # of the mixers, in 1 / 1,024: the rate that is left when the text is long,
    rate_start: int = 80  # and what is added at its start
    final_rate: int = 16  # of the second layer
    first: int = 450  # weights of the stretched predictions of histories and matches, in 1 / 4,096
    light: bool = False  # no second layer, no probabilities of order 2, one correction instead of four
    model: int | None = None  # weight of a language model's; None: there is none

    @property
    def inputs(self) -> int:
        """Those of `constant`, one constant, two of a model; a multiple of 8."""
        return _whole(self.constant + 1 + 2 * (self.model is not None))

    @property
    def constant(self) -> int:
        """Where the constant input is: behind two of each context, direct probability pair, match and
        cell."""
        return 2 * (self.size + len(self.least) + self.cell_count) + self.direct

    @property
    def direct(self) -> int:
        """Of fast and slow probabilities of orders 0, 1 and 2."""
        return 4 if self.light else 6

    @property
    def mixed(self) -> int:
        """Of the second layer: one of each mixer, a constant, one of a model; a multiple of 8."""
        return _whole(len(self.rows) + 1 + (self.model is not None))


def _whole(n: int) -> int:
    return -(-n // 8) * 8


def of_match(s: Selectors) -> int:
    return s.partial + 256 * (int(s.match > 0) if s.match <= 2 else s.match - 1)


def of_hits(s: Selectors) -> int:
    return (s.hits * 8 + s.gone) * 9 + (s.match * 2 - 2 + s.expected if s.match else 0)


def _text(c: Cursor, f: Followers) -> Contexts:
    c4 = c.last4
    c1 = c4 & 0xFF
    return [
        (c1, 0),
        (c4 & 0xFFFF, 0),
        (c4 & 0xFFFFFF, 0),
        (c4, 0),
        (c4, (c.older & 0xFFFF) + 1),
        (c4, c.older * 3 + 7),
        (c.word, 0),
        (c.word, c.word1),
        (c.word, c1 | c.punctuation << 8),
        (c.word, c.word2),
        (c.above | c.column << 8, 0),
        (c.field | c.above << 16, c.field_hash),
        (c.field, c.word),
        (c4 & 0xFF0000FF, 0),
        (c4 & 0xF8F8F8F8, c.older & 0xF8),
        (c.classes, 0),
        (f.after1[c1], c1),
        (f.after2[c4 & 0xFFFF] & 0xFFFF, c4 & 0xFFFF),
        (mix(c.first, c.indent), c.word),
        (c.digits, c.classes & 0xFFF),
    ]


def _text_sets(c: Cursor, s: Selectors) -> list[int]:
    return [
        of_match(s),
        c.last4 & 0xFF,
        c.last4 >> 8 & 0xFF,
        of_hits(s),
        (min(c.column, 63) * 8 + s.gone) * 2 + (c.above != 0),
        c.classes & 0xFF,
        (min(c.at - c.word_start, 15) * 8 + s.gone) * 12
        + ((c.punctuation != 0) + 2 * (c.first != 0)) * 3
        + s.expected,
    ]


def _beside(c: Cursor, f: Followers) -> Contexts:
    parts = c.parts
    return [
        *_text(c, f),
        (mix(parts.number, parts.bytes), parts.left),
        (parts.above | parts.next << 8, parts.bytes),
        (parts.above | (c.last4 & 0xFF) << 8, parts.number),
    ]


def _beside_sets(c: Cursor, s: Selectors) -> list[int]:
    rows = _text_sets(c, s)
    rows[4] = (min(c.parts.number, 63) * 8 + s.gone) * 2 + (c.parts.above != 0)
    return [*rows, model_step(s.model) * 15 + s.match * 3 + s.expected]


def model_step(model: int) -> int:
    """Of a model's stretched probability, 0..MODEL_STEPS - 1."""
    return min(max(model + 2304 >> 7, 0), MODEL_STEPS - 1)


def _data(c: Cursor, f: Followers) -> Contexts:
    c4 = c.last4
    c1, c2 = c4 & 0xFF, c4 >> 8 & 0xFF
    width = c.records.width
    phase = c.at % width if width else 0
    return [
        (0, 0),
        (c1, 0),
        (c4 & 0xFFFF, 0),
        (c4 & 0xFFFFFF, 0),
        (c4, 0),
        (c4, (c.older & 0xFF) + 1),
        (c4, (c.older & 0xFFFF) + 1),
        (c2, 0),
        (c4 & 0xFF0000, 0),
        (c4 & 0xFF000000, 0),
        (c4 & 0xFFFF00, 0),
        (c4 & 0xFF00FF, 0),
        (c4 & 0xFFFF0000, 0),
        (c4 & 0xF0F0F0F0, c.older & 0xF0F0F0F0),
        (c4 & 0xF8F8F8, c.at & 3),
        (c1, c.at & 3),
        (c4 & 0xFF000000, c.older & 0xFF000000),
        (width | phase << 16, 0),
        (c.back1 | phase << 8, 0),
        (c.back1 | c1 << 8, width),
        (c.back1 | c.back2 << 8, width),
        (f.after1[c1] & 0xFFFF, c1),
        (f.after2[c4 & 0xFFFF] & 0xFFFF, c4 & 0xFFFF),
        (c.foreseen | c1 << 16, 0),
        (c.foreseen_short | c1 << 16, c2 + 1),
        (c.foreseen | c.back1 << 16, phase + 1),
        (c.foreseen | c.row1 << 16, c.back1 + 1),
    ]


def _data_sets(c: Cursor, s: Selectors) -> list[int]:
    width = c.records.width
    return [
        of_match(s),
        c.last4 & 0xFF,
        c.last4 >> 8 & 0xFF,
        of_hits(s),
        c.lately,
        (c.at % width % 127 + 1 if width else 0) * 8 + s.gone,
    ]


def _fast(c: Cursor, _: Followers) -> Contexts:
    c4 = c.last4
    c1 = c4 & 0xFF
    return [
        (c4 & 0xFFFF, 0),
        (c4 & 0xFFFFFF, 0),
        (c4, 0),
        (c4, (c.older & 0xFFFF) + 1),
        (c.word, c1),
        (c.above | c1 << 8, c.back1),
    ]


def _fast_sets(_: Cursor, s: Selectors) -> list[int]:
    return [of_match(s), of_hits(s)]


_TEXT_ROWS = (1024, 256, 256, 576, 1024, 256, 1536)

FORMS = (
    Form(_text, _text_sets, 20, 0, (4, 7, 20), _TEXT_ROWS),
    Form(_data, _data_sets, 27, 1, (4, 8, 20), (1024, 256, 256, 576, 512, 1024)),
    Form(_fast, _fast_sets, 6, 0, (6,), (1024, 576), light=True),
)
"""By the number of the shape."""

BESIDE = Form(
    _beside,
    _beside_sets,
    23,
    0,
    (4, 7, 20),
    (*_TEXT_ROWS, MODEL_STEPS * 15),
    rate_end=8,
    rate_start=60,
    final_rate=28,
    first=150,
    model=2000,
)
"""For text beside a language model: the contexts of text, and parts of lines."""
