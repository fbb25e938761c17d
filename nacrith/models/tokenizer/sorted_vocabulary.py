"""A vocabulary sorted by the bytes of its tokens: the tokens that begin with given bytes are an interval.

Probabilities of bytes follow from it without a search. With a model's weights summed up in sorted order, the
weight of all tokens that begin with a prefix is a difference of two sums, and so is the weight of those that
go on with a certain byte, or with a byte that begins with certain bits. `byte_bpe` turns bytes into tokens;
this module knows no text, only how tokens are spelled.

Ranks are positions in the sorted order:

- ranks 0 .. spelled-1 are the tokens with bytes, in the order of their bytes (unsigned; a prefix comes
  before what it begins). Tokens of equal bytes are neighbours, in the order of their ids;
- ranks spelled .. size-1 are the tokens without bytes (special tokens, escapes, and rows of the model that
  its tokenizer does not use), in the order of their ids. No node contains them.

A *node* is the set of tokens that begin with certain bytes: (lo, hi, depth) stands for the ranks lo .. hi-1,
all of which share their first `depth` bytes. The root is (0, spelled, 0). The tokens of a node come in this
order: first those that end at it (exactly `depth` bytes), then by their next byte.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

I32 = npt.NDArray[np.int32]

_HELD = 1 << 14  # nodes whose boundaries are kept, 1 KiB each


class Node(NamedTuple):
    """The tokens of ranks lo .. hi-1, which are all that begin with the same `depth` bytes."""

    lo: int
    hi: int
    depth: int

    @property
    def is_empty(self) -> bool:
        return self.lo == self.hi


class SortedVocabulary:
    """The order of a vocabulary by bytes, and the way from node to node.

    tokens: the bytes of each id; b"" for a token without any.

    order: int32 (V,), the id at each rank. rank: int32 (V,), its inverse.
    spelled: how many tokens have bytes; size: V.
    text: uint8, the bytes of all tokens, one after the other in sorted order.
    offsets: int32 (V + 1,): the token of rank r is text[offsets[r] : offsets[r + 1]].
    """

    def __init__(self, tokens: Sequence[bytes]) -> None:
        order = sorted((i for i, t in enumerate(tokens) if t), key=tokens.__getitem__)  # stable: ties by id
        order += [i for i, t in enumerate(tokens) if not t]
        self._sorted = [tokens[i] for i in order]
        self.size = len(order)
        self.spelled = sum(map(bool, self._sorted))
        self.order: I32 = np.array(order, np.int32)
        self.rank: I32 = np.empty(self.size, np.int32)
        self.rank[self.order] = np.arange(self.size, dtype=np.int32)
        self.offsets: I32 = np.zeros(self.size + 1, np.int32)
        np.cumsum([len(t) for t in self._sorted], out=self.offsets[1:])
        self.text: npt.NDArray[np.uint8] = np.frombuffer(b"".join(self._sorted), np.uint8)
        self._boundaries = lru_cache(_HELD)(self._find_boundaries)

    @property
    def root(self) -> Node:
        return Node(0, self.spelled, 0)

    def with_tokens(self, more: Sequence[bytes]) -> SortedVocabulary:
        """The same tokens and these, which get the ids from `size` on."""
        tokens = [b""] * self.size
        for rank, token in zip(self.order.tolist(), self._sorted, strict=True):
            tokens[rank] = token
        return SortedVocabulary([*tokens, *more]) if more else self

    def token_bytes(self, rank: int) -> bytes:
        """The bytes of the token of a rank; b"" from `spelled` on."""
        return self._sorted[rank]

    def length(self, tokens: Sequence[int]) -> int:
        """How many bytes tokens have together."""
        ranks = self.rank[tokens]
        return int((self.offsets[ranks + 1] - self.offsets[ranks]).sum())

    def find(self, prefix: bytes) -> Node:
        """The node of the tokens that begin with `prefix`; empty if there is none."""
        node = self.root
        lo = bisect_left(self._sorted, prefix, node.lo, node.hi)
        if prefix:
            node = Node(lo, self._end(prefix, lo, node.hi), len(prefix))
        return node

    def child(self, node: Node, byte: int) -> Node:
        """The tokens of `node` that go on with `byte`; empty if there is none."""
        lo, hi, depth = node
        if lo == hi:
            return Node(lo, lo, depth + 1)
        prefix = self._sorted[lo][:depth] + bytes((byte,))
        lo = bisect_left(self._sorted, prefix, lo, hi)
        return Node(lo, self._end(prefix, lo, hi), depth + 1)

    def ending(self, node: Node) -> int:
        """How many tokens end exactly at `node`: the ranks lo .. lo + n - 1. Mostly 0 or 1; more where ids
        share their bytes; 0 at the root."""
        lo, hi, depth = node
        end = lo
        while end < hi and len(self._sorted[end]) == depth:
            end += 1
        return end - lo

    def boundaries(self, node: Node) -> I32:
        """int32 (257,): the tokens of `node` whose next byte is b are the ranks [b] .. [b + 1] - 1.

        [0] is lo + `ending`, [256] is hi. Those whose next byte begins with the k bits p are the ranks
        [p << 8 - k] .. [p + 1 << 8 - k] - 1. The array is shared: read only.
        """
        return self._boundaries(node)

    def _find_boundaries(self, node: Node) -> I32:
        lo, hi, depth = node
        first = lo + self.ending(node)
        column = self.text[self.offsets[first:hi] + depth]
        result = (first + np.searchsorted(column, np.arange(257))).astype(np.int32)
        result.flags.writeable = False
        return result

    def _end(self, prefix: bytes, lo: int, hi: int) -> int:
        """The first rank in lo .. hi whose bytes come after everything that begins with `prefix`."""
        whole = prefix.rstrip(b"\xff")
        if not whole:
            return hi
        return bisect_left(self._sorted, whole[:-1] + bytes((whole[-1] + 1,)), lo, hi)
