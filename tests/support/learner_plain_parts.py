"""The arithmetic and the contexts of the second decoder of the learner, `learner_plain`, which see.

Made from formats/learner-v1.md, sections on arithmetic, cursor, contexts and rows, and nothing else.
"""

from __future__ import annotations

from collections import defaultdict
from functools import cache

WORD = 0xFFFFFFFF
START = 32  # the position of the first byte
GOLD = 0x9E3779B1
TEXT, DATA, FAST, *SAMPLES = range(6)
BESIDE = 6
LEAST = ((4, 7, 20), (4, 8, 20), (6,), (6, 20), (6, 16), (6, 16), (4, 7, 20))
FIRST_HIT = (0, 1, 0, 1, 1, 1, 0)
MOST_LARGER = (40, 22, 12, 8, 6, 5)  # for the smaller number of a history
DISCOUNTS = ((25, 8), (12, 6), (6, 5), (3, 3), (2, 2))
SHIFTS = ((4, 6), (3, 5), (2, 4))  # of the direct probabilities


# Section 1


def exponentials() -> list[int]:
    out = [1 << 60]
    for _ in range(3071):
        out.append(out[-1] * 1148426689630428643 >> 60)
    return out


E = exponentials()


@cache
def squash(x: int) -> int:
    e = E[min(abs(x), 3071)]
    return min(max((1 << 16) * ((1 << 60) if x >= 0 else e) // ((1 << 60) + e), 1), 65535)


def stretches() -> list[int]:
    out, x = [], -3072
    for i in range(4096):
        while x < 3071 and squash(x + 1) <= 16 * i + 8:
            x += 1
        out.append(x)
    return out


STRETCH = stretches()


def stretch(p: int) -> int:
    return STRETCH[p >> 4]


def linear(p: int) -> int:
    return (p - 32768) >> 4


def limit(x: int, most: int) -> int:
    return min(max(x, -most), most)


def mix(a: int, b: int) -> int:
    h = (a * 0x2C1B3C6D + b * 0x297A2D39 + 0x12345) & WORD
    h ^= h >> 15
    h = h * 0x85EBCA6B & WORD
    h ^= h >> 13
    h = h * 0xC2B2AE35 & WORD
    return h ^ h >> 16


def adapted(word: int, bit: int, most: int = 1023) -> int:
    p, n = word >> 10, word & 1023
    p += (4194303 * bit - p) * (131072 // (2 * n + 3)) >> 16
    return p << 10 | min(n + 1, most)


def is_allowed(zeros: int, ones: int) -> bool:
    small, large = sorted((zeros, ones))
    return small < 6 and large <= MOST_LARGER[small]


def all_histories() -> list[tuple[int, int, int]]:
    pairs = [(z, o) for z in range(41) for o in range(41) if is_allowed(z, o)]
    out: list[tuple[int, int, int]] = []
    for zeros, ones in sorted(pairs, key=lambda pair: (sum(pair), pair[0])):
        lasts = (0, 1) if zeros and ones else (int(ones > 0),)
        out += [(zeros, ones, last) for last in lasts]
    return out


HISTORIES = all_histories()
NUMBERS = {history: number for number, history in enumerate(HISTORIES)}


@cache
def after(number: int, bit: int) -> int:
    """The number of the history that follows."""
    counts = HISTORIES[number][:2]
    same, other = counts[bit] + 1, counts[1 - bit]
    other = next((less for above, less in DISCOUNTS if other > above), other)
    while not is_allowed(same, other):
        most = MOST_LARGER[min(same, other, 5)]
        if same >= other:
            same = min(same - 1, most)
        else:
            other = min(other - 1, most)
    zeros, ones = (other, same) if bit else (same, other)
    return NUMBERS[zeros, ones, bit if zeros and ones else int(ones > 0)]


# Section 3


def class_of(c: int) -> int:
    if chr(c).isascii() and chr(c).isalpha():
        return 1 if c >= 97 else 2
    if 48 <= c <= 57:
        return 3
    if c >= 128:
        return 6
    named = {" ": 4, "\n": 5, ",": 7, ".": 7, ";": 7, '"': 8, "'": 8, "<": 9, ">": 9}
    return named.get(chr(c), 10)


class Cursor:
    def __init__(self) -> None:
        self.text = bytearray(START)
        self.at = self.word_start = self.line = self.line1 = START
        self.c4 = self.older = self.classes = 0
        self.word = self.word1 = self.word2 = self.punctuation = self.digits = 0
        self.field = self.field_hash = self.first = self.indent = self.column = self.above = 0
        self.width = self.row = self.back1 = self.back2 = self.row1 = 0
        self.lately = self.foreseen = self.foreseen0 = 0
        self.number = self.part = self.left = self.over = self.next = 0  # of parts
        self.parts, self.line_before = [START], [START]
        self.last, self.distance, self.votes = [0] * 256, [0] * 256, [0] * 4096
        self.f1: dict[int, int] = defaultdict(int)
        self.f2: dict[int, int] = defaultdict(int)

    @property
    def c1(self) -> int:
        return self.c4 & 255

    @property
    def c2(self) -> int:
        return self.c4 >> 8 & 255

    def phase(self) -> int:
        return self.at % self.width if self.width else 0

    def push(self, c: int) -> None:
        self.f1[self.c1] = (self.f1[self.c1] << 8 | c) & 0xFFFFFF
        pair = self.c4 & 0xFFFF
        self.f2[pair] = (self.f2[pair] << 8 | c) & WORD
        self.text.append(c)
        self.at += 1
        self.older = (self.older << 8 | self.c4 >> 24) & WORD
        self.c4 = (self.c4 << 8 | c) & WORD
        self.push_word(c)
        self.digits = self.digits + 1 if 48 <= c <= 57 else 0
        self.classes = (self.classes << 4 | class_of(c)) & WORD
        self.push_line(c)
        self.push_record(c)
        self.push_part(c)

    def push_word(self, c: int) -> None:
        if class_of(c) in (1, 2, 6) or (c == 0x27 and self.word):
            if not self.word:
                self.word_start = self.at
            self.word = mix(self.word, c + 32 if class_of(c) == 2 else c)
            self.punctuation = 0
            return
        if self.word:
            self.word2, self.word1, self.word = self.word1, self.word, 0
            self.word_start = self.at
        if c != 0x20:
            self.punctuation = c

    def push_line(self, c: int) -> None:
        if c == 10:
            self.line1, self.line = self.line, self.at
            self.field = self.field_hash = self.first = self.indent = 0
        else:
            if c in b",\t|;":
                self.field += 1
                self.field_hash = 0
            else:
                self.field_hash = mix(self.field_hash, c)
            if not self.first:
                if c in b" \t":
                    self.indent += 1
                else:
                    self.first = c
        self.column = self.at - self.line
        place = self.line1 + self.column
        self.above = self.text[place] if place < self.line else 0

    def push_part(self, c: int) -> None:
        """Section 9."""
        if c == 10:
            self.line_before, self.parts = [*self.parts, self.at], [self.at]
            self.number = self.part = self.left = 0
        elif class_of(c) in (1, 2, 3, 6) or c in b".-_" or self.number == 255:
            self.part = mix(self.part, c)
        else:
            self.parts.append(self.at)
            self.number, self.left, self.part = self.number + 1, self.part, c
        self.over = self.next = 0
        if self.number < len(self.line_before) - 1:
            place = self.line_before[self.number] + self.at - self.parts[self.number]
            end = self.line_before[self.number + 1]
            self.over = self.text[place] if place < end else 0
            self.next = self.text[place + 1] if place + 1 < end else 0

    def push_record(self, c: int) -> None:
        right = int(c == self.back1) + 8 * int(c == self.row1) + 64 * int(c + 256 == self.foreseen)
        self.lately = self.lately << 1 & 438 | right
        d = self.at - self.last[c]
        if d == self.distance[c] and 1 < d < 4096:
            self.votes[d] += 1
        self.distance[c], self.last[c] = d, self.at
        if self.at % 512 == 0:
            self.width = self.most(2, 16, 24)
            self.row = self.most(2 * self.width + 2, 64, 12)
            self.votes = [votes // 2 for votes in self.votes]
        self.back1, self.back2, self.row1 = map(self.back, (self.width, 2 * self.width, self.row))

    def most(self, first: int, limit: int, least: int) -> int:
        found = [d for d in range(first, 4096) if self.votes[d] >= least]
        return max(found, key=lambda d: self.votes[d] * min(d, limit), default=0)

    def back(self, d: int) -> int:
        return self.text[self.at - d] if d and self.at >= START + d else 0


# Section 4


def contexts(shape: int, c: Cursor) -> list[tuple[int, int]]:
    c1, c2, c4, older, w = c.c1, c.c2, c.c4, c.older, c.word
    pair = c4 & 0xFFFF
    if shape == FAST:
        return [
            (pair, 0), (c4 & 0xFFFFFF, 0), (c4, 0), (c4, (older & 0xFFFF) + 1), (w, c1),
            (c.above | c1 << 8, c.back1),
        ]  # fmt: skip
    if shape in (TEXT, BESIDE):
        parts = [
            (mix(c.number, c.part), c.left), (c.over | c.next << 8, c.part), (c.over | c1 << 8, c.number),
        ]  # fmt: skip
        return [
            (c1, 0), (pair, 0), (c4 & 0xFFFFFF, 0), (c4, 0), (c4, (older & 0xFFFF) + 1), (c4, older * 3 + 7),
            (w, 0), (w, c.word1), (w, c1 | c.punctuation << 8), (w, c.word2),
            (c.above | c.column << 8, 0), (c.field | c.above << 16, c.field_hash), (c.field, w),
            (c4 & 0xFF0000FF, 0), (c4 & 0xF8F8F8F8, older & 0xF8), (c.classes, 0),
            (c.f1[c1], c1), (c.f2[pair] & 0xFFFF, pair), (mix(c.first, c.indent), w),
            (c.digits, c.classes & 0xFFF), *parts[: 3 * (shape == BESIDE)],
        ]  # fmt: skip
    phase = c.phase()
    return [
        (0, 0), (c1, 0), (pair, 0), (c4 & 0xFFFFFF, 0), (c4, 0), (c4, (older & 0xFF) + 1),
        (c4, (older & 0xFFFF) + 1), (c2, 0), (c4 & 0xFF0000, 0), (c4 & 0xFF000000, 0), (c4 & 0xFFFF00, 0),
        (c4 & 0xFF00FF, 0), (c4 & 0xFFFF0000, 0), (c4 & 0xF0F0F0F0, older & 0xF0F0F0F0),
        (c4 & 0xF8F8F8, c.at & 3), (c1, c.at & 3), (c4 & 0xFF000000, older & 0xFF000000),
        (c.width | phase << 16, 0), (c.back1 | phase << 8, 0), (c.back1 | c1 << 8, c.width),
        (c.back1 | c.back2 << 8, c.width), (c.f1[c1] & 0xFFFF, c1), (c.f2[pair] & 0xFFFF, pair),
        (c.foreseen | c1 << 16, 0), (c.foreseen0 | c1 << 16, c2 + 1),
        (c.foreseen | c.back1 << 16, phase + 1), (c.foreseen | c.row1 << 16, c.back1 + 1),
    ]  # fmt: skip


# Section 7


def model_step(m: int) -> int:
    return min(max(m + 2304 >> 7, 0), 35)


def mixer_rows(
    shape: int, c: Cursor, partial: int, gone: int, hits: int, match: int, expected: int, m: int
) -> list[int]:
    by_match = partial + 256 * (0, 1, 1, 2, 3)[match]
    by_hits = (8 * hits + gone) * 9 + (2 * match - 2 + expected if match else 0)
    if shape == FAST:
        return [by_match, by_hits]
    if shape in (TEXT, BESIDE):
        place, above = (c.number, c.over) if shape == BESIDE else (c.column, c.above)
        marks = int(c.punctuation != 0) + 2 * int(c.first != 0)
        return [
            by_match, c.c1, c.c2, by_hits,
            (8 * min(place, 63) + gone) * 2 + int(above != 0),
            c.classes & 255,
            (8 * min(c.at - c.word_start, 15) + gone) * 12 + marks * 3 + expected,
            15 * model_step(m) + 3 * match + expected,
        ][: 8 if shape == BESIDE else 7]  # fmt: skip
    in_record = c.phase() % 127 + 1 if c.width else 0
    return [by_match, c.c1, c.c2, by_hits, c.lately, 8 * in_record + gone]
