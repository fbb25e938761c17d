"""The shapes for samples of the second decoder of the learner, `learner_plain`, which see.

Made from formats/learner-v1.md, section 10, and nothing else. Each has `contexts`, called once before each
byte, then for each bit `cells` and `rows`.
"""

from __future__ import annotations

from learner_plain_parts import GOLD, START, WORD, Cursor, mix


class Bitmap:
    CELLS = 14

    def __init__(self, cursor: Cursor, layout: tuple[int, int]) -> None:
        self.cursor, self.row = cursor, layout[1]

    def byte(self, back: int) -> int:
        at = self.cursor.at - back
        return self.cursor.text[at] if START <= at < self.cursor.at else 0

    def contexts(self) -> list[tuple[int, int]]:
        self.u = [0]
        for k in (1, 2, 3, 4):
            five = bytes(self.byte(k * self.row + i) for i in (3, 2, 1, 0, -1))
            self.u.append(int.from_bytes(five, "big"))
        self.above = [u >> 8 & 255 for u in self.u]
        c1, c4, w, (_, a1, a2, a3, _) = self.cursor.c1, self.cursor.c4, self.u[1] & 0xFFFFFF, self.above
        whole = a1 | a2 << 8 | a3 << 16
        return [(0, 0), (c1, 0), (c4 & 65535, 0), (a1, c1), (a1, a2), (w, 1), (w, c1), (whole, c1)]

    def cells(self, partial: int, gone: int) -> list[int]:
        c = ((self.cursor.c4 << gone) + partial - 2**gone) & WORD

        def v(k: int, r: int, n: int) -> int:
            return (self.u[k] >> 7 - gone >> 8 - r) % 2**n

        self.near = c & 3 | v(1, 1, 3) << 2 | v(2, 1, 3) << 5
        self.wider = c & 7 | v(1, 2, 5) << 3 | v(2, 1, 3) << 8
        pairs = [
            (self.near, gone),
            (c & 15 | v(1, 2, 5) << 4, v(2, 1, 3)),
            (c & 15 | v(1, 3, 7) << 4, v(2, 2, 5)),
            (c & 63 | v(1, 4, 9) << 6, v(2, 3, 7) | v(3, 1, 3) << 8),
            (c & 255 | v(1, 5, 11) << 8, v(2, 4, 9) | v(3, 3, 7) << 9),
            (c & 1 | v(1, 1, 3) << 1 | v(2, 1, 3) << 4, v(3, 1, 3) | v(4, 1, 3) << 3),
            (c & 0xFFFF, v(1, 1, 3)),
            (c & 7, v(1, 8, 16)),
            (c & 0xFFF, v(1, 6, 12)),
            (c & 3 | v(1, 6, 12) << 2, v(2, 6, 12)),
            (c & 0x7FFFFFFF, 0),
            (c & 3 | v(1, 2, 5) << 2, v(2, 2, 5) | v(3, 2, 5) << 5 | v(4, 2, 5) << 10),
            (c & 15 | v(1, 3, 6) << 4, v(2, 0, 1) | v(3, 0, 1) << 1 | gone << 2),
            (c & 255 | v(1, 8, 20) << 8, v(2, 8, 16) | v(3, 6, 12) << 16),
        ]
        return [mix((a + n * GOLD) & WORD, b) >> 14 for n, (a, b) in enumerate(pairs)]

    def rows(self, data: list[int], gone: int, expected: int) -> list[int]:
        return [data[0], self.near, self.wider, 8 * self.above[1] + gone, data[3], 8 * self.cursor.c1 + gone]


def scale(m: int, q: int) -> int:
    if m < 2**q:
        return m
    e = m.bit_length() - 1
    return ((e - q + 1) << q) + (m >> (e - q)) % 2**q


def within(x: int) -> int:
    return max(-(2**20), min(2**20, x))


class Linear:
    def __init__(self, q: int) -> None:
        self.q, self.weights, self.x, self.z = q, [0] * 16, [0] * 16, 0

    def predict(self, x: list[int]) -> int:
        self.x = x
        self.norm = (1 + sum(v**2 for v in x)).bit_length() - 1
        self.z = within(sum(a * b for a, b in zip(self.weights, x, strict=True)) >> 16)
        return self.z

    def learn(self, e: int) -> None:
        moves = [(2**16 * e * v) >> (self.norm + self.q) for v in self.x]
        self.weights = [within(a + b) for a, b in zip(self.weights, moves, strict=True)]


