"""Compresses a prompt: combines segmentation, contract, scores and budget.

All other interfaces call `PromptCompressor.compress`. `compress_prompt` has the argument names and result
keys of LLMLingua (Jiang et al. 2023, Pan et al. 2024), but gives a stronger guarantee: the output never
has more tokens than allowed, counted by the reader's tokenizer over the whole output; otherwise a
`BudgetError` is raised.

In prefix-stable mode, the choice in each paragraph depends only on the text up to it, and may use the
budget that earlier paragraphs left. So for a text P that ends in a blank line, the output for P + Q
begins with the output for P, and a prompt cache remains valid.
"""

from __future__ import annotations

import hashlib
import math
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import numpy as np

from nacrith.arith import F64
from nacrith.errors import PromptError
from nacrith.prompt.budget import Choice, choose, too_much
from nacrith.prompt.counters import counter
from nacrith.prompt.document import Contract, Document, Part
from nacrith.prompt.protect import chosen_rules
from nacrith.prompt.result import Compressed, explain, unchanged
from nacrith.prompt.scorers import AUTO, make
from nacrith.prompt.scorers.auto import AutoScorer
from nacrith.prompt.scorers.protocol import Scorer
from nacrith.prompt.segment import WORD, Mask
from nacrith.prompt.structured import Rates, build

_REMEMBERED = 4096
_NONE = float("nan")
SEPARATOR = "\n\n"
"""Separates instruction, contexts and question."""


class PromptCompressor:
    """A scorer, a tokenizer to count with, and a contract; it can be used for many prompts.

    scorer: a name of `scorers.NAMES`, "auto" (lexrank if there is a query or the text is not English,
    else classifier), or an object (`scorers.protocol.Scorer`). model, threads, seed, download: for a
    scorer given by name, see `scorers.make`. tokenizer: see `counters.counter`; needed for budgets in
    tokens. protect: names of rules (`protect.RULES`), "all", "none", or names to leave out of all
    ("-number"). patterns: regular expressions of text that is also kept. forced: strings that are also
    kept. retain: "always", or "with_sentence": numbers, negations, quotations and the like are kept only
    in sentences of which something is kept.
    """

    def __init__(
        self,
        scorer: str | Scorer = AUTO,
        tokenizer: Any = None,
        *,
        model: Any = None,
        threads: int | None = None,
        seed: int = 0,
        download: bool = False,
        protect: str | Iterable[str] = "all",
        patterns: Sequence[str] = (),
        forced: Sequence[str] = (),
        retain: Literal["always", "with_sentence"] = "always",
    ) -> None:
        if retain not in ("always", "with_sentence"):
            raise PromptError(f'retain is "always" or "with_sentence", not {retain!r}')
        self.scorer: Scorer | AutoScorer
        if scorer == AUTO:
            self.scorer = AutoScorer(threads)
        elif isinstance(scorer, str):
            self.scorer = make(scorer, model=model, threads=threads, seed=seed, download=download)
        else:
            self.scorer = scorer
        self.counted = tokenizer is not None
        self.count = counter(tokenizer)
        self.contract = Contract(chosen_rules(protect), patterns, forced, retain == "with_sentence")
        self._made: OrderedDict[bytes, None] = OrderedDict()

    def compress(
        self,
        source: str,
        *,
        query: str = "",
        rate: float | None = None,
        target_tokens: int | None = None,
        threshold: float | None = None,
        kind: str = "text",
        rates: Rates | None = None,
        prefix_stable: bool = False,
        min_tokens: int = 0,
        on_error: Literal["raise", "pass"] = "raise",
    ) -> Compressed:
        """Compress a prompt of one of `structured.INPUTS`.

        rate: the fraction to keep of the tokens that may be dropped, with protected words counted among
        them (0.5 by default if there is no other limit). target_tokens: the most tokens of the whole
        output; takes precedence over rate. threshold: the least score, in the scorer's unit. rates: see
        `structured.build`. min_tokens: a shorter prompt is returned unchanged, unless target_tokens is
        given. on_error: "pass" returns the prompt unchanged, with the error as its note.

        An output of this object is not compressed again.
        """
        try:
            return self._compress(
                source, query, rate, target_tokens, threshold, kind, rates, prefix_stable, min_tokens
            )
        except Exception as error:
            if on_error != "pass":
                raise
            return unchanged(source, self._safe_count(source), None, self.scorer.name, f"error: {error}")

    def _compress(
        self,
        source: str,
        query: str,
        rate: float | None,
        target: int | None,
        threshold: float | None,
        kind: str,
        rates: Rates | None,
        stable: bool,
        min_tokens: int,
    ) -> Compressed:
        _check(source, rate, target, rates, stable)
        if target is not None and not self.counted:
            raise PromptError(
                "a budget in tokens needs the tokenizer that counts them: name one, any or chars"
            )
        unasked = target is None and rate is None and threshold is None and not rates
        if unasked:
            rate = 0.5
        tokens = self.count(source)
        name = self.scorer.name
        if target is None and self._digest(source) in self._made:
            return unchanged(source, tokens, None, name, "compressed before")
        if target is None and tokens < min_tokens:
            return unchanged(source, tokens, None, name, f"fewer than {min_tokens} tokens")
        document = build(source, kind, self.contract, rates, stable)
        if unasked and sum(map(_words, document.parts)) <= 1:  # half of one word would be nothing
            return unchanged(source, tokens, None, name, "a single word")
        return self.run_document(document, query, rate, target, threshold, stable)

    def run_document(
        self,
        document: Document,
        query: str,
        rate: float | None,
        target: int | None,
        threshold: float | None,
        stable: bool = False,
    ) -> Compressed:
        """Compress a document that has been divided into parts."""
        scorer = self.scorer
        if isinstance(scorer, AutoScorer):
            scorer = scorer.choose(query, "" if stable else document.source)
        work = _Work(scorer, self.count, document, query, rate, target, threshold)
        if work.limit is not None and work.tokens <= work.limit and threshold is None:
            return unchanged(document.source, work.tokens, work.limit, scorer.name, "within the budget")
        kept, scores, cuts = work.stable() if stable else work.together()
        text = document.render(kept)
        self._remember(text)
        return Compressed(
            document.source,
            text,
            work.tokens,
            self.count(text),
            work.limit,
            scorer.name,
            explain(document, kept, scores, cuts, scorer.by_sentence),
            [(0, len(document.source))],
            float(np.nanmin(cuts)) if not np.isnan(cuts).all() else _NONE,
        )

    @staticmethod
    def _digest(text: str) -> bytes:
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()

    def _remember(self, text: str) -> None:
        self._made[self._digest(text)] = None
        if len(self._made) > _REMEMBERED:
            self._made.popitem(last=False)

    def _safe_count(self, source: str) -> int:
        try:
            return self.count(source)
        except Exception:
            return len(source)


