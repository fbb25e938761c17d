"""Shapes for samples on a grid: sound, pictures of 8 and 16 bits a sample, and pictures of 1 bit.

Where samples lie is given, as a Layout. What is like them predicts a number; a *cell* tells, for each bit of
a sample, how far that prediction lies from the number at which the bit changes, so that all that is learnt of
differences holds wherever the samples lie.
codecs/learner/grid.hpp.
"""

from __future__ import annotations

from nacrith.learner.codec import Layout, Shape
from nacrith.learner.cursor import Cursor, Followers
from nacrith.learner.match import MARGIN
from nacrith.learner.shapes import FORMS, Contexts, Form, Selectors, of_hits, of_match
from nacrith.learner.tables import GOLDEN, MASK, mix

_SLOW, _FAST, _NEAR = 11, 12, 13  # of the guesses: the two linear ones, and how many there are
_TAPS = 16
_CELL_BITS, _PIXEL_BITS = 16, 18


def form(shape: Shape, layout: Layout) -> Form:
    """A new form of a shape, which may serve one text."""
    if shape < Shape.BITMAP:
        return FORMS[shape]
    if shape == Shape.BITMAP:
        bitmap, rows = Bitmap(layout), (1024, 256, 2048, 2048, 576, 2048)
        return Form(
            bitmap.contexts,
            bitmap.sets,
            8,
            1,
            (6, 20),
            rows,
            bitmap.cells,
            cell_count=14,
            cell_bits=_PIXEL_BITS,
        )
    grid, rows = Grid(layout, 1 if shape == Shape.BYTES else 2), (1024, 256, 256, 1024, 2048, 64)
    return Form(
        grid.contexts, grid.sets, 12, 1, (6, 16), rows, grid.cells, cell_count=16, cell_bits=_CELL_BITS
    )


def scale(m: int, part: int) -> int:
    """A size on a logarithmic scale with 2^part steps to the octave."""
    if m < 1 << part:
        return m
    e = m.bit_length() - 1
    return (e - part + 1 << part) + (m >> e - part & (1 << part) - 1)


class Linear:
    """A linear prediction whose weights follow the error (normalised LMS; the norm is a power of 2).

    rate: log2 of what a step is divided by, beside the norm.
    """

    _MOST = 1 << 20

    def __init__(self, rate: int) -> None:
        self._rate, self._norm = rate, 0
        self._x, self._weights = [0] * _TAPS, [0] * _TAPS

    def predict(self, x: list[int]) -> int:
        """In units of the numbers x."""
        self._x = x
        self._norm = (1 + sum(v * v for v in x)).bit_length() - 1
        return self._limited(sum(w * v for w, v in zip(self._weights, x, strict=True)) >> 16)

    def learn(self, error: int) -> None:
        shift = self._norm + self._rate
        steps = [(error * v << 16) >> shift for v in self._x]
        self._weights = [self._limited(w + s) for w, s in zip(self._weights, steps, strict=True)]

    def _limited(self, x: int) -> int:
        return min(max(x, -self._MOST), self._MOST)


