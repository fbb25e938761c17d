"""Token recycling: after each token, what the model found likely the last time (Luo et al. 2024).

An adjacency table of V x WIDTH tokens, overwritten by every row the model computes. It costs nothing that
was not computed anyhow and always has a draft. Set 1 of the codec is without it: it repeats what the
model itself thought at an earlier place; bench/coding/ablation.py measures it in place of the match model.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nacrith.predictors.protocol import Logits

WIDTH = 8


class Recycling:
    """table: int32 (V, WIDTH), likeliest first; -1 where no row has been seen."""

    def __init__(self, vocab_size: int) -> None:
        self.table = np.full((vocab_size, WIDTH), -1, np.int32)

    def observe(self, token: int, logits: Logits) -> None:
        """logits: the row that followed `token`."""
        width = min(WIDTH, len(logits))
        best = np.argpartition(logits, len(logits) - width)[len(logits) - width :]
        order = np.lexsort((best, -logits[best].astype(np.int64)))
        self.table[token, :width] = best[order]

    def after(self, token: int) -> list[int]:
        """Likeliest followers of `token`, best first."""
        row = self.table[token]
        return [int(t) for t in row[row >= 0]]

    def draft(self, token: int, length: int) -> list[int]:
        """The chain of best followers."""
        chain: list[int] = []
        while len(chain) < length:
            followers = self.after(token)
            if not followers:
                break
            token = followers[0]
            chain.append(token)
        return chain

    def tree(self, token: int, widths: Sequence[int]) -> tuple[list[int], list[int]]:
        """Tokens and parents (-1: `token`) of the tree that gives every node of depth d the best widths[d]
        followers; parents come before children."""
        tokens: list[int] = []
        parents: list[int] = []
        level = [(-1, token)]
        for width in widths:
            following = []
            for parent, at in level:
                for follower in self.after(at)[:width]:
                    following.append((len(tokens), follower))
                    tokens.append(follower)
                    parents.append(parent)
            level = following
        return tokens, parents
