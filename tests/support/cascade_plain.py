"""The predictors of sets 1 and 2 once more, for `coding_plain`: from section 7 of formats/coding-v2.md alone.

Plain loops over the vocabulary, one token at a time. It imports nothing of nacrith but reads its prior files,
which are part of the format.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from functools import cache
from math import isqrt

import numpy as np
from paths import ROOT
from slow_reference import exp2, rint

f32, f64 = np.float32, np.float64
TOTAL = 1 << 24


def weights(x: Sequence[int]) -> list[int]:
    """arithmetic-v1.md, section 8."""
    top = max(x)
    return [rint(exp2(f32(v - top) * f32(2.0**-16)) * f32(2.0**23)) for v in x]


# Section 7.1


@cache
def power(numerator: int, roots: int) -> int:
    """floor(2^(30 + numerator / 2^roots))"""
    n = 1 << (30 << roots) + numerator
    for _ in range(roots):
        n = isqrt(n)
    return n


@cache
def lg(m: int) -> int:
    e = m.bit_length() - 1
    lead = m >> e - 10 if e >= 10 else m << 10 - e
    return 1024 * e + (lead**1024).bit_length() - 1 - 10240


def stretch(a: int, b: int) -> int:
    return lg(max(a, 1)) - lg(max(b, 1))


@cache
def squash(s: int) -> int:
    if s < 0:
        return TOTAL - squash(-s)
    k = -(-s // 1024)
    i = 1024 * k - s
    e = power(i >> 5, 5) * power(i % 32, 10) >> 30
    return (1 << 54) // ((1 << 30) + (e >> k))


def limited(x: int, most: int = 20480) -> int:
    return min(max(x, -most), most)


class Map:
    def __init__(self, p: Sequence[int], m: Sequence[int]) -> None:
        self.p, self.m = [64 * v for v in p], list(m)

    def opinion(self, i: int) -> int:
        return stretch(self.p[i], (1 << 22) - self.p[i])

    def learn(self, i: int, y: bool) -> None:
        self.p[i] += ((y << 22) - self.p[i]) * (131072 // (2 * self.m[i] + 3)) >> 16
        self.m[i] = min(self.m[i] + 1, 127)


# Section 7.6


def prior(number: int) -> tuple[list[Map], list[list[list[int]]]]:
    """Eight maps, three tables of sets of weights."""
    data = (ROOT / "nacrith" / "predictors" / f"set{number}.prior").read_bytes()
    sizes = [144] * 5 + [64, 96 * 33, 32 * 33]
    n = sum(sizes)
    p, m = struct.unpack(f"<{n}H", data[: 2 * n]), data[2 * n : 3 * n]
    w = list(struct.unpack(f"<{8 * 50}i", data[3 * n :]))
    maps = [Map(p[sum(sizes[:i]) :][:size], m[sum(sizes[:i]) :][:size]) for i, size in enumerate(sizes)]
    sets = [w[8 * i : 8 * i + 8] for i in range(50)]
    return maps, [sets[:16], sets[16:34], sets[34:]]


# Section 7.3


class Node:
    def __init__(self) -> None:
        self.total = self.position = 0
        self.list: list[list[int]] = []  # token and count

    def count(self, t: int) -> int:
        return dict(map(tuple, self.list)).get(t, 0)

    def learn(self, t: int, n: int) -> None:
        self.total += 1
        self.position = n
        for entry in self.list:
            if entry[0] == t:
                entry[1] += 1
                return
        if len(self.list) < 16:
            self.list.append([t, 1])
        else:
            min(self.list, key=lambda entry: entry[1])[:] = [t, 1]


def class_of(n: int, edges: Sequence[int]) -> int:
    return sum(n > edge for edge in edges)


class Question:
    token: int
    opinions: list[int]
    states: list[int | None]
    sets: tuple[int, int, int]
    contexts: tuple[int, int]
    s: int


class Cascade:
    def __init__(self, number: int, capacity: int, size: int, lengths: Sequence[int]) -> None:
        self.maps, self.tables = prior(number)
        self.capacity, self.size = capacity, size
        self.b, self.g2 = [f32(0)] * size, [f32(0)] * size
        self.h: list[int | None] = [None] * sum(lengths)
        self.s = [sum(lengths[:i]) for i in range(len(lengths))]
        self.n = list(self.s)
        self.q: list[int | None] = [None] * len(lengths)
        self.l = [0] * len(lengths)
        self.young: list[dict[tuple[int | None, ...], Node]] = [{} for _ in range(6)]
        self.old: list[dict[tuple[int | None, ...], Node]] = [{} for _ in range(6)]

    def find(self, lane: int, k: int) -> Node | None:
        if self.n[lane] - self.s[lane] < k:
            return None
        key = tuple(self.h[self.n[lane] - k : self.n[lane]])
        return self.young[k].get(key) or self.old[k].get(key)

    def match(self, lane: int) -> None:
        q = self.q[lane]
        if q is not None and (q >= len(self.h) or self.h[q] is None):
            q = None
        if q is None:
            node, self.l[lane] = self.find(lane, 5), 0
            q = node.position if node else None
            while q is not None and self.l[lane] < 31:
                there, here = q - 1 - self.l[lane], self.n[lane] - 1 - self.l[lane]
                if there < 0 or here < self.s[lane] or self.h[there] != self.h[here]:
                    break
                self.l[lane] += 1
        self.q[lane] = q

    def ngram(self, t: int) -> int:
        p = (1 << 22) // self.size
        for node in self.nodes[1:]:
            if node:
                seen = max(4 * node.count(t) - 3, 0) << 22
                p = (seen + (3 * len(node.list) + 2) * p) // (4 * node.total + 2)
        return p

    def candidates(self) -> list[int]:
        marks: dict[int, int] = {}
        expected = self.h[self.q[self.lane]] if self.q[self.lane] is not None else None
        tokens = [self.top] if expected is None else [self.top, expected]
        for node in self.nodes[1:]:
            if node:
                first = sorted(node.list, key=lambda entry: -entry[1])[:2]
                tokens += [self.h[node.position], *(t for t, _ in first)]
        for t in tokens:
            marks[t] = 3 * ((self.w[t] << 22) // self.W) + 2 * self.ngram(t)
            if t == expected:
                marks[t] += min(self.l[self.lane], 20) << 19
        return sorted(marks, key=lambda t: (-marks[t], t))[:4]

    def ask(self, t: int, i: int, left: int) -> Question:
        f, is_top, length = int(i > 0), int(t == self.top), self.l[self.lane]
        q, Q = self.q[self.lane], Question()
        Q.token, Q.states = t, [None] * 6
        best = a = others = 0
        for k, node in enumerate(self.nodes):
            if node:
                n = node.count(t)
                few, many = class_of(n, (0, 1, 2, 4, 8)), class_of(node.total - n, (0, 1, 2, 5, 15))
                Q.states[k - 1] = ((few * 6 + many) * 2 + int(self.h[node.position] == t)) * 2 + f
                if n:
                    best, a, others = k, n, node.total - n
        L = 0
        if q is not None and self.h[q] == t:
            Q.states[5] = 2 * length + f
            L = 1 + sum(n <= length for n in (6, 8, 12, 16, 24, 31))
        seen = [0 if s is None else m.opinion(s) for m, s in zip(self.maps[:6], Q.states, strict=True)]
        Q.opinions = [stretch(self.w[t], left - self.w[t]), *seen, 256]
        D = min(max((Q.opinions[0] >> 10) + 8, 0), 15)
        u = 0 if others == 0 else 1 if others < 3 else 2
        Q.sets = 2 * L + f, 3 * best + u, 2 * (D // 2) + is_top
        Q.contexts = 8 * (2 * best + is_top) + L, 4 * (2 * min(i, 3) + is_top) + min(a, 3)
        total = sum(
            w * o
            for table, at in zip(self.tables, Q.sets, strict=True)
            for w, o in zip(table[at], Q.opinions, strict=True)
        )
        Q.s = limited(total >> 16)
        return Q

    def place(self, Q: Question) -> tuple[int, int]:
        return divmod(min(max(Q.s + 16384, 0), 32767), 1024)

    def answer(self, Q: Question) -> int:
        j, e = self.place(Q)
        s = 2 * Q.s
        for m, context in zip(self.maps[6:], Q.contexts, strict=True):
            at = 33 * context + j
            p = (m.p[at] * (1024 - e) + m.p[at + 1] * e) >> 10
            s += stretch(p, (1 << 22) - p)
        return min(max(squash(limited(s >> 2)), 16), TOTAL - 16)

    def counts(self, x: Sequence[int], lane: int) -> list[int]:
        self.lane = lane
        self.nodes = [None, *(self.find(lane, k) for k in range(1, 6))]
        self.match(lane)
        x = [limited(v + rint(b), 1 << 30) for v, b in zip(x, self.b, strict=True)]
        self.top, self.w = x.index(max(x)), weights(x)
        self.W = sum(self.w)
        R, S = TOTAL - self.size, self.W
        self.questions: list[Question] = []
        asked: dict[int, int] = {}
        for i, t in enumerate(self.candidates()):
            self.questions.append(self.ask(t, i, S))
            asked[t] = R * self.answer(self.questions[-1]) >> 24
            R -= asked[t]
            S -= self.w[t]
        r = f32(f64(R) / f64(S) * f64(1 - 2.0**-22)) if S else f32(0)
        c = [asked[v] + 1 if v in asked else math.floor(f32(w) * r) + 1 for v, w in enumerate(self.w)]
        c[self.top] += TOTAL - sum(c)
        return c

    def learn(self, t: int, lane: int) -> None:
        for Q in self.questions:
            y = Q.token == t
            error = (y << 24) - squash(Q.s)
            for table, at in zip(self.tables, Q.sets, strict=True):
                for i, o in enumerate(Q.opinions):
                    table[at][i] += o * error + (1 << 26) >> 27
            for m, state in zip(self.maps[:6], Q.states, strict=True):
                if state is not None:
                    m.learn(state, y)
            j, e = self.place(Q)
            for m, context in zip(self.maps[6:], Q.contexts, strict=True):
                m.learn(33 * context + j + (e >= 512), y)
            if y:
                break
        self.learn_bias(t)
        self.learn_ngrams(t, lane)
        q = self.q[lane]
        if q is not None and self.h[q] == t:
            self.q[lane], self.l[lane] = q + 1, min(self.l[lane] + 1, 31)
        else:
            self.q[lane] = None

    def learn_bias(self, t: int) -> None:
        total = f32(self.W)
        for v, w in enumerate(self.w):
            if v == t or f32(w) > total * f32(2.0**-12):
                g = f32(w) / total - f32(v == t)
                self.g2[v] += g * g
                self.b[v] -= f32(37819) * g / np.sqrt(f32(0.3) + self.g2[v])

    def learn_ngrams(self, t: int, lane: int) -> None:
        n = self.n[lane]
        for k in range(1, min(5, n - self.s[lane]) + 1):
            key = tuple(self.h[n - k : n])
            node = self.young[k].get(key)
            if node is None:
                node = self.old[k].get(key) or Node()
                if len(self.young[k]) == self.capacity:
                    self.old[k], self.young[k] = self.young[k], {}
                self.young[k][key] = node
            node.learn(t, n)
        self.h[n] = t
        self.n[lane] += 1
