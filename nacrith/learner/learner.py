"""The learner: histories, matches, mixers and corrections joined to a probability for each bit of a text.

It serves several texts at once, the lanes: all it learns is shared, and each lane has its cursor and its
pointers of matches. The reference of codecs/learner/learner.inl, equal bit for bit: what is done for each
context is done for all of them at once, the rest one by one.
"""

from __future__ import annotations

import numpy as np

from nacrith.learner.cursor import Cursor, Followers
from nacrith.learner.histories import Histories
from nacrith.learner.match import MARGIN, Match, Pointer
from nacrith.learner.mixer import WEIGHT_ONE, Correction, Gate, Mixers
from nacrith.learner.shapes import Form, Selectors
from nacrith.learner.tables import (
    GOLDEN,
    HALF,
    HISTORIES,
    I64,
    MASK,
    ONE,
    RATES_ARRAY,
    STRETCH,
    STRETCH_ARRAY,
    adapted,
    mix,
    squash,
)

_RATE_HALF = 11  # half of what is added to the mixers' rate is gone after 2^11 bytes
_LINEAR = 4  # a probability of 16 bits becomes an input of 12
_BIAS = 256  # the constant input
_HASH_BITS = 14  # of the contexts of corrections
_PAIR_BITS = 14  # of the half bytes after two bytes, with 16 places for nodes each
_TOKEN_BEGINS = 0x5BD1E995  # makes all contexts others
_DIRECT_SHIFTS = (4, 6, 3, 5, 2, 4)  # fast and slow, of orders 0, 1 and 2


