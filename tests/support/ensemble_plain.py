"""A second reader of coding 3: the rows of an ensemble, plain and slow, made from formats/coding-v3.md alone.

It imports nothing of nacrith: the rows of the members are passed in. `Joined` is its face, and gives rows to
`coding_plain.decode_lanes`. Sections are those of the document; `Tokens` is section 6 of model-v1.md.

Whether a token sequence begins the encoding of some text is found by encoding texts, with each of
`CONTINUATIONS` behind the bytes. These stand for all others with the patterns of the tiny models.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from itertools import pairwise
from typing import NamedTuple

from coding_plain import counts_alone
from slow_reference import exp2, f32, rint
from tokenizers import Regex
from tokenizers.pre_tokenizers import Sequence as Steps
from tokenizers.pre_tokenizers import Split

CONTINUATIONS = [
    b"",
    *(c.encode() for c in "aA1 \n._'\u00e9\u4f60"),
    b" a",
    b"  ",
    b" \n",
    b"\n\n",
    b"'s",
    b"\x80",
    b"\xa9",
]

Row = Callable[[Sequence[int]], Sequence[int]]
"""A member's row after its start token and these ids."""


def total(terms: Iterable[float]) -> float:
    """Their sum, from the first."""
    result = 0.0
    for term in terms:
        result += term
    return result


def log2(v: float) -> float:
    """Section 2."""
    m, e = math.frexp(v)
    r = math.sqrt(0.5)
    t = (m - r) / (m + r)
    u, c = t * t, 2.8853900817779268
    s = c / 11
    for n in (9, 7, 5, 3, 1):
        s = s * u + c / n
    return (e - 0.5) + s * t


class Tokens:
    """A tokenizer, from its definition."""

    def __init__(self, definition: bytes) -> None:
        fields = json.loads(definition)
        kept = [b for low, high in ((0x21, 0x7E), (0xA1, 0xAC), (0xAE, 0xFF)) for b in range(low, high + 1)]
        other = [b for b in range(256) if b not in kept]
        self.letter = {b: chr(b) for b in kept} | {b: chr(256 + i) for i, b in enumerate(other)}
        byte_of = {letter: b for b, letter in self.letter.items()}
        self.ids: dict[str, int] = {}
        self.bytes: list[bytes] = []
        for i, string in enumerate(fields["vocab"]):
            self.ids.setdefault(string, i)
            is_text = i not in fields["special"] and all(c in byte_of for c in string)
            self.bytes.append(bytes(byte_of[c] for c in string) if is_text else b"")
        self.merges = {tuple(pair.split(" ")): i for i, pair in enumerate(fields["merges"])}
        self.whole_words, self.escape = fields["whole_words"], fields["escape"]
        self.split = Steps([Split(Regex(p), "isolated") for p in fields["patterns"]])
        self.missing = [b for b in range(256) if self.letter[b] not in self.ids]
        self.piece = cache(self._piece)
        self.text = cache(self._text)

    def of_byte(self, b: int) -> tuple[int, ...]:
        if b not in self.missing:
            return (self.ids[self.letter[b]],)
        return (self.escape, *(self.ids[digit] for digit in f"{b:02x}"))

    def _piece(self, piece: str) -> list[int]:
        parts = [self.letter[b] for b in piece.encode()]
        if self.whole_words and "".join(parts) in self.ids:
            return [self.ids["".join(parts)]]
        while True:
            ranks = [(self.merges.get(pair, math.inf), i) for i, pair in enumerate(pairwise(parts))]
            if not ranks or min(ranks)[0] == math.inf:
                return [self.ids[part] for part in parts]
            at = min(ranks)[1]
            parts[at : at + 2] = [parts[at] + parts[at + 1]]

    def _text(self, text: str) -> list[int]:
        return (
            [i for piece, _ in self.split.pre_tokenize_str(text) for i in self.piece(piece)] if text else []
        )

    def encode(self, data: bytes) -> list[int]:
        ids: list[int] = []
        run = ""
        for character in data.decode("utf-8", "surrogateescape"):
            single = character.encode("utf-8", "surrogateescape")
            if "\udc80" <= character <= "\udcff" or any(b in self.missing for b in single):
                ids += self.text(run) + [i for b in single for i in self.of_byte(b)]
                run = ""
            else:
                run += character
        return ids + self.text(run)


# Section 3


class Letter(NamedTuple):
    """A token of the alphabet. ids: three of a spelt one."""

    bytes: bytes
    ids: tuple[int, ...]


class Node(NamedTuple):
    ids: tuple[int, ...]
    bytes: bytes
    probability: tuple[float, int]


class Member:
    def __init__(self, definition: bytes, start: int, row: Row) -> None:
        self.tokens, self.start, self.row = Tokens(definition), start, row
        self.spelt = len(self.tokens.missing)
        plain = [Letter(b, (i,)) for i, b in enumerate(self.tokens.bytes) if b]
        spelt = [Letter(bytes([b]), self.tokens.of_byte(b)) for b in self.tokens.missing]
        self.alphabet = sorted(plain, key=lambda t: (t.bytes, t.ids)) + spelt
        self.alphabet.sort(key=lambda t: t.bytes)
        self.weights = cache(self._weights)

    def _begins(self, ids: tuple[int, ...], data: bytes) -> bool:
        """Whether the ids begin the encoding of some text."""
        return any(tuple(self.tokens.encode(data + more)[: len(ids)]) == ids for more in CONTINUATIONS)

    def _weights(self, ids: tuple[int, ...], data: bytes) -> tuple[list[int], int, int]:
        """Of the node with these ids and bytes: weights in the order of the alphabet, stop, total."""
        c = counts_alone(list(self.row(ids)))
        times = self.spelt or 1
        weights = []
        for token in self.alphabet:
            weight = c[token.ids[0]] * (times if len(token.ids) == 1 else 1)
            weights.append(weight if self._begins((*ids, *token.ids), data + token.bytes) else 0)
        stop = c[self.start] * times if tuple(self.tokens.encode(data)) == ids else 0
        return weights, stop, sum(weights) + stop or 1


