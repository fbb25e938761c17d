"""The other semantics: all token sequences with the bytes, not only those that the tokenizer makes.

A model gives some probability to every spelling of a text, and the probability of the bytes is the sum
over all of them. These are too many to follow, so a beam keeps the likeliest (Vieira et al., "From Language
Models over Tokens to Language Models over Characters", 2024). It needs no knowledge of the tokenizer, hence
works with any that decodes tokens one by one; and as no token is ruled out, a text costs less than by
`covering`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from nacrith.bytelevel.alphabet import Alphabet
from nacrith.bytelevel.covering import Mask, Node, Region
from nacrith.bytelevel.evaluator import Evaluator
from nacrith.bytelevel.pretokens import Shape
from nacrith.bytelevel.rows import F64
from nacrith.bytelevel.state import ByteState, total_mass
from nacrith.models.protocol import Tokenizer

_NOWHERE = Region(b"", Shape("", (), b""), (), ((),), 0)


@dataclass(frozen=True)
class Beam:
    """width: how many heads are kept at most. threshold: the share of all mass below which one is dropped."""

    width: int = 16
    threshold: float = 1e-4

    def __post_init__(self) -> None:
        if self.width < 1 or not 0 <= self.threshold < 1:
            raise ValueError("a beam has a width of at least 1 and a threshold within 0..1")


class FreeCovering:
    """Every token may follow every token, and the text may end after any."""

    def __init__(self, tokenizer: Tokenizer, vocab_size: int, ends: Sequence[int]) -> None:
        self.alphabet = Alphabet(tokenizer, vocab_size, ends)
        self._all: Mask = np.ones(self.alphabet.size, np.bool_)

    @property
    def root(self) -> Node:
        return Node(None, -1, 0, _NOWHERE, {})

    def child(self, node: Node, rank: int) -> Node:
        child = node.children.get(rank)
        if child is None:
            end = node.end + len(self.alphabet.token_bytes(rank))
            child = node.children[rank] = Node(node, rank, end, _NOWHERE, {})
        return child

    def allowed(self, node: Node) -> Mask:
        return self._all

    def may_follow(self, node: Node, lo: int, hi: int) -> bool:
        return lo < hi

    def can_end(self, node: Node) -> bool:
        return True


class BeamState(ByteState):
    """A state whose heads are the likeliest token sequences.

    excess_bits: what was dropped so far: the bits by which the sequences kept are less likely than all would
    be, if those that were dropped had gone on as likely as the kept ones. A text's true cost is at most its
    score and this.
    """

    def __init__(self, evaluator: Evaluator, beam: Beam) -> None:
        super().__init__(evaluator)
        self._beam = beam

    def push(self, byte: int) -> None:
        self._masses()
        super().push(byte)
        heads = self._heads
        masses = [total_mass((h,), self._rows, self._vocabulary) for h in heads]
        whole = total_mass(heads, self._rows, self._vocabulary)
        shares = [math.ldexp(m.mantissa, m.exponent - whole.exponent) / whole.mantissa for m in masses]
        best = sorted(range(len(heads)), key=lambda i: -shares[i])
        kept = {i for i in best[: self._beam.width] if shares[i] >= self._beam.threshold}
        kept |= set([i for i in best if not heads[i].pending.depth][:1])  # so that every byte can follow
        if kept and len(kept) < len(heads):
            self._heads = tuple(heads[i] for i in sorted(kept))
            left = 0.0
            for i in sorted(kept):
                left += shares[i]
            self.excess_bits -= math.log2(min(left, 1.0))

    def _guesses(self) -> list[Node]:
        return []  # each head would need its own

    def score(self, data: bytes, *, end: bool = False) -> float:
        later = self.fork()
        later.extend(data)
        after = later.probability_of_end() if end else later.probability()
        return after.bits - self.probability().bits - (later.excess_bits - self.excess_bits)

    def distributions(self, data: bytes) -> F64:
        out = np.empty((len(data), 257))
        for i, byte in enumerate(data):
            out[i] = self.next_byte()
            self.push(byte)
        return out

    def profile(self, data: bytes) -> F64:
        return -np.log2(self.distributions(data)[np.arange(len(data)), list(data)])