class Grid:
    CELLS = 16

    def __init__(self, cursor: Cursor, layout: tuple[int, int], size: int) -> None:
        self.cursor, (self.d, self.r), self.g_bytes = cursor, layout, size
        self.f_bits = 3 if size == 1 else 0
        self.most = 2 ** (8 * size + self.f_bits) - 1
        self.linear = [Linear(8), Linear(5)]
        self.errors = [0] * 256
        self.guesses: list[int] = []
        self.base = self.channel = 0

    def s(self, back: int) -> int:
        at = self.cursor.at - back
        found = self.cursor.text[at : at + self.g_bytes] if at >= START else b""
        return int.from_bytes(found, "big") << self.f_bits

    def finish(self) -> None:
        last = self.s(self.g_bytes)
        for predictor in self.linear:
            predictor.learn(last - self.base - predictor.z)
        distance = abs(last - self.guesses[11])
        self.errors[self.channel] += (16 * distance - self.errors[self.channel]) >> 3

    def start(self) -> None:
        if self.cursor.at > START:
            self.finish()
        s, d, r, g = self.s, self.d, self.r, self.g_bytes
        self.channel = (self.cursor.at - START) % d // g
        w = [s(i * d) if i else 0 for i in range(11)]
        o = [s(g + i * d) for i in range(6)]
        west = self.base = w[1]
        if r:
            n, nw, ne, nn, nne, on = s(r), s(r + d), s(r - d), s(2 * r), s(2 * r - d), s(r + g)
            less, more = sorted((west, n))
            middle = less if nw >= more else more if nw <= less else west + n - nw
            self.guesses = [
                west, n, west + n - nw, middle, n + ne - nne, 2 * west - w[2], 2 * n - nn, (west + ne) >> 1,
                west + o[0] - o[1], n + o[0] - on, west + ne - n,
            ]  # fmt: skip
            taps = [n, nw, ne, nn, w[2], o[0], o[1], on, nne, s(r - 2 * d), s(r + 2 * d), w[3], o[2]]
            taps += [s(2 * r + d), s(2 * g), s(r + 2 * g)]
            rough = abs(west - w[2]) + abs(n - nw) + abs(ne - n) + abs(west - nw) + abs(n - nn)
        else:
            self.guesses = [
                west, 2 * west - w[2], 3 * (west - w[2]) + w[3], 4 * (west + w[3]) - 6 * w[2] - w[4],
                west + o[0] - o[1], 2 * west - w[2] + o[0] - 2 * o[1] + o[2], o[0], (west + w[2]) >> 1,
                w[2], w[4], 2 * west - w[3],
            ]  # fmt: skip
            taps = [*w[2:], *o, (self.most + 1) // 2]
            rough = sum(abs(w[i] - 2 * w[i + 1] + w[i + 2]) for i in (1, 2, 3, 4))
        self.level = min(scale((rough >> self.f_bits) // 4, 1), 15)
        x = [tap - west for tap in taps]
        self.guesses += [west + predictor.predict(x) for predictor in self.linear]
        self.guesses = [min(max(guess, 0), self.most) for guess in self.guesses]
        self.missed = min(scale(self.errors[self.channel] >> (self.f_bits + 2), 1), 15)

    def contexts(self) -> list[tuple[int, int]]:
        c = self.cursor
        self.phase = (c.at - START) % self.g_bytes
        if self.phase == 0:
            self.start()
        self.prefix = c.c1 if self.phase else 0
        head = self.prefix << 8 | 0x10000 if self.phase else 0
        h = 0 if self.g_bytes == 1 else 4

        def p(i: int, shift: int) -> int:
            return self.guesses[i] >> (self.f_bits + shift)

        return [
            (head, self.channel), (c.c1, head), (c.c4 & 0xFFFF, self.phase), (c.c4, self.phase),
            (p(0, 0), head), (p(1, 0), head), (p(0, h), p(1, h) | head << 8),
            (p(2, h), self.level | head << 8),
            (p(2, h), p(3, h + 2) | head << 8), (p(8, h), head), (p(11, h), head),
            (p(11, h), p(4, h + 2) | head << 8),
        ]  # fmt: skip

    def cells(self, partial: int, gone: int) -> list[int]:
        t = self.t = 8 * (self.g_bytes - 1 - self.phase) + 7 - gone
        known = (self.prefix << gone) + partial - 2**gone
        middle = ((2 * known + 1) << t) << self.f_bits
        away = [2 * (guess - middle) + 2**self.f_bits for guess in self.guesses]
        f = self.f = [2 * scale(abs(d), 2) + (d < 0) for d in away]
        found = [160 * (16 * t + (self.missed if i % 2 else self.level)) + f[i] for i in range(13)]
        return found + [t << 12 | f[a] // 4 << 6 | f[b] // 4 for a, b in ((11, 2), (11, 8), (10, 0))]

    def rows(self, data: list[int], gone: int, expected: int) -> list[int]:
        return [
            data[0], 16 * self.t + self.level, 16 * self.t + self.missed,
            6 * self.f[11] + 2 * expected + self.phase, 8 * self.cursor.c1 + gone,
            8 * min(self.channel, 7) + gone,
        ]  # fmt: skip
