"""A second decoder of the learner: plain, slow, made from formats/learner-v1.md and nothing else.

It imports nothing of nacrith, so that an error in the package cannot hide in it. `decode` is its face; the
learner beside a model serves `coding_plain`. The sections named below are those of the document.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from functools import cache

import numpy as np
from learner_plain_grid import Bitmap, Grid
from learner_plain_match import Match
from learner_plain_parts import (
    BESIDE,
    FAST,
    FIRST_HIT,
    GOLD,
    HISTORIES,
    LEAST,
    SAMPLES,
    SHIFTS,
    START,
    WORD,
    Cursor,
    adapted,
    after,
    contexts,
    limit,
    linear,
    mix,
    mixer_rows,
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


class Gate:
    """Section 9."""

    def __init__(self) -> None:
        self.w = 1 << 21
        self.q = self.g = 0

    def join(self, q: int, g: int) -> int:
        self.q, self.g = q, g
        return min(max(self.w * q + (4194304 - self.w) * g >> 22, 1), 65535)

    def learn(self, y: int) -> None:
        a, b = (self.q, self.g) if y else (65536 - self.q, 65536 - self.g)
        self.w = 4194304 * self.w * a // (self.w * a + (4194304 - self.w) * b)
        self.w += (1 << 21) - self.w >> 12


class Learner:
    def __init__(self, shape: int, bits: int, lanes: int = 1, layout: tuple[int, int] = (1, 0)) -> None:
        self.shape, self.beside = shape, shape == BESIDE
        self.cursors = [Cursor() for _ in range(lanes)]
        for cursor in self.cursors:
            cursor.f1, cursor.f2 = self.cursors[0].f1, self.cursors[0].f2
        self.histories = Histories(bits)
        self.matches = [Match(least, self.cursors) for least in LEAST[shape]]
        self.grid: Bitmap | Grid | None = None
        if shape == SAMPLES[0]:
            self.grid = Bitmap(self.cursors[0], layout)
        elif shape in SAMPLES:
            self.grid = Grid(self.cursors[0], layout, SAMPLES.index(shape))
        self.lane, self.cursor = 0, self.cursors[0]
        count = len(self.contexts())
        fresh = [65535 * (2 * o + 1) // (2 * (z + o + 1)) << 16 for z, o, _ in HISTORIES]
        self.maps = [list(fresh) for _ in range(count)]
        self.direct: dict[tuple[int, int], list[int]] = defaultdict(lambda: [32768, 32768])
        stretched = (150 if self.beside else 450) << 16
        weights = (
            [stretched, 0] * count
            + [0] * (4 if shape == FAST else 6)
            + [stretched, 0] * len(self.matches)
            + [0]
        )
        if self.grid is not None:
            self.cells: list[dict[int, int]] = [{} for _ in range(self.grid.CELLS)]
            weights[-1:] = [stretched, 0] * len(self.cells) + [0]
        weights += [2000 << 16, 0] * self.beside
        self.padding = -len(weights) % 8
        mixers = 6 if self.grid else len(mixer_rows(shape, self.cursors[0], 1, 0, 0, 0, 0, 0))
        self.mixers = [Mixer(weights + [0] * self.padding) for _ in range(mixers)]
        self.joined = 16 if self.beside else 8
        joined = [(1 << 28) // mixers >> 16 << 16] * mixers + [0] * (self.joined - mixers)
        self.final = [Mixer(joined) for _ in range(2)]
        self.corrections = [Correction() for _ in range(4)]
        self.gate = Gate()
        self.partial, self.gone = 1, 0
        self.begins = True  # whether a token begins with the present byte
        self.known = START  # 32, and the bytes of all lanes
        self.start(0)

    def start(self, lane: int) -> None:
        """The bits that follow are of this lane, and its next token's."""
        self.begins = True
        self.lane, self.cursor = lane, self.cursors[lane]

    def contexts(self) -> list[tuple[int, int]]:
        return contexts(self.shape, self.cursor) if self.grid is None else self.grid.contexts()

    def begin_byte(self) -> None:
        for match in self.matches:
            match.begin(self.lane)
        bytes_to_come = [m.now.expected for m in self.matches if m.now.expected is not None]
        self.cursor.foreseen0 = 256 + bytes_to_come[0] if bytes_to_come else 0
        self.cursor.foreseen = 256 + bytes_to_come[-1] if bytes_to_come else 0
        flag = 0x5BD1E995 if self.beside and self.begins else 0
        self.hashes = [
            mix((a + n * GOLD) & WORD, (b ^ n << 24 ^ flag) & WORD)
            for n, (a, b) in enumerate(self.contexts())
        ]
        self.buckets = [self.histories.take(h) for h in self.hashes]

    def second_half(self) -> None:
        self.buckets = []
        for h in self.hashes:
            q = (h * 0x2F0B4C47 + self.partial * 0x6F4F2A35) & WORD
            self.buckets.append(self.histories.take(q ^ q >> 15))

    def look_up(self) -> list[int]:
        """All inputs but those of a model."""
        if self.gone == 0:
            self.begin_byte()
        if self.gone == 4:
            self.second_half()
        c, partial, known = self.cursor, self.partial, self.gone % 4
        self.node = 2**known - 1 + (partial & 2**known - 1)
        self.used = [bucket[1 + self.node] for bucket in self.buckets]
        x: list[int] = []
        for number, state in zip(self.maps, self.used, strict=True):
            p = number[state] >> 16
            x += [stretch(p), linear(p)] if state else [0, 0]
        half = partial >> known if self.gone >= 4 else 0
        pair = 16 * (mix(c.c4 & 0xFFFF, half) >> 18) + self.node
        places = (partial, 256 * c.c1 + partial, pair)[: 2 if self.shape == FAST else 3]
        self.now = [self.direct[order, place] for order, place in enumerate(places)]
        x += [stretch(p) for both in self.now for p in both]
        for match in self.matches:
            match.predict(partial, self.gone)
            p = match.probability()
            x += [stretch(p), linear(p)]
        if self.grid is not None:
            self.places = self.grid.cells(partial, self.gone)
            for cell, at in zip(self.cells, self.places, strict=True):
                p = cell.setdefault(at, 32768 << 16) >> 16
                x += [stretch(p), linear(p)]
        return [*x, 256]

    def predict(self, m: int = 0) -> int:
        """m: the model's stretched probability, beside a model."""
        x = self.look_up()
        c, partial, gone = self.cursor, self.partial, self.gone
        x += [m, linear(squash(m))] * self.beside + [0] * self.padding
        step = expected = 0
        for match in self.matches:
            if match.now.bit is not None:
                step, expected = max(step, match.now.key[0] + 1), match.now.bit + 1
        match_size = 0 if not step else 1 if step < 8 else 2 if step < 16 else 3 if step < 24 else 4
        first = FIRST_HIT[self.shape]
        hits = sum(state != 0 for state in self.used[first : first + 6])
        rows = mixer_rows(self.shape, c, partial, gone, hits, match_size, expected, m)
        if self.grid is not None:
            rows = self.grid.rows(rows, gone, expected)
        inputs = np.array(x, np.int64)
        outs = [mixer.mix(inputs, row) for mixer, row in zip(self.mixers, rows, strict=True)]
        near, far = mix(c.c1, partial) >> 18, mix(c.c4 & 0xFFFFFF, partial) >> 18
        if self.shape == FAST:
            z = sum(outs) >> 1
            r1 = self.corrections[1].refine(z, mix(c.c4 & 0xFFFF, partial) >> 18)
            return min(max((squash(z) + r1) >> 1, 1), 65535)
        second = [*outs, 256, *[m] * self.beside]
        joined = np.array(second + [0] * (self.joined - len(second)), np.int64)
        z1 = self.final[0].mix(joined, partial)
        z2 = self.final[1].mix(joined, (5 * expected + match_size) * 8 + hits)
        z = (z1 + z2) >> 1
        chosen = (partial + 256 * (expected != 0), near, far, 8 * step + gone)
        r = [correction.refine(z, at) for correction, at in zip(self.corrections, chosen, strict=True)]
        total = 2 * squash(z) + r[0] + 2 * r[1] + 2 * r[2] + r[3]
        p = min(max(total >> 3, 1), 65535)
        return self.gate.join(p, squash(m)) if self.beside else p

    def learn(self, bit: int) -> None:
        """A bit that was predicted."""
        first, final = (8 + 60 // (1 + (self.known >> 11)), 28) if self.beside else (0, 16)
        for mixer in self.mixers:
            mixer.learn(bit, first or 10 + 80 // (1 + (self.cursor.at >> 11)))
        for mixer in self.final[: 0 if self.shape == FAST else 2]:
            mixer.learn(bit, final)
        for correction in self.corrections[1:2] if self.shape == FAST else self.corrections:
            correction.learn(bit)
        if self.beside:
            self.gate.learn(bit)
        self.learn_text(bit)

    def certain(self, bit: int) -> None:
        """A bit that was not predicted."""
        self.look_up()
        self.learn_text(bit)

    def learn_text(self, bit: int) -> None:
        for number, state in zip(self.maps, self.used, strict=True):
            number[state] = adapted(number[state], bit)
        if self.grid is not None:
            for cell, at in zip(self.cells, self.places, strict=True):
                cell[at] = adapted(cell[at], bit)
        for bucket in self.buckets:
            bucket[1 + self.node] = after(bucket[1 + self.node], bit)
        for both, shifts in zip(self.now, SHIFTS[: len(self.now)], strict=True):
            for i, shift in enumerate(shifts):
                both[i] += 65535 * bit - both[i] >> shift
        for match in self.matches:
            match.learn(bit)
        self.partial, self.gone = self.partial * 2 + bit, self.gone + 1
        if self.gone == 8:
            self.cursor.push(self.partial & 255)
            self.partial, self.gone = 1, 0
            self.begins = False
            self.known += 1
            for match in self.matches:
                match.end(self.lane)


# Section 2, with section 5 of coding-v2.md


def words(payload: bytes) -> Iterator[int]:
    for at in range(0, len(payload), 4):
        yield int.from_bytes(payload[at : at + 4].ljust(4, b"\0"), "big")
    while True:
        yield 0


@cache  # several golden archives share their blocks
def decode(payload: bytes, shape: int, bits: int, size: int, layout: tuple[int, int] = (1, 0)) -> bytes:
    """The text of `size` bytes. ValueError if the payload is impossible."""
    learner, stream = Learner(shape, bits, 1, layout), words(payload)
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
