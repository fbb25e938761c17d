"""A second decoder of coding 2: plain, slow, made from formats/coding-v2.md and nothing else.

It imports nothing of nacrith. The learner is that of `learner_plain`, the predictors of sets 1 and 2 are in
`cascade_plain`. `decode` is its face. The sections named below are those of the document.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from cascade_plain import Cascade, stretch, weights
from learner_plain import Gate, Learner, Mixer
from learner_plain_match import step_of
from learner_plain_parts import BESIDE, GOLD, WORD, Cursor, adapted, limit, mix, model_step, squash
from learner_plain_parts import stretch as stretch_learner

Row = Callable[[int, Sequence[int]], Sequence[int]]
"""The model's row for a lane, given its tokens so far."""

TOTAL = 1 << 24


# Section 5


class Decoder:
    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 8
        self.point = int.from_bytes(data[:8].ljust(8, b"\0"), "big")
        self.low, self.width = 0, (1 << 64) - 1

    def bit(self, n: int) -> int:
        """A 1 has the interval [0, n)."""
        s = self.width >> 24
        v = (self.point - self.low) % (1 << 64) // s
        if v >= TOTAL:
            raise ValueError("corrupt")
        bit = int(v < n)
        self.low = (self.low + s * (0 if bit else n)) % (1 << 64)
        self.width = s * (n if bit else TOTAL - n)
        if self.width < 1 << 32:
            word = int.from_bytes(self.data[self.at : self.at + 4].ljust(4, b"\0"), "big")
            self.at += 4
            self.low = (self.low << 32) % (1 << 64)
            self.width <<= 32
            self.point = (self.point << 32) % (1 << 64) + word
        return bit


# Section 8