class _Work:
    """The compression of one document: limits, scores, choices.

    limit: the most tokens of the output, None without a budget.
    """

    def __init__(
        self,
        scorer: Scorer,
        count: Any,
        document: Document,
        query: str,
        rate: float | None,
        target: int | None,
        threshold: float | None,
    ) -> None:
        self.scorer, self.count, self.document, self.query = scorer, count, document, query
        self.threshold = threshold
        self.tokens = count(document.source)
        self.rates = [p.rate if p.rate is not None else rate for p in document.parts]
        # For each part, the number of tokens to drop; 0 for a part without a rate.
        self.due = [
            (1 - r) * count(p.text) if r is not None else 0.0
            for p, r in zip(document.parts, self.rates, strict=True)
        ]
        self.limit = target
        if target is None and (rate is not None or any(r is not None for r in self.rates)):
            self.limit = self.tokens - _ceil(sum(self.due))

    def together(self) -> tuple[list[Mask], list[F64], list[float]]:
        """Choose among all parts together, after choosing separately in each part that has its own rate."""
        parts = self.document.parts
        scores = self.scorer.score([p.passage for p in parts], self.query)
        kept = [p.close(np.zeros(len(p.passage), bool)) for p in parts]
        cuts = [_NONE] * len(parts)
        free = []
        for k, part in enumerate(parts):
            if part.rate is None:
                free.append(k)
                continue
            allowed = self.count(part.text) - _ceil(self.due[k])

            def room_of_part(masks: Sequence[Mask], part: Part = part, allowed: int = allowed) -> int:
                pieces = part.spans(masks[0])
                return allowed - self.count("".join(part.text[a:b] for a, b in pieces))

            choice = self._choose([part], [scores[k]], room_of_part)
            if choice is None:
                self._fail([part], self.count(_shortest(part)), allowed, 0)
            else:
                kept[k], cuts[k] = choice.kept[0], choice.cut

        def room(masks: Sequence[Mask]) -> int:
            if self.limit is None:
                return 0
            return self.limit - self.count(self.document.render(_filled(kept, free, masks)))

        choice = self._choose([parts[k] for k in free], [scores[k] for k in free], room)
        if choice is None:
            self._fail_whole(kept)
        else:
            kept = _filled(kept, free, choice.kept)
            for k in free:
                cuts[k] = choice.cut
        return kept, scores, cuts

    def stable(self) -> tuple[list[Mask], list[F64], list[float]]:
        """Choose part by part, each depending only on the text up to it."""
        parts, source, count = self.document.parts, self.document.source, self.count
        passages = [p.passage for p in parts]
        known = self.scorer.score(passages, self.query) if self.scorer.causal else None
        kept: list[Mask] = []
        scores: list[F64] = []
        cuts: list[float] = []
        done = ""  # the output for the source up to `position`
        position = 0
        due = 0.0
        for k, part in enumerate(parts):
            score = known[k] if known is not None else self.scorer.score([passages[k]], self.query)[0]
            done += source[position : part.start]
            position = part.end
            due += self.due[k]
            allowed = count(source[:position]) - _ceil(due) - count(done)

            def text(mask: Mask, part: Part = part) -> str:
                spans = (part.to_source(*span) for span in part.spans(mask))
                return "".join(source[a:b] for a, b in spans)

            def room(masks: Sequence[Mask], allowed: int = allowed, text: Any = text) -> int:
                return 0 if self.limit is None else allowed - count(text(masks[0]))

            choice = self._choose([part], [score], room, partial=False)
            # Protected text stays even if it exceeds the budget; later paragraphs get less.
            mask = choice.kept[0] if choice else part.close(np.zeros(len(part.passage), bool))
            kept.append(mask)
            scores.append(score)
            cuts.append(choice.cut if choice else _NONE)
            done += text(mask)
        if self.limit is not None and count(done + source[position:]) > self.limit:
            self._fail_whole(kept)
        return kept, scores, cuts

    def _choose(
        self, parts: Sequence[Part], scores: Sequence[F64], room: Any, partial: bool = True
    ) -> Choice | None:
        return choose(
            parts,
            scores,
            room,
            by_sentence=self.scorer.by_sentence,
            threshold=self.threshold,
            partial=partial and self.threshold is None,
        )

    def _fail_whole(self, kept: Sequence[Mask]) -> None:
        assert self.limit is not None
        outside = self.document.render([np.zeros(len(m), bool) for m in kept])
        needed = self.count(self.document.render(kept))
        self._fail(self.document.parts, needed, self.limit, self.count(outside))

    def _fail(self, parts: Sequence[Part], needed: int, allowed: int, outside: int) -> None:
        raise too_much(parts, needed, allowed, outside)


