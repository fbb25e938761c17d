"""The learner: histories, matches, mixers and corrections joined to a probability for each bit of a text.

The reference of codecs/learner/learner.inl, equal bit for bit: what is done for each context is done for all
of them at once, the rest one by one.
"""

from __future__ import annotations

import numpy as np

from nacrith.learner.cursor import Cursor, Followers
from nacrith.learner.histories import Histories
from nacrith.learner.match import Match
from nacrith.learner.mixer import WEIGHT_ONE, Correction, Mixers
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

_RATE_END = 10  # of the mixers, in 1 / 1,024: the rate that is left when the text is long,
_RATE_START = 80  # and what is added at its start,
_RATE_HALF = 11  # half of which is gone after 2^11 bytes
_FINAL_RATE = 16  # of the mixers of the second layer
_FIRST_WEIGHT = 450  # of the stretched predictions of histories and matches, in 1 / 4,096
_LINEAR = 4  # a probability of 16 bits becomes an input of 12
_BIAS = 256  # the constant input
_HASH_BITS = 14  # of the contexts of corrections
_ORDER2_BITS = 18
_DIRECT_SHIFTS = (4, 6, 3, 5, 2, 4)  # fast and slow, of orders 0, 1 and 2


class Learner:
    """Predicts one text from its beginning on: `predict` and `learn` in turn, for each bit, highest first.

    bits: log2 of the bytes of histories.
    """

    def __init__(self, form: Form, bits: int) -> None:
        self._form = form
        n, sets = form.size, len(form.rows)
        self._cursor, self._followers = Cursor(), Followers()
        self._histories = Histories(bits)
        start = [ONE - 1 << 15] * 256
        for number, (zeros, ones, _) in enumerate(HISTORIES):
            start[number] = (ONE - 1) * (2 * ones + 1) // (2 * (zeros + ones + 1)) << 16
        self._maps = np.tile(
            np.array(start, np.int64), n
        )  # from a history to a probability, 256 of each context
        self._map_rows = np.arange(n, dtype=np.int64) * 256
        self._direct = [[HALF] * (2 << size) for size in (8, 16, _ORDER2_BITS)]
        self._matches = [Match(least) for least in form.least]
        first = [0] * form.inputs
        first[0 : 2 * n : 2] = [_FIRST_WEIGHT] * n
        first[2 * n + 6 : 2 * n + 6 + 2 * len(form.least) : 2] = [_FIRST_WEIGHT] * len(form.least)
        self._mixers = Mixers(form.rows, first)
        self._final = Mixers((256, 512), [WEIGHT_ONE // sets >> 16] * sets + [0] * (8 - sets))
        self._corrections = [Correction(n) for n in (512, 1 << _HASH_BITS, 1 << _HASH_BITS, 512)]
        self._inputs = np.zeros(form.inputs, np.int64)
        self._rest = self._inputs[2 * n : 2 * n + 6 + 2 * len(form.least) + 1]
        self._mixed = np.zeros(8, np.int64)
        self._numbers = np.arange(n, dtype=np.int64)
        self._partial, self._left = 1, 7  # bits so far under a leading 1; those after the next one
        # Of the present bit: node, histories, map entries and direct probabilities, by index and value.
        self._node = 0
        self._states = np.zeros(n, np.uint8)
        self._at = self._entries = self._map_rows
        self._pairs = [0, 0, 0]
        self._look_ahead()

    def predict(self) -> int:
        """The probability of a 1 as the next bit, 1..65535."""
        cursor, partial = self._cursor, self._partial
        s = Selectors(partial, 7 - self._left)
        self._predict_histories(s)
        rest = self._predict_direct()
        step = self._predict_matches(rest, s)
        rest.append(_BIAS)
        self._rest[:] = rest
        mixed = self._mixers.mix(self._inputs, self._form.sets(cursor, s))
        mixed.append(_BIAS)
        self._mixed[: len(mixed)] = mixed
        one, two = self._final.mix(self._mixed, (partial, (s.expected * 5 + s.match) * 8 + s.hits))
        joined = one + two >> 1
        contexts = (
            partial + 256 * (s.expected != 0),
            mix(cursor.last4 & 0xFF, partial) >> (32 - _HASH_BITS),
            mix(cursor.last4 & 0xFFFFFF, partial) >> (32 - _HASH_BITS),
            step * 8 + s.gone,
        )
        r0, r1, r2, r3 = [c.refine(joined, at) for c, at in zip(self._corrections, contexts, strict=True)]
        p = 2 * squash(joined) + r0 + 2 * r1 + 2 * r2 + r3 >> 3
        return min(max(p, 1), ONE - 1)

    def learn(self, bit: int) -> None:
        rate = _RATE_END + _RATE_START // (1 + (self._cursor.at >> _RATE_HALF))
        self._mixers.learn(self._inputs, bit, rate)
        self._final.learn(self._mixed, bit, _FINAL_RATE)
        for correction in self._corrections:
            correction.learn(bit)
        self._maps[self._at] = adapted(self._entries, bit, RATES_ARRAY)
        self._histories.learn(self._node, self._states, bit)
        aim = bit * (ONE - 1)
        for i, shift in enumerate(_DIRECT_SHIFTS):
            table, at = self._direct[i // 2], self._pairs[i // 2] + i % 2
            table[at] += (aim - table[at]) >> shift
        for match in self._matches:
            match.learn(bit)
        self._partial = self._partial << 1 | bit
        self._left -= 1
        if self._left == 3:
            self._take(self._partial)
        elif self._left < 0:
            self._end_byte(self._partial & 0xFF)

    def _predict_histories(self, s: Selectors) -> None:
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

    def _predict_direct(self) -> list[int]:
        last4, partial = self._cursor.last4, self._partial
        pair = mix(last4 & 0xFFFF, 0) + partial * GOLDEN & MASK
        self._pairs = [2 * partial, 2 * ((last4 & 0xFF) << 8 | partial), 2 * (pair >> (32 - _ORDER2_BITS))]
        found = []
        for table, at in zip(self._direct, self._pairs, strict=True):
            found += [STRETCH[table[at] >> 4], STRETCH[table[at + 1] >> 4]]
        return found

    def _predict_matches(self, inputs: list[int], s: Selectors) -> int:
        """Appends to inputs. The step of the longest match that expects a bit, counted from 1; 0: none."""
        step = 0
        for match in self._matches:
            p = HALF
            if match.predict(self._partial, self._left):
                p = match.trust() if match.bit else min(ONE - match.trust(), ONE - 1)
                step = max(step, match.step() + 1)
                s.expected = match.bit + 1
            inputs += [STRETCH[p >> 4], p - HALF >> _LINEAR]
        s.match = min(step // 8 + 1, 4) if step else 0
        return step

    def _end_byte(self, c: int) -> None:
        self._followers.push(self._cursor.last4, c)
        self._cursor.push(c)
        for match in self._matches:
            match.end(self._cursor.text)
        self._partial, self._left = 1, 7
        self._look_ahead()

    def _look_ahead(self) -> None:
        """Before a byte: hashes of all contexts, and what the matches expect."""
        contexts = self._form.contexts(self._cursor, self._followers)
        a = np.array([a & MASK for a, _ in contexts], np.int64)
        b = np.array([b & MASK for _, b in contexts], np.int64)
        n = self._numbers
        self._hashes: I64 = mix(a + n * GOLDEN & MASK, b ^ n << 24)
        self._histories.take(self._hashes.tolist())
        for match in self._matches:
            match.begin(self._cursor.text)

    def _take(self, half: int) -> None:
        """Takes the buckets of the second half of a byte. half: the first under a leading 1."""
        h = self._hashes * 0x2F0B4C47 + half * 0x6F4F2A35 & MASK
        self._histories.take((h ^ h >> 15).tolist())
