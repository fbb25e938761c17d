"""The state after some bytes: the nodes of the covering tree that agree with them, and what comes next.

A *head* is a node, and the bytes that came after it (its *pending* bytes), as a node of the sorted
vocabulary: the next token begins with these. The head's mass is the node's probability times that of all
tokens with more bytes than are pending; the masses of all heads sum to the probability of the bytes. A byte
leads each head on or ends it, and where a token ends exactly, a new node begins. So which heads there are
depends on the tokenizer alone. Rows are computed when a probability is asked for: those of a whole stretch
in one call, if there was no question in between.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from nacrith.bytelevel.covering import Node
from nacrith.bytelevel.evaluator import Evaluator, give_probability
from nacrith.bytelevel.rows import Row
from nacrith.coder.cdf import DOWN, TOTAL
from nacrith.errors import ModelError
from nacrith.models.tokenizer import sorted_vocabulary

F64 = npt.NDArray[np.float64]

END = 256
"""The index of the end of the text in a distribution of 257."""

HISTORY = 4096
"""How many bytes can be rolled back."""

_STRETCH = 128  # bytes of a profile that are computed together
_GUESSED = 8  # nodes computed ahead in one call
_LIKELY = 0.25  # share of the mass of a continuation that is worth computing ahead


class Head(NamedTuple):
    node: Node
    pending: sorted_vocabulary.Node


Heads = tuple[Head, ...]


class Fraction(NamedTuple):
    """A probability mantissa * 2^exponent, which may be far below the least float."""

    mantissa: float
    exponent: int

    @property
    def bits(self) -> float:
        return -math.log2(self.mantissa) - self.exponent if self.mantissa > 0 else math.inf


def counts_of(p: F64) -> npt.NDArray[np.int64]:
    """Probabilities as integers of at least 1 that sum to 2^24."""
    counts = np.floor(p * ((TOTAL - len(p)) * DOWN)).astype(np.int64) + 1
    counts[int(p.argmax())] += TOTAL - int(counts.sum())
    return counts


class _Stage(NamedTuple):
    """What `rollback` restores."""

    heads: Heads
    excess_bits: float


class ByteState:
    """Bytes read so far, and the distribution of the next one. Made by `ByteModel.start`.

    epsilon: nodes that have less than this share of the mass are not computed as long as that is so. Until
    then their share is spread evenly over all bytes. 0 for exact distributions.

    excess_bits: at most how many bits the bytes read, coded with `next_byte` each time, cost more than with
    epsilon 0.
    """

    def __init__(self, evaluator: Evaluator, epsilon: float = 0.0) -> None:
        self._evaluator = evaluator
        self._epsilon = epsilon
        self.excess_bits = 0.0
        self._vocabulary = evaluator.rules.alphabet.vocabulary
        self._heads: Heads = (Head(evaluator.rules.root, self._vocabulary.root),)
        self._rows: dict[Node, Row] = {}
        self._ahead: list[Node] = []
        self._past: deque[_Stage] = deque(maxlen=HISTORY)
        self._told: tuple[F64, float] | None = None  # the masses of the next byte, and how much was spread
        self._length = 0

    def __len__(self) -> int:
        """How many bytes have been read."""
        return self._length

    @property
    def live_heads(self) -> int:
        return len(self._heads)

    def fork(self) -> ByteState:
        """A state of its own after the same bytes. Both share the model's session."""
        twin = ByteState.__new__(type(self))
        twin.__dict__.update(self.__dict__)
        twin._rows, twin._ahead, twin._past = dict(self._rows), list(self._ahead), self._past.copy()
        return twin

    def rollback(self, count: int = 1) -> None:
        """Forget the last `count` bytes. ValueError for more than were read, or than HISTORY."""
        if not 0 <= count <= len(self._past):
            raise ValueError(f"{len(self._past)} bytes can be taken back, not {count}")
        for _ in range(count):
            self._heads, self.excess_bits = self._past.pop()
            self._told = None
        self._length -= count

    def push(self, byte: int) -> None:
        """Read one byte. ValueError for a number that is no byte. ModelError if no tokens lead to it, after
        which the state is as before; a tokenizer that has all bytes leads to any."""
        if not 0 <= byte < 256:
            raise ValueError(f"{byte} is not a byte")
        heads = self._step(self._heads, byte)
        if not heads:
            raise ModelError(
                f"the model has no tokens that lead to byte {byte:#04x} after {self._length} bytes:"
                " use a model whose vocabulary has all bytes"
            )
        self._past.append(_Stage(self._heads, self.excess_bits))
        if self._told and self._told[1]:
            masses, spread = self._told
            self.excess_bits += math.log2(1 + spread * (1 - 1 / len(masses)) / float(masses[byte]))
        self._heads, self._told = heads, None
        self._length += 1

    def extend(self, data: bytes) -> None:
        """Read bytes, without computing anything of the model. ModelError as of `push`; what comes before is
        read."""
        for byte in data:
            self.push(byte)

    def next_byte(self) -> F64:
        """float64 (257,): the probabilities of each next byte and, at END, of the end of the text. They sum
        to 1 but for rounding."""
        masses = self._masses()
        return masses / float(masses.cumsum()[-1])

    def counts(self) -> npt.NDArray[np.int64]:
        """The same as integers of at least 1 that sum to 2^24, for coding. Where the model is portable, they
        are the same on every machine."""
        return counts_of(self.next_byte())

    def probability(self) -> Fraction:
        """The probability of a text that begins with the bytes read."""
        return self._sum(self._heads)

    def probability_of_end(self) -> Fraction:
        """The probability of the text that consists of the bytes read."""
        nodes = [h.node for h in self._heads if not h.pending.depth]
        self._prepare(nodes)
        self._hold(nodes)
        top = _top(nodes)
        mass = 0.0
        for node in nodes:
            mass += self._rows[node].stop / self._rows[node].total * _scaled(node, top)
        mantissa, shift = math.frexp(mass)
        return Fraction(mantissa, top + shift)

    def encoded(self) -> Node:
        """The node of the tokenizer's encoding of the bytes read. ModelError if a beam has dropped it."""
        for node, pending in self._heads:
            if not pending.depth and self._evaluator.rules.can_end(node):
                return node
        raise ModelError(
            f"the beam has dropped the encoding of the {self._length} bytes read: use a wider one"
        )

    def score(self, data: bytes, *, end: bool = False) -> float:
        """The bits that `data` costs after the bytes read: -log2 of its probability. The state does not
        change. end: with the end of the text after it."""
        later = self.fork()
        later.extend(data)
        before = self.probability()
        after = later.probability_of_end() if end else later.probability()
        return after.bits - before.bits

    def profile(self, data: bytes) -> F64:
        """float64 (len(data),): the bits of each byte of `data`, which the state reads."""
        bits = [self.probability().bits]
        for begin in range(0, len(data), _STRETCH):
            stages: list[Heads] = []
            for byte in data[begin : begin + _STRETCH]:
                self.push(byte)
                stages.append(self._heads)
            nodes = {h.node for heads in stages for h in heads}
            longer = {h.node for heads in stages for h in heads if h.pending.depth}
            rows = self._rows | self._rows_of(longer.union(*map(_unweighed, nodes)))
            bits += [total_mass(heads, rows, self._vocabulary).bits for heads in stages]
            self._rows = {h.node: rows[h.node] for h in self._heads if h.node in rows}
        return np.diff(bits)

    def distributions(self, data: bytes) -> F64:
        """float64 (len(data), 257): `next_byte` before each byte of `data`, which the state reads. Exact,
        whatever epsilon; the rows of a stretch are computed together."""
        out = np.empty((len(data), 257))
        for begin in range(0, len(data), _STRETCH):
            stages: list[Heads] = []
            for byte in data[begin : begin + _STRETCH]:
                stages.append(self._heads)
                self.push(byte)
            rows = self._rows | self._rows_of({h.node for heads in stages for h in heads})
            for i, heads in enumerate(stages):
                masses = self._spread(heads, rows, [])[0]
                out[begin + i] = masses / float(masses.cumsum()[-1])
            self._rows = {h.node: rows[h.node] for h in self._heads if h.node in rows}
        return out

    def _rows_of(self, nodes: set[Node]) -> dict[Node, Row]:
        """The rows of `nodes`, and of those before them that their probabilities need."""
        needed = nodes.union(p for node in nodes for p in _unweighed(node))
        return self._evaluator.rows(sorted(needed, key=lambda node: node.depth))

    def _step(self, heads: Heads, byte: int) -> Heads:
        """The heads after one more byte."""
        rules, vocabulary = self._evaluator.rules, self._vocabulary
        after: list[Head] = []
        new: list[Head] = []
        for node, pending in heads:
            pending = vocabulary.child(pending, byte)
            if pending.is_empty:
                continue
            ending = vocabulary.ending(pending)
            for rank in range(pending.lo, pending.lo + ending):
                if (child := rules.child(node, rank)) is not None:
                    if child.probability is None and (row := node.held_row):
                        give_probability(child, row)
                    new.append(Head(child, vocabulary.root))
            if rules.may_follow(node, pending.lo + ending, pending.hi):
                after.append(Head(node, pending))
        return (*after, *new)

    def _masses(self) -> F64:
        """float64 (257,): the probabilities of what comes next, times a common factor."""
        if self._told is None:
            self._compute()
            unknown = [] if all(self._is_known(h.node) for h in self._heads) else self._unknown()
            self._told = self._spread(self._heads, self._rows, unknown)
        return self._told[0]

    def _spread(self, heads: Heads, rows: dict[Node, Row], unknown: list[Node]) -> tuple[F64, float]:
        """The masses of what comes next after `heads`, where the probabilities of the nodes `unknown` are
        spread evenly; and how much that is."""
        known = [h for h in heads if h.node in rows and h.node.probability]
        top = _top([*(h.node for h in known), *unknown])
        masses = np.zeros(257)
        for node, pending in known:
            row, factor = rows[node], _scaled(node, top)
            starts = row.sums[self._vocabulary.boundaries(pending)]
            masses[:END] += factor / row.total * (starts[1:] - starts[:-1])
            if not pending.depth:
                masses[END] += factor / row.total * row.stop
        spread = 0.0
        for node in unknown:
            spread += _scaled(node, top)
        return masses + spread / len(masses), spread

    def _compute(self) -> None:
        """Have the rows of the heads: of all, or of those that matter."""
        nodes = [h.node for h in self._heads]
        if not self._epsilon:
            if any(node not in self._rows for node in nodes):
                self._prepare(nodes)
                self._ahead = self._guesses()
                self._hold([*self._ahead, *nodes])
            return
        self._hold([n for n in nodes if n.held_row])
        while unknown := self._unknown():
            whole = total_mass(self._heads, self._rows, self._vocabulary, unknown)
            limit = self._epsilon * whole.mantissa
            due = [n for n in unknown if _scaled(n, whole.exponent) > limit]
            if not due:
                return
            if not self._ahead or any(n not in self._ahead for n in due):
                self._ahead = self._guesses()
            self._hold([*self._ahead, *due])

    def _is_known(self, node: Node) -> bool:
        return node in self._rows and node.probability is not None

    def _unknown(self) -> list[Node]:
        """The nodes that stand for the mass of heads without a row: each such head, or the last one before it
        whose probability is known."""
        found: dict[Node, None] = {}
        for head in self._heads:
            node = head.node
            if not self._is_known(node):
                while node.probability is None:
                    assert node.parent is not None
                    node = node.parent
                found[node] = None
        return list(found)

    def _sum(self, heads: Heads) -> Fraction:
        """The sum of the masses of heads."""
        self._prepare([h.node for h in heads])
        self._hold([h.node for h in heads if h.pending.depth])
        return total_mass(heads, self._rows, self._vocabulary)

    def _prepare(self, nodes: Iterable[Node]) -> None:
        """Find the probabilities of nodes: the rows of those before them, a few at a time."""
        waiting = {p: None for node in nodes for p in _unweighed(node)}
        chain = sorted(waiting, key=lambda node: node.depth)
        for begin in range(0, len(chain), _STRETCH):
            self._evaluator.rows(chain[begin : begin + _STRETCH])

    def _hold(self, nodes: list[Node]) -> None:
        """Have the rows of `nodes`, and let go of those of nodes that are neither heads nor guesses."""
        rows = self._evaluator.rows(nodes)
        keep = {*(h.node for h in self._heads), *self._ahead}
        self._rows = {n: r for n, r in self._rows.items() if n in keep} | rows

    def _guesses(self) -> list[Node]:
        """Nodes that will be needed if the likeliest token comes; they are computed in the call that has to
        be made anyway, which costs little more. What was guessed changes no result."""
        known = [h for h in self._heads if self._is_known(h.node)]
        if not known:
            return []
        whole = total_mass(self._heads, self._rows, self._vocabulary, self._unknown())
        masses = [total_mass((h,), self._rows, self._vocabulary) for h in known]
        node, pending = known[max(range(len(known)), key=lambda i: (masses[i].exponent, masses[i].mantissa))]
        row = self._rows[node]
        first = pending.lo + self._vocabulary.ending(pending)
        rank = first + int(np.diff(row.sums[first : pending.hi + 1]).argmax())
        mass = row.between(rank, rank + 1) / row.total * _scaled(node, whole.exponent)
        if mass < _LIKELY * whole.mantissa:
            return []
        heads, new = self._heads, []
        least = self._epsilon * whole.mantissa
        for byte in self._vocabulary.token_bytes(rank)[pending.depth :][:_GUESSED]:
            heads = self._step(heads, byte)
            fresh = [h.node for h in heads if not h.pending.depth and h.node.probability]
            new += [n for n in fresh if _scaled(n, whole.exponent) > least]
        return new