class Grid:
    """Samples of 1 or 2 bytes, the high one first."""

    def __init__(self, layout: Layout, size: int) -> None:
        self._step, self._row = layout
        self._size = size
        self._fine = 3 if size == 1 else 0  # bits behind the point
        self._most = (1 << 8 * size << self._fine) - 1
        self._slow, self._fast = Linear(8), Linear(5)
        self._near = [0] * _NEAR  # guesses
        self._base = self._slow_out = self._fast_out = 0
        self._errors = [
            0
        ] * self._step  # of each channel: the mean of 16 times the distance of the slow guess
        self._far = [0] * _NEAR  # their distances from where the present bit changes, and sides
        self._phase = self._prefix = self._channel = self._level = self._missed = self._bit = 0

    def contexts(self, c: Cursor, _: Followers) -> Contexts:
        self._phase = (c.at - MARGIN) % self._size
        if self._phase == 0:
            self._begin(c)
        self._prefix = c.last4 & 0xFF if self._phase else 0
        head = self._prefix << 8 | 0x10000 if self._phase else 0
        near = [guess >> self._fine for guess in self._near]
        cut = 0 if self._size == 1 else 4
        return [
            (head, self._channel),
            (c.last4 & 0xFF, head),
            (c.last4 & 0xFFFF, self._phase),
            (c.last4, self._phase),
            (near[0], head),
            (near[1], head),
            (near[0] >> cut, near[1] >> cut | head << 8),
            (near[2] >> cut, self._level | head << 8),
            (near[2] >> cut, near[3] >> cut + 2 | head << 8),
            (near[8] >> cut, head),
            (near[_SLOW] >> cut, head),
            (near[_SLOW] >> cut, near[4] >> cut + 2 | head << 8),
        ]

    def cells(self, s: Selectors) -> list[int]:
        """Where the tables of cells are looked up for the next bit."""
        bit = self._bit = 8 * (self._size - 1 - self._phase) + 7 - s.gone
        known = self._prefix << s.gone | s.partial - (1 << s.gone)
        middle = 2 * known + 1 << bit << self._fine
        distances = [2 * (guess - middle) + (1 << self._fine) for guess in self._near]
        far = self._far = [scale(abs(d), 2) * 2 + (d < 0) for d in distances]
        found = [(bit * 16 + (self._missed if i & 1 else self._level)) * 160 + f for i, f in enumerate(far)]
        pairs = ((_SLOW, 2), (_SLOW, 8), (10, 0))
        return found + [bit << 12 | far[a] // 4 << 6 | far[b] // 4 for a, b in pairs]

    def sets(self, c: Cursor, s: Selectors) -> list[int]:
        return [
            of_match(s),
            self._bit * 16 + self._level,
            self._bit * 16 + self._missed,
            self._far[_SLOW] * 6 + s.expected * 2 + self._phase,
            (c.last4 & 0xFF) * 8 + s.gone,
            min(self._channel, 7) * 8 + s.gone,
        ]

    def _sample(self, c: Cursor, back: int) -> int:
        """The sample that begins `back` bytes before the present one; 0 before the first."""
        at = c.at - back
        if at < MARGIN:
            return 0
        return int.from_bytes(c.text[at : at + self._size], "big") << self._fine

    def _begin(self, c: Cursor) -> None:
        """Learns the sample that has ended, and predicts the one that begins."""
        if c.at > MARGIN:
            last = self._sample(c, self._size)
            self._slow.learn(last - self._base - self._slow_out)
            self._fast.learn(last - self._base - self._fast_out)
            error = self._errors[self._channel]
            self._errors[self._channel] += abs(last - self._near[_SLOW]) * 16 - error >> 3
        self._channel = (c.at - MARGIN) % self._step // self._size
        w = [0, *(self._sample(c, i * self._step) for i in range(1, 11))]  # of this channel
        o = [self._sample(c, self._size + i * self._step) for i in range(6)]  # of the one before
        base = self._base = w[1]
        guesses, taps, rough = self._in_plane(c, w, o) if self._row else self._in_line(w, o)
        self._level = min(scale((rough >> self._fine) // 4, 1), 15)
        x = [tap - base for tap in taps]
        self._slow_out, self._fast_out = self._slow.predict(x), self._fast.predict(x)
        guesses += [base + self._slow_out, base + self._fast_out]
        self._near = [min(max(guess, 0), self._most) for guess in guesses]
        self._missed = min(scale(self._errors[self._channel] >> self._fine + 2, 1), 15)

    def _in_plane(self, c: Cursor, w: list[int], o: list[int]) -> tuple[list[int], list[int], int]:
        """Guesses from the samples around, of rows above too; taps; and how rough it is there."""
        step, row, size = self._step, self._row, self._size
        n, nw, ne = (self._sample(c, back) for back in (row, row + step, row - step))
        nn, nne, on = (self._sample(c, back) for back in (2 * row, 2 * row - step, row + size))
        low, high, plane = min(w[1], n), max(w[1], n), w[1] + n - nw
        guesses = [w[1], n, plane, low if nw >= high else high if nw <= low else plane, n + ne - nne]
        guesses += [2 * w[1] - w[2], 2 * n - nn, w[1] + ne >> 1]
        guesses += [w[1] + o[0] - o[1], n + o[0] - on, w[1] + ne - n]
        taps = [n, nw, ne, nn, w[2], o[0], o[1], on, nne, self._sample(c, row - 2 * step)]
        taps += [self._sample(c, row + 2 * step), w[3], o[2], self._sample(c, 2 * row + step)]
        taps += [self._sample(c, 2 * size), self._sample(c, row + 2 * size)]
        rough = abs(w[1] - w[2]) + abs(n - nw) + abs(ne - n) + abs(w[1] - nw) + abs(n - nn)
        return guesses, taps, rough

    def _in_line(self, w: list[int], o: list[int]) -> tuple[list[int], list[int], int]:
        guesses = [w[1], 2 * w[1] - w[2], 3 * (w[1] - w[2]) + w[3], 4 * (w[1] + w[3]) - 6 * w[2] - w[4]]
        guesses += [w[1] + o[0] - o[1], 2 * w[1] - w[2] + o[0] - 2 * o[1] + o[2], o[0], w[1] + w[2] >> 1]
        guesses += [w[2], w[4], 2 * w[1] - w[3]]
        rough = sum(abs(w[i] - 2 * w[i + 1] + w[i + 2]) for i in range(1, 5))
        return guesses, [*w[2:], *o, (self._most + 1) // 2], rough


class Bitmap:
    """One bit a pixel, the leftmost highest, rows of whole bytes."""

    _ABOVE = 4

    def __init__(self, layout: Layout) -> None:
        self._row = layout.row
        self._wide = [0] * self._ABOVE  # of each row above five bytes, of which the fourth is straight above
        self._last = self._near = self._wider = 0

    def contexts(self, c: Cursor, _: Followers) -> Contexts:
        self._wide = []
        for k in range(1, self._ABOVE + 1):
            places = range(c.at - k * self._row - 3, c.at - k * self._row + 2)
            known = bytes(c.text[at] if MARGIN <= at < c.at else 0 for at in places)
            self._wide.append(int.from_bytes(known, "big"))
        self._last = c.last4
        one, two, three = (wide >> 8 & 0xFF for wide in self._wide[:3])
        c1, around = c.last4 & 0xFF, self._wide[0] & 0xFFFFFF
        return [
            (0, 0),
            (c1, 0),
            (c.last4 & 0xFFFF, 0),
            (one, c1),
            (one, two),
            (around, 1),
            (around, c1),
            (one | two << 8 | three << 16, c1),
        ]

    def cells(self, s: Selectors) -> list[int]:
        """Where the tables of cells are looked up for the next bit: pixels to the left and above."""
        c = self._last << s.gone | s.partial - (1 << s.gone)  # the newest pixel lowest
        rows = [wide >> 7 - s.gone for wide in self._wide]

        def of(k: int, right: int, count: int) -> int:
            """`count` pixels of the row k + 1 above, the last of them `right` to the right."""
            return rows[k] >> 8 - right & (1 << count) - 1

        near = self._near = c & 3 | of(0, 1, 3) << 2 | of(1, 1, 3) << 5
        self._wider = c & 7 | of(0, 2, 5) << 3 | of(1, 1, 3) << 8
        contexts = [
            (near, s.gone),
            (c & 15 | of(0, 2, 5) << 4, of(1, 1, 3)),
            (c & 15 | of(0, 3, 7) << 4, of(1, 2, 5)),
            (c & 63 | of(0, 4, 9) << 6, of(1, 3, 7) | of(2, 1, 3) << 8),
            (c & 255 | of(0, 5, 11) << 8, of(1, 4, 9) | of(2, 3, 7) << 9),
            (c & 1 | of(0, 1, 3) << 1 | of(1, 1, 3) << 4, of(2, 1, 3) | of(3, 1, 3) << 3),
            (c & 0xFFFF, of(0, 1, 3)),
            (c & 7, of(0, 8, 16)),
            (c & 0xFFF, of(0, 6, 12)),
            (c & 3 | of(0, 6, 12) << 2, of(1, 6, 12)),
            (c & 0x7FFFFFFF, 0),
            (c & 3 | of(0, 2, 5) << 2, of(1, 2, 5) | of(2, 2, 5) << 5 | of(3, 2, 5) << 10),
            (c & 15 | of(0, 3, 6) << 4, of(1, 0, 1) | of(2, 0, 1) << 1 | s.gone << 2),
            (c & 255 | of(0, 8, 20) << 8, of(1, 8, 16) | of(2, 6, 12) << 16),
        ]
        return [mix(a + n * GOLDEN & MASK, b) >> 32 - _PIXEL_BITS for n, (a, b) in enumerate(contexts)]

    def sets(self, c: Cursor, s: Selectors) -> list[int]:
        return [
            of_match(s),
            self._near,
            self._wider,
            (self._wide[0] >> 8 & 0xFF) * 8 + s.gone,
            of_hits(s),
            (c.last4 & 0xFF) * 8 + s.gone,
        ]
