"""Rules R2 and R3: drafts that were drawn from one distribution become a token drawn from another one.

Rule R1 (`lanes`) accepts a draft if it is what plain decoding draws, which wastes a draft that was itself
drawn from nearly the right distribution. These rules accept it with probability min(1, p(x) / q(x)), p being
the target's distribution and q the draft's, and go on with what is left of p (R2: Leviathan et al. 2023), for
several drafts of one place that were drawn without replacement, one after the other (R3: Jeon et al. 2024,
Recursive Speculative Decoding). R2 is R3 with one draft. An answer has the same distribution as plain
decoding's, but for the same seed it is another answer.

Distributions are positive integer weights, and all arithmetic is in integers, so nothing is approximate.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence

Weights = Mapping[int, int]
"""A positive integer for each token that is possible."""

Choose = Callable[[Sequence[int]], int]
"""An index with a probability in proportion to its weight; weights are 0 or more."""


class Choices:
    """A source of independent choices, by a seed. Called with weights, it is a `Choose`."""

    def __init__(self, seed: int) -> None:
        self._key = b"nacrith residual 1" + seed.to_bytes(8, "little", signed=True)
        self._count = 0

    def __call__(self, weights: Sequence[int]) -> int:
        """The bias is below sum(weights) / 2^512."""
        digest = hashlib.sha512(self._key + self._count.to_bytes(8, "little")).digest()
        self._count += 1
        at = int.from_bytes(digest, "little") * sum(weights) >> 512
        for index, weight in enumerate(weights):
            at -= weight
            if at < 0:
                return index
        raise ValueError("no weight is positive")


def drawn(weights: Weights, choose: Choose) -> int:
    """A token by these weights."""
    tokens = list(weights)
    return tokens[choose([weights[token] for token in tokens])]


def verified(target: Weights, draft: Weights, drafts: Sequence[int], choose: Choose) -> tuple[int, bool]:
    """A token with exactly the distribution `target`, and whether it is one of the drafts.

    drafts: different tokens that were drawn from `draft`, without replacement, in this order.
    """
    p, q = dict(target), dict(draft)
    for token in drafts:
        p_sum, q_sum = sum(p.values()), sum(q.values())
        accept, all_ = p.get(token, 0) * q_sum, q[token] * p_sum
        if accept >= all_ or not choose([accept, all_ - accept]):
            return token, True
        # Positive for at least one token: `token` itself has less in p than in q, so another has more.
        p = {t: rest for t, w in p.items() if (rest := w * q_sum - q.get(t, 0) * p_sum) > 0}
        del q[token]
    return drawn(p, choose), False
