"""Groups of lanes over toy vocabularies: small, and with all that a vocabulary may have.

Tokens without bytes, tokens of equal bytes, bytes that only one token goes on with, tokens that begin others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

from nacrith.codec.group import GroupDecoder, GroupEncoder
from nacrith.codec.params import CodingParams
from nacrith.models.tokenizer.sorted_vocabulary import SortedVocabulary

PARAMS = (
    CodingParams(64, bits=16),
    CodingParams(64, predictors=1, capacity=8, bits=16),
    CodingParams(64, predictors=2, capacity=8, bits=17),
)
WORDS = [
    b"a",
    b"ab",
    b"abc",
    b"b",
    b"a",
    b"",
    b" the",
    b" then",
    b" ",
    b"\n",
    b"\xff",
    b"\xff\xfe",
    b"\0",
    b"",
]


@dataclass(frozen=True)
class Group:
    """words: the bytes of each id. tokens: of each lane. rows: int32 (n, V), one for each step of the
    schedule."""

    words: Sequence[bytes]
    tokens: Sequence[Sequence[int]]
    rows: np.ndarray

    @property
    def vocabulary(self) -> SortedVocabulary:
        return SortedVocabulary(self.words)

    @property
    def lengths(self) -> list[int]:
        return [len(lane) for lane in self.tokens]

    @property
    def steps(self) -> list[tuple[int, int]]:
        """(lane, token) in the order of the schedule."""
        return [
            (i, lane[t])
            for t in range(max(self.lengths))
            for i, lane in enumerate(self.tokens)
            if t < len(lane)
        ]

    def arrays(self, begin: int = 0, end: int | None = None) -> tuple[np.ndarray, ...]:
        """rows, lanes, at and tokens of some steps, as coders take them."""
        lanes, tokens = np.array(self.steps, np.int32).reshape(-1, 2)[begin:end].T.copy()
        return self.rows[begin:end], lanes, np.arange(len(lanes)), tokens


def encode(coder: GroupEncoder, group: Group, size: int | None = None) -> bytes:
    """size: of the portions."""
    total = len(group.steps)
    for begin in range(0, total, size or max(total, 1)):
        coder.encode(*group.arrays(begin, begin + (size or total)))
    return coder.finish()


def decode(coder: GroupDecoder, group: Group) -> list[int]:
    """The tokens in the order of the schedule, decoded one by one."""
    found = []
    for i in range(len(group.steps)):
        rows, lanes, at, _ = group.arrays(i, i + 1)
        found += coder.decode(rows, lanes, at)
    return found


def made(
    words: Sequence[bytes], lengths: Sequence[int], seed: int = 0, peak: int = 1 << 18, right: int = 0
) -> Group:
    """A group with repetitions. peak: largest weight of a row. right: by how much the row of a step favours
    its token."""
    rng = np.random.default_rng(seed)
    fresh = (rng.random(sum(lengths)) ** 2 * len(words)).astype(int).tolist()
    tokens: list[list[int]] = []
    for n in lengths:
        lane: list[int] = []
        while len(lane) < n:
            source = fresh if not tokens or rng.random() < 0.3 else tokens[rng.integers(len(tokens))] or fresh
            at = int(rng.integers(len(source)))
            lane += source[at : at + int(rng.integers(1, 9))]
        tokens.append(lane[:n])
    group = Group(words, tokens, np.zeros((0, len(words)), np.int32))
    rows = rng.integers(-peak, peak + 1, (len(group.steps), len(words))).astype(np.int32)
    for row, (_, token) in zip(rows, group.steps, strict=True):
        row[token] += right
    return Group(words, tokens, rows)


_WORD = st.lists(st.sampled_from([0, 32, 97, 98, 254, 255]), max_size=3).map(bytes)


@st.composite
def groups(draw: st.DrawFn, most: int = 24) -> Group:
    """most: tokens of all lanes."""
    words = draw(st.lists(_WORD, min_size=1, max_size=20))
    lengths = draw(
        st.lists(st.integers(0, most // 3), min_size=1, max_size=6).filter(lambda n: sum(n) <= most)
    )
    peak = draw(st.sampled_from([0, 1 << 16, 1 << 20, 1 << 29]))
    return made(words, lengths, draw(st.integers(0, 99)), peak, draw(st.sampled_from([0, 4 << 16, 1 << 29])))
