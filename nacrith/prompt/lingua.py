"""`compress_prompt` with the arguments and the result keys of LLMLingua, and chat messages as objects."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, TypeVar

from nacrith import jsontext
from nacrith.errors import PromptError
from nacrith.prompt.compress import SEPARATOR, PromptCompressor, Retain
from nacrith.prompt.content.part import routed
from nacrith.prompt.document import Contract, Document, Part
from nacrith.prompt.result import Compressed, unchanged
from nacrith.prompt.structured import Rates

Value = TypeVar("Value")

_DIGITS = r"\w*\d\w*"


def compress_prompt(
    context: str | Sequence[str],
    instruction: str = "",
    question: str = "",
    rate: float | None = None,
    target_token: int = -1,
    *,
    force_context_ids: Sequence[int] = (),
    force_tokens: Sequence[str] = (),
    force_reserve_digit: bool = False,
    concate_question: bool = True,
    threshold: float | None = None,
    scorer: Any = "auto",
    model: Any = None,
    tokenizer: Any = None,
    threads: int | None = None,
    protect: str | Iterable[str] = "all",
    patterns: Sequence[str] = (),
    retain: Retain = "auto",
    min_tokens: int = 0,
    on_error: Literal["raise", "pass"] = "raise",
) -> dict[str, Any]:
    """Compress contexts between an instruction and a question, which are kept.

    rate: the fraction of the contexts' tokens to keep; 0.5 if there is no other limit. target_token: the
    most tokens of the whole output, counted by `tokenizer`; takes precedence over rate unless it is
    negative. question: the query for scorers of sentences; with concate_question it ends the prompt.
    force_context_ids: contexts that are kept completely. force_tokens: strings that are kept wherever
    they occur. force_reserve_digit: words with a digit are kept wherever they occur. Other arguments are
    those of `PromptCompressor`.

    Returns compressed_prompt, compressed_prompt_list (one for each context), origin_tokens,
    compressed_tokens, ratio, rate, and spans of the joined original.
    """
    compressor = PromptCompressor(
        scorer,
        tokenizer,
        model=model,
        threads=threads,
        protect=protect,
        patterns=[*patterns, *([_DIGITS] if force_reserve_digit else [])],
        forced=force_tokens,
        retain=retain,
    )
    contexts = [context] if isinstance(context, str) else list(context)
    document, places = join(
        contexts, instruction, question if concate_question else "", compressor.contract, force_context_ids
    )
    target = target_token if target_token >= 0 else None
    if target is not None and tokenizer is None:
        raise PromptError("target_token needs the tokenizer that counts its tokens: name it, or chars")
    tokens = compressor.count(document.source)
    if target is None and tokens < min_tokens:
        note = f"fewer than {min_tokens} tokens"
        result = unchanged(document.source, tokens, None, compressor.scorer.name, note)
    else:
        result = _run(compressor, document, question, rate, target, threshold, on_error)
    return dataclasses.replace(result, contexts=places).as_dict()


def join(
    contexts: Sequence[str],
    instruction: str = "",
    question: str = "",
    contract: Contract | None = None,
    fixed: Sequence[int] = (),
) -> tuple[Document, list[tuple[int, int]]]:
    """The document of contexts between an instruction and a question, and the offsets of each context in
    it.

    fixed: numbers of contexts that stay unchanged. The separator after a context belongs to it.
    """
    contract = contract or Contract()
    source = instruction + SEPARATOR if instruction else ""
    parts: list[Part] = []
    places: list[tuple[int, int]] = []
    for i, text in enumerate(contexts):
        start = len(source)
        source += text.replace("\r\n", "\n")
        places.append((start, len(source)))
        if question or i < len(contexts) - 1:
            source += SEPARATOR
        if i not in fixed:
            part = Part(start, len(source), source[start:], label=str(i), contract=contract)
            parts += routed(part, "text", stable=False)
    return Document(source + question, parts, "instruction, question or separator"), places


def _run(
    compressor: PromptCompressor,
    document: Document,
    question: str,
    rate: float | None,
    target: int | None,
    threshold: float | None,
    on_error: str,
) -> Compressed:
    if rate is None and target is None and threshold is None:
        rate = 0.5
    try:
        return compressor.run_document(document, question, rate, target, threshold)
    except Exception as error:
        if on_error != "pass":
            raise
        tokens = compressor.count(document.source)
        return unchanged(document.source, tokens, None, compressor.scorer.name, f"error: {error}")


def compress_messages(
    messages: Value,
    compressor: PromptCompressor,
    *,
    query: str = "",
    rate: float | None = None,
    target_tokens: int | None = None,
    rates: Rates | None = None,
    prefix_stable: bool | None = None,
    min_tokens: int = 0,
    on_error: Literal["raise", "pass"] = "raise",
) -> Value:
    """Chat messages (OpenAI or Anthropic: a list, or an object with `messages`) with shorter texts.

    rates: by role, such as {"tool": 0.3, "assistant": 0.5}; the result of a tool is "tool" in every format.
    Messages of people (user, system, developer) stay unchanged unless a rate names their role. Of the last
    request of a person the instruction stays even then, except in prefix-stable mode, since messages may
    follow. prefix_stable: by default without target_tokens; messages that are appended do not change the
    result for the earlier ones. The budget counts the messages as JSON.
    """
    if not isinstance(messages, list | Mapping):
        raise PromptError(f"messages are a list or an object, not {type(messages).__name__}")
    try:
        source = json.dumps(messages, ensure_ascii=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise PromptError(f"the messages cannot be written as JSON: {error}") from None
    result = compressor.compress(
        source,
        query=query,
        rate=rate,
        target_tokens=target_tokens,
        kind="chat",
        rates=rates,
        prefix_stable=prefix_stable,
        min_tokens=min_tokens,
        on_error=on_error,
    )
    made: Value = jsontext.parse(result.text, finite=False)
    return made
