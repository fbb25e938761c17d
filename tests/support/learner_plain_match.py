"""The matches of `learner_plain`: section 5 of formats/learner-v1.md."""

from __future__ import annotations

from learner_plain_parts import GOLD, START, WORD, Cursor, adapted


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


class Pointer:
    """Of one lane, by one match model."""

    def __init__(self) -> None:
        self.place: tuple[int, int] | None = None  # lane and position
        self.length = self.misses = 0
        self.expected: int | None = None  # the byte
        self.bit: int | None = None
        self.key = (0, 0)


class Match:
    def __init__(self, least: int, cursors: list[Cursor]) -> None:
        self.least = least
        self.cursors = cursors
        self.pointers = [Pointer() for _ in cursors]
        self.places: dict[int, tuple[int, int]] = {}
        self.trust = {(s, m): 65536 - 65536 // (s // 2 + 2) << 16 for s in range(60) for m in range(8)}

    def begin(self, lane: int) -> None:
        self.now = self.pointers[lane]
        self.now.expected = None
        if self.now.place is None:
            return
        other, position = self.now.place
        if position < self.cursors[other].at:
            self.now.expected = self.cursors[other].text[position]
        else:
            self.now.place, self.now.length = None, 0

    def predict(self, partial: int, gone: int) -> None:
        p = self.now
        p.bit = None
        if p.expected is not None and (p.expected | 256) >> (8 - gone) == partial:
            p.bit = p.expected >> (7 - gone) & 1
            p.key = step_of(p.length), min(p.misses, 7)

    def probability(self) -> int:
        trust = self.trust[self.now.key] >> 16
        return 32768 if self.now.bit is None else trust if self.now.bit else min(65536 - trust, 65535)

    def learn(self, bit: int) -> None:
        p = self.now
        if p.bit is None:
            return
        self.trust[p.key] = adapted(self.trust[p.key], int(p.bit == bit))
        if p.bit != bit:
            p.length = 0
            p.misses += 1

    def end(self, lane: int) -> None:
        c, p = self.cursors[lane], self.now
        if p.place is not None:
            p.length = min(p.length + 1, 65535) if p.expected == c.c1 else 0
            p.place = p.place[0], p.place[1] + 1
            if p.length > 16:
                p.misses = 0
            if p.misses > 8:
                p.place = None
        h = 0
        for i in range(1, self.least + 1):
            h = (h + c.text[c.at - i] + 1) * 0x2F0B4C47 & WORD
        slot = ((h ^ h >> 13) * GOLD & WORD) >> 14
        place = self.places.get(slot)
        if place is not None and p.length < self.least:
            agreed = 0
            while agreed < 400 and self.same(c, place, agreed + 1):
                agreed += 1
            if agreed >= self.least:
                p.place, p.length, p.misses = place, agreed, 0
        self.places[slot] = lane, c.at

    def same(self, c: Cursor, place: tuple[int, int], back: int) -> bool:
        there, here = place[1] - back, c.at - back
        return min(there, here) >= START and self.cursors[place[0]].text[there] == c.text[here]