class Reader:
    """The state of one member, after bytes."""

    def __init__(self, member: Member) -> None:
        self.member, self.data = member, b""
        self.heads = [Node((), b"", (0.5, 1))]

    def push(self, byte: int) -> None:
        self.data += bytes([byte])
        before, self.heads = self.heads, []
        for node in before:
            if any(len(b) > len(self.data) - len(node.bytes) for b in self._next(node)):
                self.heads.append(node)
        for node in before:
            self.heads += self._ended(node)

    def _next(self, node: Node) -> Iterator[bytes]:
        """The bytes of the tokens that may follow and begin with what is pending."""
        pending = self.data[len(node.bytes) :]
        weights = self.member.weights(node.ids, node.bytes)[0]
        return (
            t.bytes
            for t, w in zip(self.member.alphabet, weights, strict=True)
            if w and t.bytes.startswith(pending)
        )

    def _ended(self, node: Node) -> Iterator[Node]:
        weights, _, whole = self.member.weights(node.ids, node.bytes)
        m, e = node.probability
        for token, weight in zip(self.member.alphabet, weights, strict=True):
            if weight and node.bytes + token.bytes == self.data:
                scaled, shift = math.frexp(m * (weight / whole))
                yield Node((*node.ids, *token.ids), self.data, (scaled, e + shift))

    def distribution(self) -> list[float]:
        top = max(node.probability[1] for node in self.heads if node.probability[0])
        masses = [0.0] * 257
        for node in self.heads:
            pending = self.data[len(node.bytes) :]
            weights, stop, whole = self.member.weights(node.ids, node.bytes)
            f = math.ldexp(node.probability[0], node.probability[1] - top) / whole
            by_byte = [0] * 256
            for token, weight in zip(self.member.alphabet, weights, strict=True):
                if token.bytes.startswith(pending) and len(token.bytes) > len(pending):
                    by_byte[token.bytes[len(pending)]] += weight
            for b, weight in enumerate(by_byte):
                masses[b] += f * weight
            if not pending:
                masses[256] += f * stop
        whole_mass = total(masses)
        return [mass / whole_mass for mass in masses]


# Sections 2 and 4


class Mixed:
    """Section 4, of n members."""

    def __init__(self, n: int) -> None:
        self.leaning = [[0.9 if i == j else 0.2 / (n - 1) for i in range(n)] for j in range(n)]
        self.g = [1 / n] * n
        self.h = [0.5 / (n + 1)] * (n + 1) + [0.5 / n] * n
        self.v, self.t = list(self.h), 0

    def row(self, members: list[list[float]]) -> list[int]:
        """The row, of the distributions of the members."""
        self.logs = [[log2(max(x, 2.0**-60)) for x in p] for p in members]
        self.m = [self._product(e) for e in (self.g, *self.leaning)] + members
        q = [total(h * m[s] for h, m in zip(self.h, self.m, strict=True)) for s in range(257)]
        whole = total(q)
        return [rint(65536.0 * log2(max(x / whole, 2.0**-60))) for x in q[:256]]

    def _product(self, exponents: Sequence[float]) -> list[float]:
        a = [total(e * logs[s] for e, logs in zip(exponents, self.logs, strict=True)) for s in range(257)]
        top = max(a)
        powers = [float(exp2(f32(x - top))) for x in a]
        whole = total(powers)
        return [x / whole for x in powers]

    def learn(self, b: int) -> None:
        self.t += 1
        rate, again = 0.003 + 0.015 / (1 + self.t / 100), 0.002 + 0.02 / (1 + self.t / 100)
        means = [total(p * x for p, x in zip(self.m[0], logs, strict=True)) for logs in self.logs]
        o = [h * m[b] for h, m in zip(self.h, self.m, strict=True)]
        whole = total(o)
        if whole > 0:
            o = [x / whole for x in o]
            self.v = [v + (x - v) / (self.t + 15) for v, x in zip(self.v, o, strict=True)]
            self.h = [x * (1 - again) + v * again for x, v in zip(o, self.v, strict=True)]
        self.g = [g + rate * (logs[b] - mean) for g, logs, mean in zip(self.g, self.logs, means, strict=True)]


class Joined:
    """One lane of an ensemble."""

    def __init__(self, members: Sequence[Member]) -> None:
        self.readers = [Reader(m) for m in members]
        self.mixed = Mixed(len(members))

    def row(self, data: Sequence[int]) -> list[int]:
        """After these bytes: those of the last call, and one more."""
        if data:
            self.mixed.learn(data[-1])
            for reader in self.readers:
                reader.push(data[-1])
        return self.mixed.row([reader.distribution() for reader in self.readers])
