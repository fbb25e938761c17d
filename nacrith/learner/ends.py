"""Whether a token goes on: the decisions of a tokenised text that are no bits of its bytes.

A tokenizer cuts equal bytes equally, so what the text has shown of its cuts says where the next one is:
after the token so far and the one before it, after bytes and words, in fields, columns and below the line
before, and where the tokens ended that a match follows.
The reference of codecs/learner/ends.hpp.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nacrith.learner.cursor import Cursor
from nacrith.learner.match import STEPS, Pointer
from nacrith.learner.mixer import Gate, Mixers
from nacrith.learner.shapes import MODEL_STEPS, model_step
from nacrith.learner.tables import GOLDEN, HALF, MASK, ONE, RATES, STRETCH, adapted, mix, squash

_CONTEXTS, _MATCHES, _INPUTS = 10, 3, 16
_BITS = 16  # log2 of the entries of a context
_RATE_END, _RATE_START, _RATE_HALF = 14, 120, 11  # as those of the learner's mixers
_FIRST, _FIRST_MODEL = 300, 2000  # weights of contexts and matches, and of the model, in 1 / 4,096
_MOST = 127  # uses after which an entry's rate falls no more
_BIAS = 256  # the constant input


class Ends:
    """`predict` and `learn` in turn, for the decisions of all lanes."""

    def __init__(self) -> None:
        self._seen = [[HALF << 16] * (1 << _BITS) for _ in range(_CONTEXTS)]
        self._trust = [[3 << 30] * STEPS for _ in range(_MATCHES)]  # that a match's cut is the text's
        first = [_FIRST] * (_CONTEXTS + _MATCHES) + [_FIRST_MODEL]
        self._mixers = Mixers((MODEL_STEPS * 3, 256), first + [0] * (_INPUTS - len(first)))
        self._gate = Gate()
        self._inputs = np.zeros(_INPUTS, np.int64)
        # Of the present decision: entries of `seen`; of `trust`, with what each match says.
        self._entries: list[int] = []
        self._steps: list[int] = []
        self._ended: Sequence[int | None] = []

    def predict(
        self,
        cursor: Cursor,
        token: int,
        before: int,
        model: int,
        pointers: Sequence[Pointer],
        ended: Sequence[int | None],
    ) -> int:
        """The probability that the token goes on, 1..65535.

        token: hash of its bytes so far; before: of the token before it. model: the stretch of the model's
        probability. ended: of each pointer, whether a token ended in front of the byte that it expects (1 or
        0); None if it follows nothing.
        """
        c4, parts = cursor.last4, cursor.parts
        hashes = (
            token,
            mix(token, before),
            mix(token, c4 & 0xFFFF),
            mix(c4, 1),
            mix(c4, cursor.older & 0xFFFF),
            mix(cursor.word, cursor.word1),
            mix(cursor.classes & 0xFFFF, 3),
            mix(cursor.field | parts.above << 8, token),
            mix(mix(parts.above | parts.next << 8, c4 & 0xFF), 5),
            mix(cursor.column, token),
        )
        self._entries = [(h * GOLDEN & MASK) >> (32 - _BITS) for h in hashes]
        inputs = []
        for seen, at in zip(self._seen, self._entries, strict=True):
            inputs.append(STRETCH[seen[at] >> 20] if seen[at] & 1023 else 0)
        self._steps = [pointer.step() for pointer in pointers]
        self._ended = ended
        agreed = 0  # by the last match that follows something: 1 the token goes on, 2 it ends
        for trust, step, end in zip(self._trust, self._steps, ended, strict=True):
            p = trust[step] >> 16
            inputs.append(0 if end is None else STRETCH[(ONE - 1 - p if end else p) >> 4])
            agreed = agreed if end is None else 1 + end
        inputs += [model, _BIAS]
        self._inputs[: len(inputs)] = inputs
        one, two = self._mixers.mix(self._inputs, (model_step(model) * 3 + agreed, c4 & 0xFF))
        return self._gate.join(squash(one + two >> 1), squash(model))

    def learn(self, goes_on: int, taught: int) -> None:
        """taught: Learner.taught."""
        self._mixers.learn(self._inputs, goes_on, _RATE_END + _RATE_START // (1 + (taught >> _RATE_HALF)))
        for seen, at in zip(self._seen, self._entries, strict=True):
            seen[at] = adapted(seen[at], goes_on, RATES, _MOST)
        for trust, step, end in zip(self._trust, self._steps, self._ended, strict=True):
            if end is not None:
                trust[step] = adapted(trust[step], int(end != goes_on), RATES)
        self._gate.learn(goes_on)
