"""The coder of a group in Python: tokens of several lanes to one stream of a range coder, and back.

Every token is a path in the tree of the vocabulary's bytes: bits of the next byte, and whether the token goes
on. The counts of the ensemble say how likely each step is; the learner, which sees the text as bytes,
corrects that. Encoder and decoder walk the same path; a port answers each decision, from the token or from
the stream.
formats/coding-v2.md specifies it. The reference of codecs/learner/tokens.inl, equal bit for bit.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from nacrith.codec.group import Numbers
from nacrith.codec.params import CodingParams
from nacrith.coder.cdf import PRECISION, TOTAL
from nacrith.coder.range_coder import Decoder, Encoder
from nacrith.learner.ends import Ends
from nacrith.learner.learner import Learner
from nacrith.learner.match import MARGIN
from nacrith.learner.shapes import BESIDE
from nacrith.learner.tables import MOST_STRETCH, clamp, mix
from nacrith.models.protocol import Logits
from nacrith.models.tokenizer.sorted_vocabulary import Node, SortedVocabulary
from nacrith.predictors import registry
from nacrith.predictors.fixed import stretch

_NATS = 11357
"""2^16 times 256 nats in 1,024 bits: from the ensemble's units to the learner's."""

_FINE = 8
"""From the learner's probabilities of 16 bits to the coder's of 24."""


class Port(Protocol):
    """One direction of coding."""

    rank: int
    """Of the token that is coded; -1 where it is to be found."""

    def decide(self, ones: int, bit: bool) -> int:
        """The answer to a question, 1 or 0. ones: of 2^24, the share of a 1, 1 .. 2^24 - 1. bit: the answer
        that follows from `rank`."""


class Writer:
    def __init__(self) -> None:
        self.coder = Encoder()
        self.rank = -1

    def decide(self, ones: int, bit: bool) -> int:
        self.coder.encode(*((0, ones) if bit else (ones, TOTAL - ones)))
        return int(bit)


class Reader:
    rank = -1

    def __init__(self, payload: bytes) -> None:
        self._coder = Decoder(payload)

    def decide(self, ones: int, bit: bool) -> int:
        return 1 - self._coder.decode(np.array([ones, TOTAL - ones], np.float32))


class Known:
    """Codes nothing: the tokens of a prefix."""

    rank = -1

    def decide(self, ones: int, bit: bool) -> int:
        return int(bit)


class Lane:
    """What is known of a lane besides its text."""

    def __init__(self) -> None:
        self.token = self.before = 0  # hashes of the bytes of the token so far, and of the one before
        self.ended = bytearray(MARGIN)  # for each byte, and a margin before: whether a token ended with it

    def end_token(self) -> None:
        self.before, self.token = self.token, 0


class Tree:
    """The path of each token, with everything that predicts its steps. lanes: how many."""

    def __init__(self, vocabulary: SortedVocabulary, bits: int, lanes: int) -> None:
        self._vocabulary = vocabulary
        self._learner = Learner(BESIDE, bits, lanes)
        self._ends = Ends()
        self._lanes = [Lane() for _ in range(lanes)]
        self._below = np.zeros(vocabulary.size + 1, np.int64)  # the counts of all lower ranks

    def code(self, counts: npt.NDArray[np.float32], lane: int, port: Port) -> int:
        """The rank of the lane's next token. counts: of all ids, at least 1 each, with the sum 2^24."""
        vocabulary = self._vocabulary
        np.cumsum(counts[vocabulary.order], dtype=np.int64, out=self._below[1:])
        state = self._lanes[lane]
        if not self._has_bytes(port):
            found = self._halve(vocabulary.spelled, vocabulary.size, port)
            state.end_token()
            return found
        self._learner.begin(lane)
        node = self._code_byte(vocabulary.root, state, port)
        while True:
            longer = node.lo + vocabulary.ending(node)
            goes_on = longer == node.lo
            if node.lo < longer < node.hi:
                goes_on = bool(self._goes_on(node, longer, state, port))
            if not goes_on:
                found = self._halve(node.lo, longer, port)
                state.ended[-1] = 1
                state.end_token()
                return found
            node = self._code_byte(node, state, port)

    def _has_bytes(self, port: Port) -> bool:
        spelled, size = self._vocabulary.spelled, self._vocabulary.size
        if spelled in (0, size):
            return spelled > 0
        return bool(self._plain(self._sum(spelled, size), self._sum(0, spelled), port.rank < spelled, port))

    def _halve(self, lo: int, hi: int, port: Port) -> int:
        """One of the ranks lo .. hi - 1, by the counts alone."""
        while hi - lo > 1:
            middle = (lo + hi) // 2
            if self._plain(self._sum(lo, middle), self._sum(middle, hi), port.rank >= middle, port):
                lo = middle
            else:
                hi = middle
        return lo

    def _plain(self, zeros: int, ones: int, bit: bool, port: Port) -> int:
        return port.decide(min(max((ones << PRECISION) // (zeros + ones), 1), TOTAL - 1), bit)

    def _goes_on(self, node: Node, longer: int, state: Lane, port: Port) -> int:
        """Whether the token is longer than the node. longer: the first rank that is."""
        learner = self._learner
        # Where a token ended is known of every byte that a pointer has passed, in whatever lane.
        ended = [
            self._lanes[p.place[0]].ended[p.place[1] - 1] if p.place is not None and p.length else None
            for p in learner.pointers
        ]
        p = self._ends.predict(
            learner.cursor,
            state.token,
            state.before,
            self._stretched(node.lo, longer, node.hi),
            learner.pointers,
            ended,
        )
        bit = port.decide(p << _FINE, port.rank >= longer)
        self._ends.learn(bit, learner.taught)
        return bit

    def _code_byte(self, node: Node, state: Lane, port: Port) -> Node:
        """The node of the token's next byte."""
        learner, starts = self._learner, self._vocabulary.boundaries(node)
        byte = 0
        for left in range(7, -1, -1):
            lo, middle, hi = (int(starts[byte * 2 + i << left]) for i in range(3))
            certain = middle in (lo, hi)
            if certain:
                bit = int(middle == lo)
                learner.skip()
                learner.record(bit)
            else:
                p = learner.predict(self._stretched(lo, middle, hi))
                bit = port.decide(p << _FINE, port.rank >= middle)
                learner.learn(bit)
            byte = byte * 2 + bit
        state.ended.append(0)
        state.token = mix(state.token, byte)
        return Node(int(starts[byte]), int(starts[byte + 1]), node.depth + 1)

    def _stretched(self, lo: int, middle: int, hi: int) -> int:
        """The model's answer to whether the rank is `middle` or higher, in the learner's units."""
        s = stretch(self._sum(middle, hi), self._sum(lo, middle))
        return clamp(s * _NATS >> 16, MOST_STRETCH)

    def _sum(self, lo: int, hi: int) -> int:
        return int(self._below[hi] - self._below[lo])


class ReferenceCoder:
    """lengths: tokens of each lane."""

    def __init__(self, vocabulary: SortedVocabulary, params: CodingParams, lengths: Sequence[int]) -> None:
        self._vocabulary = vocabulary
        self._ensemble = registry.make(params.predictors, vocabulary.size, 1 << params.capacity, lengths)
        self._tree = Tree(vocabulary, params.bits_for(sum(lengths)), len(lengths))

    def learn(self, rows: Logits, lanes: Numbers, at: Numbers, tokens: Numbers) -> None:
        self._known(rows, lanes, at, tokens, Known())

    def _known(self, rows: Logits, lanes: Numbers, at: Numbers, tokens: Numbers, port: Port) -> None:
        for lane, row, token in zip(lanes.tolist(), at.tolist(), tokens.tolist(), strict=True):
            port.rank = int(self._vocabulary.rank[token])
            self._code(rows[row], lane, port)

    def _code(self, row: Logits, lane: int, port: Port) -> int:
        """The lane's next token."""
        rank = self._tree.code(self._ensemble.counts(row, lane), lane, port)
        token = int(self._vocabulary.order[rank])
        self._ensemble.update(token, lane)
        return token


class ReferenceEncoder(ReferenceCoder):
    """Implements group.GroupEncoder."""

    def __init__(self, vocabulary: SortedVocabulary, params: CodingParams, lengths: Sequence[int]) -> None:
        super().__init__(vocabulary, params, lengths)
        self._writer = Writer()

    def encode(self, rows: Logits, lanes: Numbers, at: Numbers, tokens: Numbers) -> None:
        self._known(rows, lanes, at, tokens, self._writer)

    def finish(self) -> bytes:
        return self._writer.coder.finish()


class ReferenceDecoder(ReferenceCoder):
    """Implements group.GroupDecoder."""

    def __init__(
        self, vocabulary: SortedVocabulary, params: CodingParams, lengths: Sequence[int], payload: bytes
    ) -> None:
        super().__init__(vocabulary, params, lengths)
        self._reader = Reader(payload)

    def decode(self, rows: Logits, lanes: Numbers, at: Numbers) -> list[int]:
        return [
            self._code(rows[row], lane, self._reader)
            for lane, row in zip(lanes.tolist(), at.tolist(), strict=True)
        ]
