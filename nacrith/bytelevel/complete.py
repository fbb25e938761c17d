"""Continuing a text from any byte, also from the middle of a token, and filling in the middle of a text.

A prompt of bytes has no last token that could be the wrong one: all ways to tokenize its end go on together.
For a middle, texts are proposed as continuations of the prefix, and every place is considered at which one of
them could go over into the suffix. The choice is the middle m with the largest probability of m and the
beginning of the suffix together, after the prefix: that is Bayes' rule, and needs no model trained for it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from nacrith.bytelevel.ensemble import Reader, Source
from nacrith.bytelevel.rows import log2_weights
from nacrith.bytelevel.state import END
from nacrith.decoding.sampling import Sampling

_PREFIX = 1 << 16  # bytes of the prefix that are read: attention sees fewer
_SUFFIX = 48  # bytes of the suffix that a middle has to lead to
_PLACES = 24  # places of one proposal that are tried


def complete(
    model: Source,
    prefix: bytes,
    suffix: bytes | None = None,
    *,
    most: int = 256,
    sampling: Sampling | None = None,
    proposals: int = 4,
) -> Iterator[bytes]:
    """Yield the text that follows `prefix`: byte for byte as it is found, at most `most`, up to the end that
    the model sees; with a suffix, the text between the two at once.

    sampling: as of tokens, here of bytes: the place of the random number is that of the byte. With an exact
    model the same seed gives the same text anywhere. proposals: how many texts are tried for a middle; the
    first is the likeliest, the others are sampled.
    """
    state = model.start()
    state.extend(prefix[-_PREFIX:])
    sampling = sampling or Sampling()
    if suffix is None:
        yield from continued(state, most, sampling)
    else:
        yield _middle(state, suffix, most, sampling, proposals)


def continued(state: Reader, most: int, sampling: Sampling) -> Iterator[bytes]:
    """The bytes after those that `state` has read; it reads them too."""
    for place in range(most):
        byte = sampling.choose(log2_weights(state.next_byte()), place)
        if byte == END:
            return
        state.push(byte)
        yield bytes((byte,))


def _middle(state: Reader, suffix: bytes, most: int, sampling: Sampling, proposals: int) -> bytes:
    """The likeliest of all beginnings of the proposals, with the suffix after it."""
    goal = suffix[:_SUFFIX]
    tried: dict[bytes, float] = {}
    for number in range(max(1, proposals)):
        how = (
            sampling
            if number == 0
            else Sampling(max(sampling.temperature, 0.8), top_p=0.95, seed=sampling.seed + number)
        )
        text = b"".join(continued(state.fork(), most, how))
        for place in _places(text, goal):
            middle = text[:place]
            if middle not in tried:
                tried[middle] = state.score(middle + goal)
    return min(tried, key=lambda middle: (tried[middle], middle))


def _places(text: bytes, goal: bytes) -> list[int]:
    """Where `text` may be left for `goal`: above all where it goes on as the goal does, then between words,
    the first ones first."""
    agreed = {i: _agreement(text[i:], goal) for i in range(len(text) + 1)}
    words = {
        i for i in agreed if i == len(text) or not (text[i : i + 1].isalnum() and text[i - 1 : i].isalnum())
    }
    order = sorted(agreed, key=lambda i: (-agreed[i], i not in words, i))
    return order[:_PLACES]


def _agreement(a: bytes, b: bytes) -> int:
    """How many first bytes of both are equal."""
    size = min(len(a), len(b))
    return next((i for i in range(size) if a[i] != b[i]), size)


@dataclass(frozen=True)
class Likelihood:
    """bits: of the continuation after the context. greedy: whether the likeliest byte each time gives it."""

    bits: float
    bytes: int
    greedy: bool

    @property
    def log(self) -> float:
        """The natural logarithm of the probability, as lm-evaluation-harness uses it."""
        return -self.bits * math.log(2)

    @property
    def bits_per_byte(self) -> float:
        return self.bits / self.bytes if self.bytes else 0.0


def loglikelihood(model: Source, context: bytes, continuation: bytes) -> Likelihood:
    """How likely `continuation` is after `context`. The border may lie anywhere: models with different
    tokenizers are compared at the same byte."""
    state = model.start()
    state.extend(context)
    rows = state.distributions(continuation)
    picked = list(continuation)
    chosen = rows[np.arange(len(picked)), picked]
    bits = -float(np.log2(chosen).sum()) if picked else 0.0
    return Likelihood(bits, len(picked), bool((rows.argmax(axis=1) == picked).all()))
