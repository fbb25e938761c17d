"""Several drafts of a continuation at the cost of one, with transformers; approximate, as its function says.

Superposed Decoding (Shen et al. 2024, arXiv 2405.18400): in place of one token per draft, the model is given
one embedding, the mean of the drafts' last tokens by their probabilities, and its row serves all drafts.
No draft is a sample of the model, nor the likeliest text, unless there is only one; they are suggestions, as
for completing what somebody types. The paper blends in n-grams of a large corpus, which here are the
caller's. The exact engine takes token ids only, so this runs on models of transformers.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import torch

from nacrith.errors import DecodingError

_SHARED = 9  # tokens of the common row that drafts may go on with
_ORDERS = {2: 0.01, 3: 0.04, 4: 0.15, 5: 0.18, 6: 0.12}  # of n-grams, and their weights
_LEAST = 1e-6  # probability of what no n-gram has


class Draft(NamedTuple):
    """tokens: after the prompt. score: a logarithm, for comparing drafts of one call only."""

    tokens: list[int]
    score: float


class NGrams:
    """Counts of 2 to 6 tokens in texts of token ids, interpolated by the paper's weights."""

    def __init__(self, texts: Iterable[Sequence[int]]) -> None:
        self._counts: Counter[tuple[int, ...]] = Counter()
        self._contexts: Counter[tuple[int, ...]] = Counter()
        for text in texts:
            for order in _ORDERS:
                for end in range(order, len(text) + 1):
                    gram = tuple(text[end - order : end])
                    self._counts[gram] += 1
                    self._contexts[gram[:-1]] += 1

    def chance(self, before: Sequence[int], token: int) -> float:
        """How likely `token` is after `before`, at least 1e-6."""
        found = 0.0
        for order, weight in _ORDERS.items():
            gram = (*before[len(before) - order + 1 :], token) if len(before) >= order - 1 else ()
            if gram and (seen := self._contexts[gram[:-1]]):
                found += weight * self._counts[gram] / seen
        return max(_LEAST, found / sum(_ORDERS.values()))


def approximate_drafts(
    model: Any,
    prompt: Sequence[int],
    *,
    drafts: int = 3,
    tokens: int = 10,
    ngrams: NGrams | None = None,
    alpha: float = 0.54,
) -> list[Draft]:
    """`drafts` continuations of `tokens` tokens, the best first, for one pass of one position a token.

    model: a decoder of transformers. prompt: token ids, at least one. ngrams: tell which tokens go with which
    draft, weighted by `alpha` (0 to 1); without them all drafts go on with the likeliest tokens of the row.
    DecodingError for a value that is not allowed.
    """
    if not prompt or drafts < 1 or tokens < 1 or not 0 <= alpha <= 1:
        raise DecodingError("give a prompt, at least one draft of one token, and an alpha from 0 to 1")
    table = model.get_input_embeddings()
    ids = torch.tensor([list(prompt)], device=table.weight.device)
    with torch.no_grad():
        out = model(input_ids=ids, use_cache=True)
        row = torch.log_softmax(out.logits[0, -1].float(), dim=-1)
        first = row.topk(min(drafts, len(row)))
        best = [Draft([int(t)], float(p)) for t, p in zip(first.indices, first.values, strict=True)]
        while len(best[0].tokens) < tokens:
            weights = torch.softmax(torch.tensor([draft.score for draft in best]), dim=0)
            last = torch.tensor([draft.tokens[-1] for draft in best], device=ids.device)
            mixed = (weights.to(table.weight)[:, None] * table(last)).sum(dim=0)
            out = model(inputs_embeds=mixed[None, None], use_cache=True, **_cache(out))
            row = torch.log_softmax(out.logits[0, -1].float(), dim=-1)
            best = _longer(best, row, list(prompt), drafts, ngrams, alpha)
    return best


def _longer(
    best: list[Draft], row: torch.Tensor, prompt: list[int], count: int, ngrams: NGrams | None, alpha: float
) -> list[Draft]:
    """The best `count` of all drafts with all tokens that the common row (V,) names."""
    shared = row.topk(min(_SHARED, len(row)))
    found = []
    for draft in best:
        for token, chance in zip(shared.indices.tolist(), shared.values.tolist(), strict=True):
            score = chance
            if ngrams is not None:
                own = math.log(ngrams.chance([*prompt, *draft.tokens], token))
                score = (1 - alpha) * chance + alpha * own
            found.append(Draft([*draft.tokens, token], draft.score + score))
    return sorted(found, key=lambda draft: -draft.score)[:count]


def _cache(out: Any) -> dict[str, Any]:
    """What the last pass kept, by the name that this version of transformers gives it."""
    name = "cache" if "cache" in out else "past_key_values"
    return {name: out[name]}
