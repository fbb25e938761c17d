"""Compresses a prompt: combines segmentation, contract, scores and budget.

All other interfaces call `PromptCompressor.compress`. `compress_prompt` has the argument names and result
keys of LLMLingua (Jiang et al. 2023, Pan et al. 2024), but gives a stronger guarantee: the output never
has more tokens than allowed, counted by the reader's tokenizer over the whole output; otherwise a
`BudgetError` is raised.

In prefix-stable mode, the choice in each paragraph depends only on the text up to it, and may use the
budget that earlier paragraphs left. So for a text P that ends in a blank line, the output for P + Q
begins with the output for P, and a prompt cache remains valid. It is the default for chats, whose earlier
messages are sent again with every turn.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any, Literal

import numpy as np

from nacrith.errors import BudgetError, PromptError
from nacrith.prompt.content.part import ContentPart
from nacrith.prompt.counters import counter
from nacrith.prompt.document import ALWAYS, WITH_SENTENCE, Contract, Document, Part, rendered
from nacrith.prompt.protect import chosen_rules
from nacrith.prompt.result import BYTE_ORDER_MARK, Compressed, Later, explain, of_source, unchanged
from nacrith.prompt.scorers import AUTO, make
from nacrith.prompt.scorers.auto import AutoScorer
from nacrith.prompt.scorers.protocol import Scorer
from nacrith.prompt.structured import Rates, build
from nacrith.prompt.work import Work

_REMEMBERED = 4096
_COUNTED = 4  # texts whose number of tokens is remembered: the source is counted more than once
_RATE = 0.5
"""If the caller sets no limit."""

Retain = Literal["auto", "always", "with_sentence"]
_RETAIN: dict[str, bool | None] = {"auto": None, ALWAYS: False, WITH_SENTENCE: True}
SEPARATOR = "\n\n"
"""Separates instruction, contexts and question."""


class PromptCompressor:
    """A scorer, a tokenizer to count with, and a contract; it can be used for many prompts.

    scorer: a name of `scorers.NAMES`, "auto" (whole sentences), or an object (`scorers.protocol.Scorer`).
    model, threads, seed, download: for a scorer given by name, see `scorers.make`. tokenizer: see
    `counters.counter`; needed for budgets in tokens. protect: names of rules (`protect.RULES`), "all",
    "none", or names to leave out of all ("-number"). patterns: regular expressions of text that is also
    kept. forced: strings that are also kept. retain: "with_sentence": numbers, restrictions, quotations and
    the like are kept, whole, only in sentences of which something is kept; "always": in every sentence, if
    the budget suffices; "auto": with their sentence if the scorer ranks sentences, else always.
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
        retain: Retain = "auto",
    ) -> None:
        if retain not in _RETAIN:
            raise PromptError(f"retain is one of {', '.join(_RETAIN)}, not {retain!r}")
        self.scorer: Scorer | AutoScorer
        if scorer == AUTO:
            self.scorer = AutoScorer(threads)
        elif isinstance(scorer, str):
            self.scorer = make(scorer, model=model, threads=threads, seed=seed, download=download)
        else:
            self.scorer = scorer
        self.counted = tokenizer is not None
        self.count = lru_cache(_COUNTED)(counter(tokenizer))
        self.contract = Contract(chosen_rules(protect), patterns, forced, _RETAIN[retain])
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
        prefix_stable: bool | None = None,
        min_tokens: int = 0,
        on_error: Literal["raise", "pass"] = "raise",
    ) -> Compressed:
        """Compress a prompt of one of `structured.INPUTS`.

        rate: the fraction to keep of the tokens that may be dropped, with protected words counted among
        them (0.5 by default if there is no other limit). target_tokens: the most tokens of the whole
        output; takes precedence over rate. threshold: the least score, in the scorer's unit. rates: see
        `structured.build`. min_tokens: a shorter prompt is returned unchanged, unless target_tokens is
        given. prefix_stable: by default for chats without target_tokens. on_error: "pass" returns the prompt
        unchanged, with the error as its note.

        Of each text, such as a message, something is kept. Without any limit, a prompt that cannot be
        halved is returned unchanged. An output of this object is not compressed again. Lines end in a single
        line feed and the byte order mark is dropped, so that neither changes what is chosen.
        """
        if prefix_stable is None:
            prefix_stable = kind == "chat" and target_tokens is None
        plain = source.removeprefix(BYTE_ORDER_MARK).replace("\r\n", "\n")
        try:
            result = self._compress(
                plain, query, rate, target_tokens, threshold, kind, rates, prefix_stable, min_tokens
            )
            return result if plain == source else of_source(result, source)
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
            rate = _RATE
        tokens = self.count(source)
        name = self.scorer.name
        if target is None and self._digest(source) in self._made:
            return unchanged(source, tokens, None, name, "compressed before")
        if target is None and tokens < min_tokens:
            return unchanged(source, tokens, None, name, f"fewer than {min_tokens} tokens")
        document = build(source, kind, self.contract, rates, stable)
        try:
            return self.run_document(document, query, rate, target, threshold, stable)
        except BudgetError as error:
            if not unasked:
                raise
            return unchanged(source, tokens, None, name, str(error))

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
        if query:
            share = target / max(1, self.count(document.source)) if target is not None else rate
            document = _narrowed(document, query, share)
        scorer = self.scorer
        if isinstance(scorer, AutoScorer):
            scorer = scorer.choose(query, "" if stable else document.source)
        work = Work(scorer, self.count, document, query, rate, target, threshold)
        if work.limit is not None and work.tokens <= work.limit and threshold is None:
            return unchanged(document.source, work.tokens, work.limit, scorer.name, "within the budget")
        kept, scores, cuts = work.stable() if stable else work.together()
        pieces = document.pieces(kept)
        text = rendered(document.source, pieces)
        self._remember(text)
        return Compressed(
            document.source,
            text,
            work.tokens,
            self.count(text),
            None if work.limit is None else work.limit + work.raised,
            scorer.name,
            Later(lambda: explain(document, kept, scores, cuts, scorer.by_sentence)),
            [(0, len(document.source))],
            float(np.nanmin(cuts)) if not np.isnan(cuts).all() else float("nan"),
            inserted=[(p.start, p.inserted) for p in pieces if p.inserted],
            raised=work.raised,
            retain=ALWAYS if work.modes and WITH_SENTENCE not in work.modes else WITH_SENTENCE,
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


def _narrowed(document: Document, query: str, share: float | None) -> Document:
    """The document with its content as a query is about it. share: how much is kept of parts without a rate
    of their own; None if that is not known."""

    def of(part: Part) -> Part:
        mine = share if part.rate is None else part.rate
        return part if mine is None or not isinstance(part, ContentPart) else part.narrowed(query, mine)

    return replace(document, parts=[of(part) for part in document.parts])


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
