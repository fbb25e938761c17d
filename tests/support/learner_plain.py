"""A second decoder of the learner: plain, slow, made from formats/learner-v1.md and nothing else.

It imports nothing of nacrith, so that an error in the package cannot hide in it. `decode` is its face. The
sections named below are those of the document.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from functools import cache

import numpy as np
from learner_plain_parts import (
    FAST,
    FIRST_HIT,
    GOLD,
    HISTORIES,
    LEAST,
    SHIFTS,
    START,
    TEXT,
    WORD,
    Cursor,
    adapted,
    after,
    contexts,
    limit,
    linear,
    mix,
    squash,
    stretch,
)


class Histories:
    """lines: for each that was touched, its buckets, [check, 15 histories] each."""

    def __init__(self, bits: int) -> None:
        self.count = (1 << bits) // 64
        self.lines: dict[int, list[list[int]]] = {}

    def take(self, place: int) -> list[int]:
        line = self.lines.setdefault((place >> 2) % self.count, [[0] * 16 for _ in range(4)])
        check = place >> 24 or 1
        for bucket in line:
            if bucket[0] == check:
                return bucket
        lowest = min(line, key=lambda bucket: bucket[1] if bucket[0] else -1)
        lowest[:] = [check, *[0] * 15]
        return lowest


# Section 5


def step_of(length: int) -> int:
    if length < 16:
        return length
    if length < 32:
        return 8 + length // 2
    if length < 64:
        return 16 + length // 4
    if length < 256:
        return 28 + length // 16
    return 43 + length // 256 if length < 4096 else 59


class Match:
    def __init__(self, least: int) -> None:
        self.least = least
        self.pointer = self.length = self.misses = 0
        self.places: dict[int, int] = {}
        self.trust = {(s, m): 65536 - 65536 // (s // 2 + 2) << 16 for s in range(60) for m in range(8)}
        self.expected: int | None = None  # the byte
        self.bit: int | None = None
        self.key = (0, 0)

    def begin(self, c: Cursor) -> None:
        self.expected = c.text[self.pointer] if self.pointer else None

    def predict(self, partial: int, gone: int) -> None:
        self.bit = None
        if self.expected is not None and (self.expected | 256) >> (8 - gone) == partial:
            self.bit = self.expected >> (7 - gone) & 1
            self.key = step_of(self.length), min(self.misses, 7)

    def probability(self) -> int:
        trust = self.trust[self.key] >> 16
        return 32768 if self.bit is None else trust if self.bit else min(65536 - trust, 65535)

    def learn(self, bit: int) -> None:
        if self.bit is None:
            return
        self.trust[self.key] = adapted(self.trust[self.key], int(self.bit == bit))
        if self.bit != bit:
            self.length = 0
            self.misses += 1

    def end(self, c: Cursor) -> None:
        if self.pointer:
            self.length = min(self.length + 1, 65535) if self.expected == c.c1 else 0
            self.pointer += 1
            if self.length > 16:
                self.misses = 0
            if self.misses > 8:
                self.pointer = 0
        h = 0
        for i in range(1, self.least + 1):
            h = (h + c.text[c.at - i] + 1) * 0x2F0B4C47 & WORD
        slot = ((h ^ h >> 13) * GOLD & WORD) >> 14
        place = self.places.get(slot, 0)
        if place and self.length < self.least:
            agreed = 0
            while agreed < 400 and place - agreed > START and self.same(c, place, agreed + 1):
                agreed += 1
            if agreed >= self.least:
                self.pointer, self.length, self.misses = place, agreed, 0
        self.places[slot] = c.at

    def same(self, c: Cursor, place: int, back: int) -> bool:
        return c.text[place - back] == c.text[c.at - back]


# Section 7


class Mixer:
    def __init__(self, first: list[int]) -> None:
        self.first, self.rows = np.array(first, np.int64), {}
        self.inputs = self.row = self.first
        self.out = 0

    def mix(self, inputs: np.ndarray, row: int) -> int:
        if row not in self.rows:
            self.rows[row] = self.first.copy()
        self.inputs, self.row = inputs, self.rows[row]
        self.out = limit(int(inputs @ (self.row >> 17)) >> 11, 3071)
        return self.out

    def learn(self, bit: int, rate: int) -> None:
        error = limit((65536 * bit - squash(self.out)) * rate >> 10, 32767)
        self.row += self.inputs * error
        np.clip(self.row, 1 - 2**30, 2**30 - 1, out=self.row)


KNOTS = [squash(limit(384 * (k - 8), 3071)) for k in range(17)]


class Correction:
    def __init__(self) -> None:
        self.rows: dict[int, list[int]] = {}
        self.row: list[int] = []
        self.nearer = 0

    def refine(self, z: int, context: int) -> int:
        self.row = self.rows.setdefault(context, list(KNOTS))
        k, r = divmod(z + 3072, 384)
        self.nearer = k + (r >= 192)
        return (self.row[k] * (384 - r) + self.row[k + 1] * r) // 384

    def learn(self, bit: int) -> None:
        self.row[self.nearer] += 65535 * bit - self.row[self.nearer] >> 5


def mixer_rows(
    shape: int, c: Cursor, partial: int, gone: int, hits: int, match: int, expected: int
) -> list[int]:
    by_match = partial + 256 * (0, 1, 1, 2, 3)[match]
    by_hits = (8 * hits + gone) * 9 + (2 * match - 2 + expected if match else 0)
    if shape == FAST:
        return [by_match, by_hits]
    if shape == TEXT:
        marks = int(c.punctuation != 0) + 2 * int(c.first != 0)
        return [
            by_match, c.c1, c.c2, by_hits,
            (8 * min(c.column, 63) + gone) * 2 + int(c.above != 0),
            c.classes & 255,
            (8 * min(c.at - c.word_start, 15) + gone) * 12 + marks * 3 + expected,
        ]  # fmt: skip
    in_record = c.phase() % 127 + 1 if c.width else 0
    return [by_match, c.c1, c.c2, by_hits, 8 * c.back1 + gone, 8 * in_record + gone]


class Learner:
    def __init__(self, shape: int, bits: int) -> None:
        self.shape = shape
        self.cursor = Cursor()
        self.histories = Histories(bits)
        self.matches = [Match(least) for least in LEAST[shape]]
        count = len(contexts(shape, self.cursor))
        fresh = [65535 * (2 * o + 1) // (2 * (z + o + 1)) << 16 for z, o, _ in HISTORIES]
        self.maps = [list(fresh) for _ in range(count)]
        self.direct: dict[tuple[int, int], list[int]] = defaultdict(lambda: [32768, 32768])
        size = 2 * count + 6 + 2 * len(self.matches) + 1
        self.padding = -size % 8
        weights = [450 << 16, 0] * count + [0] * 6 + [450 << 16, 0] * len(self.matches) + [0]
        mixers = len(mixer_rows(shape, self.cursor, 1, 0, 0, 0, 0))
        self.mixers = [Mixer(weights + [0] * self.padding) for _ in range(mixers)]
        joined = [(1 << 28) // mixers >> 16 << 16] * mixers + [0] * (8 - mixers)
        self.final = [Mixer(joined) for _ in range(2)]
        self.corrections = [Correction() for _ in range(4)]
        self.partial, self.gone = 1, 0
        self.begin_byte()

    def begin_byte(self) -> None:
        self.hashes = [
            mix((a + n * GOLD) & WORD, (b ^ n << 24) & WORD)
            for n, (a, b) in enumerate(contexts(self.shape, self.cursor))
        ]
        self.buckets = [self.histories.take(h) for h in self.hashes]
        for match in self.matches:
            match.begin(self.cursor)

    def second_half(self) -> None:
        self.buckets = []
        for h in self.hashes:
            q = (h * 0x2F0B4C47 + self.partial * 0x6F4F2A35) & WORD
            self.buckets.append(self.histories.take(q ^ q >> 15))

    def predict(self) -> int:
        c, partial, gone = self.cursor, self.partial, self.gone
        known = gone % 4
        self.node = 2**known - 1 + (partial & 2**known - 1)
        self.used = [bucket[1 + self.node] for bucket in self.buckets]
        x: list[int] = []
        for number, state in zip(self.maps, self.used, strict=True):
            p = number[state] >> 16
            x += [stretch(p), linear(p)] if state else [0, 0]
        pair = (mix(c.c4 & 0xFFFF, 0) + partial * GOLD & WORD) >> 14
        places = (partial, 256 * c.c1 + partial, pair)
        self.now = [self.direct[order, place] for order, place in enumerate(places)]
        x += [stretch(p) for both in self.now for p in both]
        step = expected = 0
        for match in self.matches:
            match.predict(partial, gone)
            p = match.probability()
            x += [stretch(p), linear(p)]
            if match.bit is not None:
                step, expected = max(step, match.key[0] + 1), match.bit + 1
        x += [256, *[0] * self.padding]
        match_size = 0 if not step else 1 if step < 8 else 2 if step < 16 else 3 if step < 24 else 4
        first = FIRST_HIT[self.shape]
        hits = sum(state != 0 for state in self.used[first : first + 6])
        rows = mixer_rows(self.shape, c, partial, gone, hits, match_size, expected)
        inputs = np.array(x, np.int64)
        outs = [mixer.mix(inputs, row) for mixer, row in zip(self.mixers, rows, strict=True)]
        joined = np.array([*outs, 256, *[0] * (7 - len(outs))], np.int64)
        z1 = self.final[0].mix(joined, partial)
        z2 = self.final[1].mix(joined, (5 * expected + match_size) * 8 + hits)
        z = (z1 + z2) >> 1
        near, far = mix(c.c1, partial) >> 18, mix(c.c4 & 0xFFFFFF, partial) >> 18
        chosen = (partial + 256 * (expected != 0), near, far, 8 * step + gone)
        r = [correction.refine(z, at) for correction, at in zip(self.corrections, chosen, strict=True)]
        total = 2 * squash(z) + r[0] + 2 * r[1] + 2 * r[2] + r[3]
        return min(max(total >> 3, 1), 65535)

    def learn(self, bit: int) -> None:
        for mixer in self.mixers:
            mixer.learn(bit, 10 + 80 // (1 + (self.cursor.at >> 11)))
        for mixer in self.final:
            mixer.learn(bit, 16)
        for correction in self.corrections:
            correction.learn(bit)
        for number, state in zip(self.maps, self.used, strict=True):
            number[state] = adapted(number[state], bit)
        for bucket in self.buckets:
            bucket[1 + self.node] = after(bucket[1 + self.node], bit)
        for both, shifts in zip(self.now, SHIFTS, strict=True):
            for i, shift in enumerate(shifts):
                both[i] += 65535 * bit - both[i] >> shift
        for match in self.matches:
            match.learn(bit)
        self.partial, self.gone = self.partial * 2 + bit, self.gone + 1
        if self.gone == 4:
            self.second_half()
        if self.gone == 8:
            self.cursor.push(self.partial & 255)
            self.partial, self.gone = 1, 0
            for match in self.matches:
                match.end(self.cursor)
            self.begin_byte()


# Section 2, with section 5 of coding-v1.md


def words(payload: bytes) -> Iterator[int]:
    for at in range(0, len(payload), 4):
        yield int.from_bytes(payload[at : at + 4].ljust(4, b"\0"), "big")
    while True:
        yield 0


@cache  # several golden archives share their blocks
def decode(payload: bytes, shape: int, bits: int, size: int) -> bytes:
    """The text of `size` bytes. ValueError if the payload is impossible."""
    learner, stream = Learner(shape, bits), words(payload)
    offset, width = next(stream) << 32 | next(stream), (1 << 64) - 1
    for _ in range(8 * size):
        ones = learner.predict() << 8
        scale = width >> 24
        value = offset // scale
        if value >= 1 << 24:
            raise ValueError("no such number")
        bit = int(value < ones)
        if not bit:
            offset -= scale * ones
        width = scale * (ones if bit else (1 << 24) - ones)
        if width < 1 << 32:
            width <<= 32
            offset = offset << 32 | next(stream)
        learner.learn(bit)
    return bytes(learner.cursor.text[START:])