def _words(part: Part) -> int:
    return int(np.count_nonzero(part.passage.kinds == WORD))


def _shortest(part: Part) -> str:
    """A part without everything that may be dropped."""
    return "".join(part.text[a:b] for a, b in part.spans(part.close(np.zeros(len(part.passage), bool))))


def _filled(kept: Sequence[Mask], places: Sequence[int], masks: Sequence[Mask]) -> list[Mask]:
    out = list(kept)
    for k, mask in zip(places, masks, strict=True):
        out[k] = mask
    return out


def _ceil(x: float) -> int:
    return math.ceil(x - 1e-9)


def _check(
    source: str, rate: float | None, target: int | None, rates: Mapping[str, float] | None, stable: bool
) -> None:
    for value in [rate, *(rates or {}).values()]:
        if value is not None and not 0 <= value <= 1:
            raise PromptError(f"a rate of {value} is not between 0 and 1: it is the fraction to keep")
    if target is not None and target < 0:
        raise PromptError(f"a budget of {target} tokens: it cannot be negative")
    if stable and target is not None:
        raise PromptError("a prefix-stable output grows with its input: give a rate, not a number of tokens")
    try:
        source.encode()
    except UnicodeEncodeError as error:
        raise PromptError(
            f"character {error.start} is a lone surrogate, which tokenizers reject: decode the text as UTF-8"
        ) from None
