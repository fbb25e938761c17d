"""Scores words or sentences by the change in the language model's predictions when they are left out.

This is attribution by perturbation, as in Zhao and Shan 2024, "ReAGent": text matters if it changes the
model's distributions of the following text. The perturbation is that of compression: the word is left
out. The change is the Kullback-Leibler divergence of the next tokens' distributions with the word from
those without it. The tokens directly after the word depend on the phrase ("of" would matter most), later
ones on its subject, so only the latter count. With a query, the query also follows the text: the bits of
it that a sentence saves count for each of its words. (FrugalPrompt, Raiyan
et al. 2025, also ranks tokens by salience, taken from inside an encoder.)

Cost. Everything after a word would have to be recomputed, so it is cut short: the branch of a word starts
after the text before it and reads the next AHEAD tokens of the text after it. Many branches share one
token tree and one pass over the layers. English has 1.3 tokens per word, so a token of the text costs
about 8 rows of the model for words and 1.5 for sentences, and 2 more with a query; self-information costs
1.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np

from nacrith.arith import F32, F64
from nacrith.models.protocol import LOGIT_BITS, LanguageModel, Logits, Session
from nacrith.prompt.scorers.language_model import bits_saved, byte_offsets, token_ends
from nacrith.prompt.segment import WORD, Passage

AHEAD = 8
"""Tokens of a branch: the number of following tokens that are read without the word."""

NEAR = 2
"""Number of their first rows that do not count."""

_BRANCHES = 192  # rows of one tree with more than one range: bounds memory
_LONGEST = 96  # most tokens left out at a time: longer words and sentences are divided
_FEED = 64
_END = "\n\nQuestion: {}\nAnswer:"  # follows the last word
_ANY_QUERY = "What does the text say?"

Range = tuple[int, int]
"""Tokens to leave out: the first, and one past the last."""


class AttributionScorer:
    """Bits of the following text that would be lost with a word, or a sentence; see above.

    window: tokens of context, at most the model's own limit.
    """

    causal = False

    def __init__(self, model: LanguageModel, *, by_sentence: bool = False, window: int = 1024) -> None:
        self.model = model
        self.by_sentence = by_sentence
        self.name = "attribution-sentence" if by_sentence else "attribution"
        # A quarter, so that a lane can start with half a window and then hold the largest tree.
        self.window = min(window, model.max_context, model.max_length // 4)

    def score(self, passages: Sequence[Passage], query: str) -> list[F64]:
        """Scores; not negative without a query, 0 for units that are not words."""
        separator = "\n\n"
        ids, ends = token_ends(self.model, separator.join(p.text for p in passages).encode())
        base = 0
        pieces: list[list[list[Range]]] = []  # for each passage, for each of its units or sentences
        for p in passages:
            at = base + byte_offsets(p.text)
            first = np.searchsorted(ends, at[p.starts], "right")
            last = np.searchsorted(ends, at[p.ends] - 1, "right") + 1
            if self.by_sentence:
                ranges = [(int(first[a]), int(last[b - 1])) for a, b in p.sentences]
            else:
                ranges = list(zip(first.tolist(), last.tolist(), strict=True))
            words = np.ones(len(ranges), bool) if self.by_sentence else p.kinds == WORD
            pieces.append([_cut(r) if w else [] for r, w in zip(ranges, words, strict=True)])
            base = int(at[-1]) + len(separator)
        wanted = sorted({r for found in pieces for unit in found for r in unit})
        end = self.model.tokenizer.encode(_END.format(query.strip() or _ANY_QUERY).encode())
        lost = dict(zip(wanted, self._lost([*ids, *end], wanted), strict=True))
        out = [np.array([_mean([lost[r] for r in unit]) for unit in found]) for found in pieces]
        return [score + self._for_query(p, query) for p, score in zip(passages, out, strict=True)]

    def _for_query(self, p: Passage, query: str) -> F64:
        """For each unit or sentence, the bits of the query that its sentence saves."""
        count = len(p.sentences)
        if not query.strip() or not count:
            return np.zeros(count if self.by_sentence else len(p))
        saved = bits_saved(self.model, [p.sentence_text(i) for i in range(count)], query)
        return saved if self.by_sentence else np.where(p.kinds == WORD, saved[p.sentence], 0.0)

    def _lost(self, text: list[int], ranges: Sequence[Range]) -> Iterator[float]:
        """For each range, in ascending order, the bits lost in the text after it."""
        session: Session | None = None
        begin = at = 0  # the lane holds the start token and text[begin:at]
        batches = list(_batches(ranges))
        for i, batch in enumerate(batches):
            first, last = batch[0][0], max(b for _, b in batch)
            if session is None or 1 + last + AHEAD - begin > self.model.max_length:
                session = self.model.session(1, self.window)
                session.extend([[self.model.bos_id]])
                begin = at = max(0, first - self.window // 2)
            for a in range(at, first, _FEED):
                session.extend([text[a : min(a + _FEED, first)]])
            chain = text[first : last + AHEAD]
            tokens, parents = chain.copy(), [*range(-1, len(chain) - 1)]
            branches = []
            for a, b in batch:
                after = text[b : b + AHEAD]
                branches.append((b - first, len(tokens), len(after)))
                parents += [a - first - 1, *range(len(tokens), len(tokens) + len(after) - 1)]
                tokens += after
            rows = _log2(session.extend_tree([tokens], [parents])[0])
            yield from (_divergence(rows[m : m + n], rows[f : f + n]) for m, f, n in branches)
            at = min(last, batches[i + 1][0][0]) if i + 1 < len(batches) else last
            session.keep(0, range(at - first))


def _cut(whole: Range) -> list[Range]:
    """Divide a range into ranges of at most _LONGEST tokens and about equal length."""
    a, b = whole
    count = -(-(b - a) // _LONGEST)
    return list(pairwise(a + (b - a) * i // count for i in range(count + 1)))


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0


def _batches(ranges: Sequence[Range]) -> Iterator[list[Range]]:
    """Group ranges, in ascending order, such that the branches of a group and the text between them fit
    into one tree."""
    batch: list[Range] = []
    for a, b in ranges:
        if batch and b - batch[0][0] + AHEAD * (len(batch) + 2) > _BRANCHES:
            yield batch
            batch = []
        batch.append((a, b))
    if batch:
        yield batch


def _log2(rows: Logits) -> F32:
    """log2 of the probabilities that fixed-point weights represent."""
    x = rows.astype(np.float32) * np.float32(2.0**-LOGIT_BITS)
    x -= x.max(axis=1, keepdims=True)
    x -= np.log2(np.exp2(x).sum(axis=1, keepdims=True))
    return x


def _divergence(given: F32, without: F32) -> float:
    """Bits lost if the rows `without` replace the rows `given`, summed over the rows that count.

    Rows are log2 of probabilities; the last row always counts.
    """
    far = slice(min(NEAR, len(given) - 1), None)
    lost = np.exp2(given[far]) * (given[far] - without[far])
    return max(0.0, float(lost.sum()))  # rounding can make it negative
