"""Where a model's bits go: the cost of each token and each byte of a text, and what was expected instead.

The cost of a text is that of its bytes, so that models with different tokenizers are compared fairly. The
bits of its tokens sum to a little more, as they say where the last token ends and the bytes do not. A long
text is cut into blocks, each of which begins anew.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from nacrith.bytelevel.covering import Node
from nacrith.bytelevel.evaluator import Evaluator
from nacrith.bytelevel.model import ByteModel
from nacrith.bytelevel.rows import F64, Row
from nacrith.bytelevel.state import ByteState

BLOCK = 1 << 16
_AT_ONCE = 64  # tokens whose rows are held together


@dataclass(frozen=True)
class Token:
    """start, end: its place in the text, in bytes. others: the likeliest tokens at this place, with bits."""

    start: int
    end: int
    bits: float
    others: Sequence[tuple[bytes, float]] = ()


@dataclass(frozen=True)
class Scored:
    """The cost of `data` by one model. bits: of its bytes; byte_bits: float64 (len(data),), of each of them,
    or None if it was not asked for."""

    model: str
    data: bytes
    bits: float
    tokens: Sequence[Token]
    byte_bits: F64 | None = None

    @property
    def bits_per_byte(self) -> float:
        return self.bits / len(self.data) if self.data else 0.0

    @property
    def bits_per_token(self) -> float:
        return sum(t.bits for t in self.tokens) / len(self.tokens) if self.tokens else 0.0


def score(model: ByteModel, data: bytes, *, by_byte: bool = False, others: int = 0) -> Scored:
    """The bits of each token of `data`. by_byte: and of each byte, which takes four times as long. others:
    how many of the likeliest tokens are told for each place. The model must not have a beam."""
    tokens: list[Token] = []
    profiles: list[F64] = []
    bits = 0.0
    for begin in range(0, len(data), BLOCK):
        block = data[begin : begin + BLOCK]
        state = model.start()
        if by_byte:
            profiles.append(state.profile(block))
        else:
            state.extend(block)
        bits += state.probability().bits
        tokens += _tokens(model.evaluator, _path(state), begin, others)
    profile = np.concatenate(profiles) if profiles else np.empty(0)
    return Scored(model.model.name, data, bits, tokens, profile if by_byte else None)


def _path(state: ByteState) -> list[Node]:
    """The nodes of the tokenizer's encoding of what was read, without the root."""
    node: Node | None = state.encoded()
    path: list[Node] = []
    while node is not None and node.parent is not None:
        path.append(node)
        node = node.parent
    return path[::-1]


def _tokens(evaluator: Evaluator, path: Sequence[Node], base: int, others: int) -> Iterator[Token]:
    for begin in range(0, len(path), _AT_ONCE):
        part = path[begin : begin + _AT_ONCE]
        rows = evaluator.rows([n.parent for n in part if n.parent])
        for node in part:
            assert node.parent is not None
            row = rows[node.parent]
            bits = -float(np.log2(row.between(node.rank, node.rank + 1) / row.total))
            best = list(_best(evaluator, row, others))
            yield Token(base + node.parent.end, base + node.end, bits, best)


def _best(evaluator: Evaluator, row: Row, count: int) -> Iterator[tuple[bytes, float]]:
    if count:
        weights = np.diff(row.sums)
        found = np.argpartition(weights, -count)[-count:]
        for rank in found[np.argsort(-weights[found], kind="stable")].tolist():
            if weights[rank] > 0:
                yield evaluator.rules.alphabet.token_bytes(rank), -float(np.log2(weights[rank] / row.total))
