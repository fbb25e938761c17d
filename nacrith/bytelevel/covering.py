"""Which token sequences the tokenizer can make: the nodes of the covering tree, and their allowed successors.

A byte string x is covered by the token sequences whose bytes reach to the end of x, the last token perhaps
beyond it, and that begin the encoding of some text. Their probabilities sum to that of x (Byte-Token
Representation Lemma: Phan et al., "Exact Byte-Level Probabilities from Tokenized Language Models", 2024).
It is exact only if no probability is lost to other sequences, so a node's distribution is restricted to the
tokens that can follow: by `allowed`, the validity mask.

A token t can follow a node if, with some pattern of cuts that the pre-tokenizer may make of all bytes so far
(`pretokens`), no cut falls inside t, and where there is no cut, BPE makes the two tokens of their bytes
(`pairs`). A node keeps the patterns that agree with its tokens, `open`, for the bytes since the last cut
that is certain, its `region`. So validity depends on the bytes and tokens of a few pieces only.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple
from weakref import WeakValueDictionary, ref

import numpy as np
import numpy.typing as npt

from nacrith.bytelevel.alphabet import Alphabet
from nacrith.bytelevel.pretokens import HARD, Cuts, Kinds, PreTokens, Shape
from nacrith.bytelevel.rows import Row
from nacrith.errors import ModelError
from nacrith.models.protocol import Tokenizer
from nacrith.models.tokenizer.byte_bpe import ByteTokenizer

Mask = npt.NDArray[np.bool_]

_TABLES = 1 << 9
_LONG = 256  # bytes of a piece: more are forgotten where they make no difference
_REGIONS = 1 << 16


@dataclass(frozen=True)
class Region:
    """Bytes from a certain cut on. patterns: what cuts are possible strictly inside, positions in bytes.
    sure: how many bytes precede the last cut that all patterns have."""

    data: bytes
    shape: Shape
    completions: Kinds
    patterns: tuple[Cuts, ...]
    sure: int


class Node:
    """A token sequence that begins the encoding of some text: a parent's, and one token.

    rank: of the token in the alphabet; -1 for the root. depth: how many tokens. end: how many bytes.
    open: the patterns of the region that agree with the tokens, each with whether the piece that it leaves
    open at the end is a single token.
    probability: m * 2^e of the sequence as (m, e), 0.5 <= m < 1; None until the parent is evaluated.
    """

    __slots__ = (
        "__weakref__",
        "children",
        "depth",
        "end",
        "open",
        "parent",
        "probability",
        "rank",
        "region",
        "row",
    )

    def __init__(
        self, parent: Node | None, rank: int, end: int, region: Region, open: dict[Cuts, bool]
    ) -> None:
        self.parent, self.rank, self.end = parent, rank, end
        self.region, self.open = region, open
        self.depth: int = parent.depth + 1 if parent else 0
        self.probability: tuple[float, int] | None = None if parent else (0.5, 1)
        self.children: WeakValueDictionary[int, Node] = WeakValueDictionary()
        self.row: ref[Row] | None = None

    @property
    def held_row(self) -> Row | None:
        """The row, if somebody holds it."""
        return self.row() if self.row else None


@dataclass(frozen=True)
class _Table:
    """What may follow a region, for each of its patterns: tokens before which there can be a cut, and tokens
    before which there can be none. bool (patterns, N)."""

    cut: Mask
    stay: Mask


class _Kind(NamedTuple):
    """A shape as the pre-tokenizer sees it: the length of its tail, and how that may be completed."""

    text: str
    tail: int
    completions: Kinds


class Covering:
    """The token sequences that a tokenizer makes.

    ModelError for a tokenizer that is not byte-level BPE, or whose expressions look backwards.
    """

    def __init__(self, tokenizer: Tokenizer, vocab_size: int, ends: Sequence[int]) -> None:
        if not isinstance(tokenizer, ByteTokenizer):
            raise ModelError(
                "exact byte-level probabilities need a byte-level BPE tokenizer; a beam works with any"
            )
        self.alphabet = Alphabet(tokenizer, vocab_size, ends)
        rules = tokenizer.rules()
        self.pre = PreTokens(rules.expressions, rules.hard)
        if not self.pre.supported:
            raise ModelError(
                "the model's tokenizer looks at what precedes a piece of text; use a beam instead"
            )
        self.pairs = self.alphabet.pairs(rules)
        self._whole_words = rules.whole_words
        self._starts, self._merged = self.alphabet.starts, self.alphabet.merged
        self._group()
        self.region = lru_cache(_REGIONS)(self._find_region)
        self._end_cuts = lru_cache(_REGIONS)(lambda text: self.pre.cuts([text])[0])
        self._table = lru_cache(_TABLES)(self._make_table)
        self._invalid = lru_cache(_TABLES << 4)(self._find_invalid)
        self._union = lru_cache(_TABLES)(self._unite)

    @property
    def root(self) -> Node:
        return Node(None, -1, 0, self.region(b""), {(): False})

    def child(self, node: Node, rank: int) -> Node | None:
        """The node of `node`'s tokens and one more; None if no text is encoded so. As long as somebody holds
        it, it is the same object."""
        child = node.children.get(rank)
        if child is None and (child := self._follow(node, rank)) is not None:
            node.children[rank] = child
        return child

    def _follow(self, node: Node, rank: int) -> Node | None:
        token = self.alphabet.token_bytes(rank)
        before = node.region.data
        region = self.region(before + token)
        place = len(before)
        found: dict[Cuts, bool] = {}
        for pattern in region.patterns:
            old = tuple(c for c in pattern if c < place)
            if old not in node.open or any(c > place for c in pattern):
                continue
            if place in pattern or not place:
                if self._starts[rank] and self._closes(node, old):
                    found[pattern] = True
            elif self._joins(node, rank):
                found[pattern] = False
        if not found:
            return None
        region, found = self._settled(region, found)
        return Node(node, rank, node.end + len(token), region, found)

    def _settled(self, region: Region, found: dict[Cuts, bool]) -> tuple[Region, dict[Cuts, bool]]:
        """The same, from the last certain cut on."""
        sure = region.sure
        if sure:
            rest = {tuple(c - sure for c in p if c > sure): single for p, single in found.items()}
            return self.region(region.data[sure:]), rest
        return self._shortened(region, found) if len(region.data) > _LONG else (region, found)

    def _shortened(self, region: Region, found: dict[Cuts, bool]) -> tuple[Region, dict[Cuts, bool]]:
        """The same without the inside of a long run, where that makes no difference."""
        part = _LONG // 4
        gone = len(region.data) - 2 * part
        shorter = self.region(region.data[:part] + region.data[-part:])
        place = {c: c if c <= part else c - gone for pattern in region.patterns for c in pattern}
        moved = {pattern: tuple(place[c] for c in pattern) for pattern in region.patterns}
        inside = any(part < c < part + gone for c in place)
        if inside or shorter.shape.text != region.shape.text or {*moved.values()} != {*shorter.patterns}:
            return region, found
        return shorter, {moved[pattern]: single for pattern, single in found.items()}

    def _joins(self, node: Node, rank: int) -> bool:
        """Whether the token can follow the node's last one within a piece."""
        if node.rank < 0 or not self._merged[rank] or not self._merged[node.rank]:
            return False
        invalid = self._invalid(node.rank)
        place = int(np.searchsorted(invalid, rank))
        return not (place < len(invalid) and invalid[place] == rank)

    def _closes(self, node: Node, pattern: Cuts) -> bool:
        """Whether the piece at the node's end may be over, if the cuts are these."""
        if not self._whole_words or node.open[pattern]:
            return True
        return not self.alphabet.is_token(node.region.data[pattern[-1] if pattern else 0 :])

    def can_end(self, node: Node) -> bool:
        """Whether the node's tokens are the encoding of their bytes."""
        text, _, tail = shape = node.region.shape
        pattern = tuple(shape.place(c) for c in self._end_cuts(text + HARD * len(tail)))
        return pattern in node.open and self._closes(node, pattern)

    def allowed(self, node: Node) -> Mask:
        """bool (N,): the tokens, by rank, that can follow."""
        either, cut = self._followers(node)
        if either is cut:
            return cut
        bad = self._invalid(node.rank)
        mask = either.copy()
        mask[bad] = cut[bad]
        return mask

    def may_follow(self, node: Node, lo: int, hi: int) -> bool:
        """Whether any of the tokens of ranks lo .. hi - 1 can follow."""
        either, cut = self._followers(node)
        if cut[lo:hi].any():
            return True
        count = int(np.count_nonzero(either[lo:hi]))
        if not count or either is cut:
            return False
        bad = self._invalid(node.rank)
        first, last = np.searchsorted(bad, (lo, hi))
        return count > int(np.count_nonzero(either[bad[first:last]]))

    def _followers(self, node: Node) -> tuple[Mask, Mask]:
        """(either, cut) of `_unite`; the same twice if nothing can follow within the piece."""
        region = node.region
        key = tuple((i, self._closes(node, p)) for i, p in enumerate(region.patterns) if p in node.open)
        either, cut = self._union(region.shape.text, region.shape.tail, key)
        return (either, cut) if node.rank >= 0 and self._merged[node.rank] else (cut, cut)

    def _unite(self, text: str, tail: bytes, key: tuple[tuple[int, bool], ...]) -> tuple[Mask, Mask]:
        """(either, cut): the tokens that may follow in some way, and those that may after a cut."""
        table = self._table(text, tail)
        cut = np.zeros(self.alphabet.size, np.bool_)
        stay = cut.copy()
        for index, closes in key:
            stay |= table.stay[index]
            if closes:
                cut |= table.cut[index]
        return (cut & self._starts) | (stay & self._merged), cut & self._starts

    def _find_invalid(self, rank: int) -> npt.NDArray[np.int32]:
        """The ranks that cannot follow within a piece, ascending."""
        order = self.alphabet.vocabulary
        return np.sort(order.rank[self.pairs.invalid(int(order.order[rank]))])

    def _find_region(self, data: bytes) -> Region:
        shape = self.pre.shape(data)
        completions = self.pre.completions(shape.tail)
        found = self.pre.patterns(shape.text, len(shape.tail), completions)
        patterns = tuple(tuple(shape.place(c) for c in cuts) for cuts in found)
        certain = set(patterns[0]).intersection(*patterns[1:])
        return Region(data, shape, completions, patterns, max(certain, default=0))

    def _group(self) -> None:
        """Group the tokens by shape, all of which the pre-tokenizer treats alike."""
        groups: dict[_Kind, int] = {}
        tokens = [self.alphabet.token_bytes(rank) for rank in range(self.alphabet.size)]
        self.pre.learn("".join({c for token in tokens for c in token.decode(errors="ignore")}))
        self._group_of = np.empty(self.alphabet.size, np.int64)
        for rank, token in enumerate(tokens):
            shape = self.pre.shape(token, inside=True)
            kind = _Kind(shape.text, len(shape.tail), self.pre.completions(shape.tail))
            self._group_of[rank] = groups.setdefault(kind, len(groups))
        self._groups = list(groups)

    def _make_table(self, text: str, tail: bytes) -> _Table:
        if tail:
            return self._make_tail_table(text, tail)
        place = len(text)
        patterns = {p: i for i, p in enumerate(self.pre.patterns(text, 0, ()))}
        cut = np.zeros((len(patterns), len(self._groups)), np.bool_)
        stay = cut.copy()
        for group, cuts in self._ask([k._replace(text=text + k.text) for k in self._groups]):
            if cuts and cuts[-1] > place:
                continue
            here = not place or cuts[-1:] == (place,)
            index = patterns[cuts[:-1] if here and place else cuts]
            (cut if here else stay)[index, group] = True
        return _Table(cut[:, self._group_of], stay[:, self._group_of])

    def _make_tail_table(self, text: str, tail: bytes) -> _Table:
        """The table of a region that ends within a character. Either a token continues the character, or the
        bytes of the tail turn out to stand on their own, and everything begins anew."""
        place, size = len(text), len(text) + len(tail)
        found = self.pre.patterns(text, len(tail), self.pre.completions(tail))
        patterns = {p: i for i, p in enumerate(found)}
        broken = patterns[tuple(c for c in self._end_cuts(text + HARD * len(tail)) if c < size)]
        cut = np.zeros((len(patterns), self.alphabet.size), np.bool_)
        stay = cut.copy()
        cut[broken] = self._table("", b"").cut[0]
        low, high = self.alphabet.vocabulary.boundaries(self.alphabet.vocabulary.root)[[0x80, 0xC0]].tolist()
        cut[broken, low:high] = False
        shapes = [self.pre.shape(tail + self.alphabet.token_bytes(r)) for r in range(low, high)]
        kinds = [_Kind(text + s.text, len(s.tail), self.pre.completions(s.tail)) for s in shapes]
        several = [len(self.alphabet.token_bytes(r)) > 1 for r in range(low, high)]
        groups = {k: i for i, k in enumerate(dict.fromkeys(zip(kinds, several, strict=True)))}
        of = np.array([groups[k] for k in zip(kinds, several, strict=True)], np.int64)
        new_cut = np.zeros((len(patterns), len(groups)), np.bool_)
        new_stay = new_cut.copy()
        keys = list(groups)
        for group, cuts in self._ask([kind for kind, _ in keys]):
            if cuts[-1:] == (size,) and (not place or place in cuts):
                if not keys[group][1] and cuts[:-1] in patterns:
                    new_cut[patterns[cuts[:-1]], group] = True
            elif (not cuts or cuts[-1] <= place) and cuts in patterns:
                # What is not in patterns: of a character that no completion of the tail stands for.
                new_stay[patterns[cuts], group] = True
        cut[:, low:high], stay[:, low:high] = new_cut[:, of], new_stay[:, of]
        return _Table(cut, stay)

    def _ask(self, kinds: Sequence[_Kind]) -> Iterator[tuple[int, Cuts]]:
        """(index of the kind, cuts of the text) for every kind and every witness of what follows it."""
        asked = [(i, q, limit) for i, k in enumerate(kinds) for q, limit in self.pre.questions(*k)]
        answers = self.pre.cuts([q for _, q, _ in asked])
        for (i, _, limit), cuts in zip(asked, answers, strict=True):
            yield i, tuple(c for c in cuts if c < limit)