class Learner:
    """Predicts texts from their beginning on. `begin` chooses the lane whose bytes follow; each of their
    bits, highest first, takes a call of `predict` or `skip`, then one of `learn` or `record`.

    bits: log2 of the bytes of histories.
    """

    def __init__(self, form: Form, bits: int, lanes: int = 1) -> None:
        self._form = form
        n, sets = form.size, len(form.rows)
        self._cursors, self._followers = [Cursor() for _ in range(lanes)], Followers()
        self._texts = [cursor.text for cursor in self._cursors]
        self._all_pointers = [[Pointer() for _ in form.least] for _ in range(lanes)]
        self._histories = Histories(bits)
        start = [ONE - 1 << 15] * 256
        for number, (zeros, ones, _) in enumerate(HISTORIES):
            start[number] = (ONE - 1) * (2 * ones + 1) // (2 * (zeros + ones + 1)) << 16
        self._maps = np.tile(
            np.array(start, np.int64), n
        )  # from a history to a probability, 256 of each context
        self._map_rows = np.arange(n, dtype=np.int64) * 256
        self._direct = [[HALF] * (2 << size) for size in (8, 16, _PAIR_BITS + 4)][: form.direct // 2]
        self._cell_rows = np.arange(form.cell_count, dtype=np.int64) << form.cell_bits
        self._cells = np.full(form.cell_count << form.cell_bits, HALF << 16, np.int64)
        self._cells_at = self._cell_rows
        self._matches = [Match(least) for least in form.least]
        self._mixers = Mixers(form.rows, _first_weights(form))
        share = WEIGHT_ONE // sets >> 16
        self._final = Mixers((256, 512), [share] * sets + [0] * (form.mixed - sets))
        sizes = [512, 1 << _HASH_BITS, 1 << _HASH_BITS, 512]
        self._used = slice(1, 2) if form.light else slice(4)  # of the corrections
        self._corrections = [Correction(n) for n in sizes[self._used]]
        self._gate = Gate()
        self._inputs = np.zeros(form.inputs, np.int64)
        self._mixed = np.zeros(form.mixed, np.int64)
        self._numbers = np.arange(n, dtype=np.int64)
        self.taught = MARGIN
        """Bytes of all lanes so far, and a margin."""
        self._partial, self._left = 1, 7  # bits so far under a leading 1; those after the next one
        # Of the present bit: node, histories, map entries and direct probabilities, by index and value.
        self._node = 0
        self._states = np.zeros(n, np.uint8)
        self._at = self._entries = self._map_rows
        self._pairs = [0, 0, 0]
        self._hashes: I64 = self._numbers  # of the byte's contexts
        self.begin(0)

    def begin(self, lane: int) -> None:
        """The following bytes are the next ones of this lane. Beside a model a token begins with the first
        of them."""
        self._lane = lane
        self._token = 0 if self._form.model is None else _TOKEN_BEGINS
        self.cursor, self.pointers = self._cursors[lane], self._all_pointers[lane]

    def predict(self, model: int = 0) -> int:
        """The probability of a 1 as the next bit, 1..65535. model: the stretch of a language model's."""
        cursor, partial = self.cursor, self._partial
        s = Selectors(partial, 7 - self._left, model=model)
        step = self._consider(s)
        models = [] if self._form.model is None else [model, squash(model) - HALF >> _LINEAR]
        end = self._form.constant
        self._inputs[end : end + 1 + len(models)] = [_BIAS, *models]
        joined = self._join(self._mixers.mix(self._inputs, self._form.sets(cursor, s)), models[:1], s)
        contexts = [
            partial + 256 * (s.expected != 0),
            mix(cursor.last4 & (0xFFFF if self._form.light else 0xFF), partial) >> (32 - _HASH_BITS),
            mix(cursor.last4 & 0xFFFFFF, partial) >> (32 - _HASH_BITS),
            step * 8 + s.gone,
        ]
        refined = [
            c.refine(joined, at) for c, at in zip(self._corrections, contexts[self._used], strict=True)
        ]
        if self._form.light:
            p = squash(joined) + refined[0] >> 1
        else:
            r0, r1, r2, r3 = refined
            p = 2 * squash(joined) + r0 + 2 * r1 + 2 * r2 + r3 >> 3
        p = min(max(p, 1), ONE - 1)
        return self._gate.join(p, squash(model)) if models else p

    def _join(self, mixed: list[int], model: list[int], s: Selectors) -> int:
        """What the second layer makes of the first one's outputs, or where there is none their mean."""
        if self._form.light:
            one, two = mixed
        else:
            inputs = [*mixed, _BIAS, *model]
            self._mixed[: len(inputs)] = inputs
            one, two = self._final.mix(self._mixed, (s.partial, (s.expected * 5 + s.match) * 8 + s.hits))
        return one + two >> 1

    def skip(self) -> None:
        """Before a bit that is certain, and not predicted."""
        self._consider(Selectors(self._partial, 7 - self._left))

    def learn(self, bit: int) -> None:
        """Learns a bit that was predicted."""
        form = self._form
        self._mixers.learn(
            self._inputs, bit, form.rate_end + form.rate_start // (1 + (self.taught >> _RATE_HALF))
        )
        if not form.light:
            self._final.learn(self._mixed, bit, form.final_rate)
        for correction in self._corrections:
            correction.learn(bit)
        if form.model is not None:
            self._gate.learn(bit)
        self.record(bit)

    def record(self, bit: int) -> None:
        """Learns a bit that was certain: what it says of the text, not of the predictions."""
        self._maps[self._at] = adapted(self._entries, bit, RATES_ARRAY)
        self._histories.learn(self._node, self._states, bit)
        if self._form.cell_count:
            self._cells[self._cells_at] = adapted(self._cells.take(self._cells_at), bit, RATES_ARRAY)
        aim = bit * (ONE - 1)
        for i, shift in enumerate(_DIRECT_SHIFTS[: self._form.direct]):
            table, at = self._direct[i // 2], self._pairs[i // 2] + i % 2
            table[at] += (aim - table[at]) >> shift
        for match, pointer in zip(self._matches, self.pointers, strict=True):
            match.learn(pointer, bit)
        self._partial = self._partial << 1 | bit
        self._left -= 1
        if self._left < 0:
            self._end_byte(self._partial & 0xFF)

    def _consider(self, s: Selectors) -> int:
        """What histories, direct probabilities and matches say of the next bit, as inputs and selectors. The
        step of the longest match that expects a bit, counted from 1; 0: none."""
        if self._left == 7:
            self._begin_byte()
        elif self._left == 3:
            h = self._hashes * 0x2F0B4C47 + self._partial * 0x6F4F2A35 & MASK
            self._histories.take((h ^ h >> 15).tolist())
        self._consider_histories(s)
        inputs = self._consider_direct()
        step = self._consider_matches(inputs, s)
        self._consider_cells(inputs, s)
        start = 2 * self._form.size
        self._inputs[start : start + len(inputs)] = inputs
        return step

    def _begin_byte(self) -> None:
        """What the matches expect, hashes of all contexts, and buckets of the first half."""
        for pointer in self.pointers:
            pointer.begin(self._texts)
        foreseen = [pointer.expected for pointer in self.pointers if pointer.expected] or [0]
        self.cursor.foreseen_short, self.cursor.foreseen = foreseen[0], foreseen[-1]
        contexts = self._form.contexts(self.cursor, self._followers)
        a = np.array([a & MASK for a, _ in contexts], np.int64)
        b = np.array([b & MASK for _, b in contexts], np.int64)
        n = self._numbers
        self._hashes = mix(a + n * GOLDEN & MASK, b ^ n << 24 ^ self._token)
        self._histories.take(self._hashes.tolist())

    def _consider_histories(self, s: Selectors) -> None:
        low = s.gone & 3  # bits of the half byte that are known
        self._node = (s.partial & (1 << low) - 1) + (1 << low) - 1
        self._states = self._histories.states(self._node)
        self._at = self._map_rows + self._states
        self._entries = self._maps.take(self._at)
        p = self._entries >> 16
        seen = self._states > 0
        end = 2 * self._form.size
        np.multiply(STRETCH_ARRAY.take(p >> 4), seen, out=self._inputs[0:end:2])
        np.multiply(p - HALF >> _LINEAR, seen, out=self._inputs[1:end:2])
        s.hits = int(np.count_nonzero(seen[self._form.first_hit : self._form.first_hit + 6]))

    def _consider_direct(self) -> list[int]:
        last4, partial = self.cursor.last4, self._partial
        half = 0 if self._left > 3 else partial >> (3 - self._left)
        pair = mix(last4 & 0xFFFF, half) >> (32 - _PAIR_BITS)
        self._pairs = [2 * partial, 2 * ((last4 & 0xFF) << 8 | partial), 2 * (pair << 4 | self._node)]
        found = []
        for table, at in zip(self._direct, self._pairs, strict=False):  # light forms have no third table
            found += [STRETCH[table[at] >> 4], STRETCH[table[at + 1] >> 4]]
        return found

    def _consider_matches(self, inputs: list[int], s: Selectors) -> int:
        """Appends to inputs."""
        step = 0
        for match, pointer in zip(self._matches, self.pointers, strict=True):
            p = HALF
            if match.predict(pointer, self._partial, self._left):
                p = match.trust(pointer)
                p = p if pointer.bit else min(ONE - p, ONE - 1)
                step = max(step, pointer.step() + 1)
                s.expected = pointer.bit + 1
            inputs += [STRETCH[p >> 4], p - HALF >> _LINEAR]
        s.match = min(step // 8 + 1, 4) if step else 0
        return step

    def _consider_cells(self, inputs: list[int], s: Selectors) -> None:
        """Appends to inputs."""
        if self._form.cells is None:
            return
        self._cells_at = np.array(self._form.cells(s), np.int64) + self._cell_rows
        for p in (self._cells.take(self._cells_at) >> 16).tolist():
            inputs += [STRETCH[p >> 4], p - HALF >> _LINEAR]

    def _end_byte(self, c: int) -> None:
        self._followers.push(self.cursor.last4, c)
        self.cursor.push(c)
        if self._form.model is not None:
            self.cursor.parts.push(self.cursor.text)
        self._token = 0
        self.taught += 1
        for match, pointer in zip(self._matches, self.pointers, strict=True):
            match.end(pointer, self._texts, self._lane)
        self._partial, self._left = 1, 7


def _first_weights(form: Form) -> list[int]:
    """Of every row of the first layer."""
    n = form.size
    weights = [0] * form.inputs
    weights[0 : 2 * n : 2] = [form.first] * n
    weights[2 * n + form.direct : form.constant : 2] = [form.first] * (len(form.least) + form.cell_count)
    if form.model is not None:
        weights[form.constant + 1] = form.model
    return weights
