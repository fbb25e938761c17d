"""Which tokens byte pair encoding never puts next to each other within a piece.

A sequence of tokens is what BPE makes of its bytes if and only if BPE makes each of its tokens, and each pair
of neighbours, of theirs. A pair is never made if a merge across its border would have come first. The left
token l was merged from parts; those at its right edge, s0 = l, s1 = right(s0), ..., each stood at the border
until the merge into the part above. The same holds for the left edge of the right token t, u0 = t, u1 =
left(u0), ... So l t is not made if and only if some merge (si, uj) has a rank before both of these merges (or
at equal rank, if it is further left). With lists of the tokens at whose left edge a part stands, all t that
cannot follow l are found at once.

This holds if every merge comes after those that make its parts, as it is for all vocabularies that BPE was
trained to. For others every pair is encoded and compared, which is slow and right (`encoded_invalid`).

Reference for the property: Berglund and van der Merwe, "Formalizing BPE Tokenization", 2023.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt

I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]

_NEVER = np.int64(1) << 40
_HELD = 1 << 14


class Pairs:
    """The forbidden neighbours of a BPE vocabulary.

    size: the number of ids. made: (left, right, result) of each merge, best rank first, as ids. strings: of
    the ids that BPE knows. encode: BPE of such strings, without a pre-tokenizer.
    """

    def __init__(
        self,
        size: int,
        made: Sequence[tuple[int, int, int]],
        strings: Mapping[int, str],
        encode: Callable[[str], list[int]],
    ) -> None:
        self._strings, self._encode = strings, encode
        self.size = size
        self.left, self.right = np.full(size, -1, np.int64), np.full(size, -1, np.int64)
        self.rank = np.full(size, -1, np.int64)
        merges = np.array(made, np.int64).reshape(-1, 3)
        for rank, (a, b, c) in enumerate(merges.tolist()):
            if self.rank[c] < 0:
                self.left[c], self.right[c], self.rank[c] = a, b, rank
        several = len(np.unique(merges[:, 2])) != len(merges)
        parts = self.rank[merges[:, :2]].max(axis=1, initial=-1)
        self.is_trained = not several and bool((parts < np.arange(len(merges))).all())
        by_left = np.argsort(merges[:, 0], kind="stable")
        self._next = (merges[by_left, 1], by_left, _offsets(merges[:, 0], size))
        self._edges = self._find_edges()
        self.invalid = lru_cache(_HELD)(self.merged_invalid if self.is_trained else self.encoded_invalid)

    def _find_edges(self) -> tuple[I64, I64, I64]:
        """(tokens, limits, offsets): the tokens with part p at their left edge are [offsets[p] ..
        offsets[p + 1]] of `tokens`; each of p's merges there has the rank in `limits`."""
        token = np.arange(self.size)
        part, limit = token, np.full(self.size, _NEVER)
        parts, tokens, limits = [part], [token], [limit]
        while len(part := part[(more := self.left[part] >= 0)]):
            token, limit, part = token[more], self.rank[part], self.left[part]
            parts.append(part)
            tokens.append(token)
            limits.append(limit)
        every = np.concatenate(parts)
        order = np.argsort(every, kind="stable")
        return np.concatenate(tokens)[order], np.concatenate(limits)[order], _offsets(every, self.size)

    def merged_invalid(self, token: int) -> I32:
        """The ids that cannot follow `token` within a piece, ascending; by the ranks of merges."""
        found: list[I64] = []
        right_parts, ranks, starts = self._next
        tokens, limits, edges = self._edges
        part, until = token, int(_NEVER)
        while part >= 0:
            mine = slice(starts[part], starts[part + 1])
            soon = ranks[mine] < until
            merge_rank, beside = ranks[mine][soon], right_parts[mine][soon]
            where, source = _ranges(edges[beside], edges[beside + 1])
            found.append(tokens[where[merge_rank[source] <= limits[where]]])
            part, until = int(self.right[part]), int(self.rank[part])
        return np.unique(np.concatenate(found)).astype(np.int32)

    def encoded_invalid(self, token: int) -> I32:
        """The same for any BPE, by encoding every pair."""
        mine = self._strings[token]
        bad = [i for i, other in self._strings.items() if self._encode(mine + other) != [token, i]]
        return np.array(sorted(bad), np.int32)


def _offsets(keys: I64, size: int) -> I64:
    """Where each key begins when the keys are sorted."""
    return np.concatenate([[0], np.cumsum(np.bincount(keys, minlength=size))]).astype(np.int64)


def _ranges(begin: I64, end: I64) -> tuple[I64, I64]:
    """All indices of several ranges, and for each of them the number of its range."""
    sizes = end - begin
    source = np.repeat(np.arange(len(begin)), sizes)
    within = np.arange(int(sizes.sum())) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return begin[source] + within, source