def _unweighed(node: Node) -> Iterable[Node]:
    """The ancestors whose rows are missing for the node's probability."""
    while node.probability is None:
        assert node.parent is not None
        node = node.parent
        yield node


def _top(nodes: Iterable[Node]) -> int:
    """The largest exponent of the nodes' probabilities."""
    known = (node.probability for node in nodes if node.probability)
    return max((exponent for mantissa, exponent in known if mantissa), default=0)


def _scaled(node: Node, exponent: int) -> float:
    """The node's probability divided by 2^exponent."""
    assert node.probability is not None
    return math.ldexp(node.probability[0], node.probability[1] - exponent)


def total_mass(
    heads: Heads,
    rows: dict[Node, Row],
    vocabulary: sorted_vocabulary.SortedVocabulary,
    unknown: Iterable[Node] = (),
) -> Fraction:
    """The sum of the masses of those heads whose mass is known, and of the whole probability of the nodes
    `unknown`."""
    unknown = list(unknown)
    top = _top([*(h.node for h in heads), *unknown])
    mass = 0.0
    for node, pending in heads:
        if node in rows and node.probability and pending.depth:
            longer = rows[node].between(pending.lo + vocabulary.ending(pending), pending.hi)
            mass += longer / rows[node].total * _scaled(node, top)
        elif not pending.depth and node not in unknown and (node.probability or not unknown):
            mass += _scaled(node, top)
    for node in unknown:
        mass += _scaled(node, top)
    mantissa, shift = math.frexp(mass)
    return Fraction(mantissa, top + shift)