class Ends:
    def __init__(self, learner: Learner, lanes: int) -> None:
        self.learner = learner
        self.tok, self.before = [0] * lanes, [0] * lanes
        self.cuts: set[tuple[int, int]] = set()  # lane and position of bytes with which a token ended
        self.tables: list[dict[int, int]] = [{} for _ in range(10)]
        self.trusts = [[3 << 30] * 60 for _ in range(3)]
        first = [300 << 16] * 13 + [2000 << 16] + [0] * 2
        self.mixers = [Mixer(first), Mixer(first)]
        self.gate = Gate()

    def byte(self, lane: int, c: int) -> None:
        self.tok[lane] = mix(self.tok[lane], c)

    def done(self, lane: int, has_bytes: bool) -> None:
        if has_bytes:
            self.cuts.add((lane, self.learner.cursors[lane].at - 1))
        self.before[lane], self.tok[lane] = self.tok[lane], 0

    def words(self, lane: int, c: Cursor) -> list[int]:
        tok, c4 = self.tok[lane], c.c4
        return [
            tok, mix(tok, self.before[lane]), mix(tok, c4 & 0xFFFF), mix(c4, 1), mix(c4, c.older & 0xFFFF),
            mix(c.word, c.word1), mix(c.classes & 0xFFFF, 3),
            mix(c.field | c.over << 8, tok), mix(mix(c.over | c.next << 8, c.c1), 5), mix(c.column, tok),
        ]  # fmt: skip

    def predict(self, lane: int, m: int) -> int:
        c = self.learner.cursors[lane]
        self.places = [(h * GOLD & WORD) >> 16 for h in self.words(lane, c)]
        entries = [table.get(at, 1 << 31) for table, at in zip(self.tables, self.places, strict=True)]
        x = [stretch_learner(e >> 16) if e & 1023 else 0 for e in entries]
        self.matched: list[tuple[int, int, int]] = []  # model, step, E
        for i, match in enumerate(self.learner.matches):
            pointer = match.pointers[lane]
            if pointer.place is None or not pointer.length:
                x.append(0)
                continue
            e = int((pointer.place[0], pointer.place[1] - 1) in self.cuts)
            step = step_of(pointer.length)
            p = self.trusts[i][step] >> 16
            x.append(stretch_learner(65535 - p if e else p))
            self.matched.append((i, step, e))
        x += [m, 256, 0]
        agreed = 1 + self.matched[-1][2] if self.matched else 0
        inputs = np.array(x, np.int64)
        z1 = self.mixers[0].mix(inputs, 3 * model_step(m) + agreed)
        z2 = self.mixers[1].mix(inputs, c.c1)
        return self.gate.join(squash(z1 + z2 >> 1), squash(m))

    def learn(self, y: int) -> None:
        for mixer in self.mixers:
            mixer.learn(y, 14 + 120 // (1 + (self.learner.known >> 11)))
        for table, at in zip(self.tables, self.places, strict=True):
            table[at] = adapted(table.get(at, 1 << 31), y, 127)
        for i, step, e in self.matched:
            self.trusts[i][step] = adapted(self.trusts[i][step], int(e != y))
        self.gate.learn(y)


# Section 6


class Tokens:
    def __init__(self, words: Sequence[bytes], bits: int, lanes: int, stream: bytes) -> None:
        order = sorted(range(len(words)), key=lambda i: (not words[i], words[i], i))
        self.order, self.words = order, [words[i] for i in order]
        self.spelled = sum(bool(word) for word in words)
        self.learner = Learner(BESIDE, bits, lanes)
        self.ends = Ends(self.learner, lanes)
        self.decoder = Decoder(stream)

    def sum(self, i: int, j: int) -> int:
        return sum(self.counts[i:j])

    def bit(self, n: int, least: int) -> int:
        """Whether the rank is `least` or more: of a prefix it is known."""
        return self.decoder.bit(n) if self.known is None else int(self.known >= least)

    def plain(self, zeros: int, ones: int, least: int) -> int:
        return self.bit(min(max((ones << 24) // (zeros + ones), 1), TOTAL - 1), least)

    def halve(self, i: int, j: int) -> int:
        while j - i > 1:
            k = (i + j) // 2
            i, j = (k, j) if self.plain(self.sum(i, k), self.sum(k, j), k) else (i, k)
        return i

    def decode(self, counts: Sequence[int], lane: int, known: int | None = None) -> int:
        """The id. counts: of all ids. known: the id, of a token that is not coded."""
        self.known = None if known is None else self.order.index(known)
        self.counts = [counts[i] for i in self.order]
        size, spelled = len(self.order), self.spelled
        has_bytes = spelled > 0
        if 0 < spelled < size:
            share = min(max((self.sum(0, spelled) << 24) // TOTAL, 1), TOTAL - 1)
            has_bytes = self.known < spelled if self.known is not None else bool(self.decoder.bit(share))
        if not has_bytes:
            rank = self.halve(spelled, size)
        else:
            self.learner.start(lane)
            rank = self.spell(lane)
        self.ends.done(lane, has_bytes)
        return self.order[rank]

    def spell(self, lane: int) -> int:
        lo, hi, d = 0, self.spelled, 0
        while True:
            lo, hi = self.byte(lane, lo, hi, d)
            d += 1
            e = sum(len(word) == d for word in self.words[lo:hi])
            goes_on = e == 0
            if 0 < e < hi - lo:
                m = stretched(self.sum(lo, lo + e), self.sum(lo + e, hi))
                goes_on = bool(self.bit(self.ends.predict(lane, m) << 8, lo + e))
                self.ends.learn(int(goes_on))
            if not goes_on:
                return self.halve(lo, lo + e)
            lo += e

    def byte(self, lane: int, lo: int, hi: int, d: int) -> tuple[int, int]:
        for left in range(7, -1, -1):
            ones = [rank for rank in range(lo, hi) if self.words[rank][d] >> left & 1]
            k = ones[0] if ones else hi
            if k in (lo, hi):
                bit = int(k == lo)
                self.learner.certain(bit)
            else:
                m = stretched(self.sum(lo, k), self.sum(k, hi))
                bit = self.bit(self.learner.predict(m) << 8, k)
                self.learner.learn(bit)
            lo, hi = (k, hi) if bit else (lo, k)
        self.ends.byte(lane, self.words[lo][d])
        return lo, hi


def stretched(zeros: int, ones: int) -> int:
    return limit(stretch(ones, zeros) * 11357 >> 16, 3071)


# Sections 2 and 4


def counts_alone(x: Sequence[int]) -> list[int]:
    """arithmetic-v1.md, section 8."""
    w = weights(x)
    r = np.float32(np.float64(TOTAL - len(x)) / np.float64(sum(w)) * np.float64(1 - 2.0**-22))
    c = [int(np.floor(np.float32(n) * r)) + 1 for n in w]
    c[x.index(max(x))] += TOTAL - sum(c)
    return c


def head(payload: bytes) -> tuple[list[int], bool, bytes]:
    """Tokens of each lane, the line end flag, the coder's bytes."""
    data = iter(payload)

    def varint() -> int:
        number = shift = 0
        while True:
            byte = next(data)
            number |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return number

    first = varint()
    lengths = [first // 4] if first & 2 else [varint() for _ in range(first // 4)]
    return lengths, bool(first & 1), bytes(data)


def decode_lanes(
    lengths: Sequence[int],
    stream: bytes,
    words: Sequence[bytes],
    predictors: int,
    bits: int,
    row: Row,
    prefix: Sequence[int] = (),
) -> list[list[int]]:
    """The tokens of each lane. predictors, bits: the bytes of section 1. prefix: tokens. Of lane 0, `row` is
    given those of the prefix too."""
    lengths = [n + len(prefix) * (lane == 0) for lane, n in enumerate(lengths)]
    lanes: list[list[int]] = [[] for _ in lengths]
    while bits > 16 and 1 << bits - 1 >= 4096 * sum(lengths):
        bits -= 1
    coder = Tokens(words, bits, len(lengths), stream)
    cascade = (
        Cascade(predictors & 15, 1 << (predictors >> 4) + 8, len(words), lengths) if predictors else None
    )

    def code(lane: int, known: int | None = None) -> None:
        x = list(row(lane, lanes[lane]))
        c = cascade.counts(x, lane) if cascade else counts_alone(x)
        lanes[lane].append(coder.decode(c, lane, known))
        if cascade:
            cascade.learn(lanes[lane][-1], lane)

    for token in prefix:
        code(0, token)
    start = len(prefix)
    for t in range(max([n - start * (lane == 0) for lane, n in enumerate(lengths)], default=0)):
        for lane, n in enumerate(lengths):
            if t + start * (lane == 0) < n:
                code(lane)
    return [tokens[start * (lane == 0) :] for lane, tokens in enumerate(lanes)]
