"""The bill of a conversation: what its requests cost, with a provider's cache of prompts.

A conversation is billed request by request. Each request repeats all that came before; what it has in common
with an earlier request, in whole messages from the first on, is read from the cache, and the rest is written
to it. So a shorter message that was sent otherwise before costs more than the long one, and everything after
it is paid in full as well. `report.stats` has the tokens of one prompt, which say nothing about that.

The model of a cache is that of Anthropic and OpenAI, simplified: it holds whole messages, never forgets, and
is used for prompts of at least `minimum` tokens. Messages are counted as JSON.
https://docs.anthropic.com/en/docs/build-with-claude/prompt-caching,
https://platform.openai.com/docs/guides/prompt-caching
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from nacrith import jsontext
from nacrith.errors import PromptError
from nacrith.prompt import turns
from nacrith.prompt.counters import Counter

_MILLION = 1_000_000
MINIMUM = 1024
"""Tokens of the smallest prompt that is cached; some models have 2048 or 4096."""


@dataclass(frozen=True)
class Price:
    """Prices of a million tokens, in any currency: input, output, input read from the cache, and input
    written to it."""

    input: float
    output: float
    read: float
    write: float

    @classmethod
    def parse(cls, text: str) -> Price:
        """The prices in `INPUT,OUTPUT,CACHE-READ,CACHE-WRITE`; PromptError for anything else."""
        try:
            values = [float(part) for part in text.split(",")]
        except ValueError:
            values = []
        if len(values) != 4 or not all(0 <= value < float("inf") for value in values):
            raise PromptError(
                f"{text!r} is no price: write four numbers, for a million tokens of input, output, cache read"
                " and cache write, such as 3,15,0.3,3.75"
            )
        return cls(*values)


@dataclass(frozen=True)
class Bill:
    """What a conversation costs.

    fresh: tokens of input too short for the cache. read, written: tokens read from the cache and written to
    it. output: tokens of the model. total: in the currency of the price.
    """

    requests: int = 0
    fresh: int = 0
    read: int = 0
    written: int = 0
    output: int = 0
    total: float = 0.0


def bill(
    requests: Sequence[Sequence[str]],
    outputs: Sequence[str],
    count: Counter,
    price: Price,
    minimum: int = MINIMUM,
) -> Bill:
    """The bill of requests, each a list of messages, and of what the model answered."""
    sizes: dict[str, int] = {}
    cached: set[bytes] = set()
    fresh = read = written = 0
    for messages in requests:
        total = common = 0
        digest, chain = hashlib.sha256(), []
        for message in messages:
            if message not in sizes:
                sizes[message] = count(message)
            total += sizes[message]
            digest.update(f"{len(message)}:{message}".encode("utf-8", "surrogatepass"))
            chain.append(digest.digest())
            if total >= minimum and chain[-1] in cached:
                common = total
        if total < minimum:
            fresh += total
            continue
        cached.update(chain)
        read += common
        written += total - common
    output = sum(count(text) for text in outputs)
    cost = fresh * price.input + read * price.read + written * price.write + output * price.output
    return Bill(len(requests), fresh, read, written, output, cost / _MILLION)


def estimate(text: str) -> int:
    """The number of tokens of a text if no tokenizer is named: a quarter of its characters."""
    return -(-len(text) // 4)


def compare(
    source: str, shorten: Callable[[str, str], str], query: str, count: Counter, price: Price
) -> tuple[Bill, Bill]:
    """The bills of a chat as it is, and with each request that led to it shortened, as a program does it.

    source: the chat as JSON. shorten: returns a request as JSON, shortened for a query. query: of the last
    request, "" for none; each other request then has the last text of a person as its query.
    """
    try:
        body = jsontext.parse(source, finite=False)
    except jsontext.JsonError as error:
        raise PromptError(f"the input is not JSON ({error}); a bill needs a chat") from None
    plain, made = [], []
    last = turns.question(body)
    for request in turns.requests(body):
        asked = turns.question(request)
        wanted = query if not query or asked == last else asked
        text = shorten(json.dumps(request, ensure_ascii=False), wanted)
        plain.append(_pieces(request))
        made.append(_pieces(jsontext.parse(text, finite=False)))
    said = [json.dumps(item, ensure_ascii=False) for item in turns.items(body)[1] if turns.is_output(item)]
    return bill(plain, said, count, price), bill(made, said, count, price)


def _pieces(request: Any) -> list[str]:
    return [json.dumps(piece, ensure_ascii=False) for piece in turns.cached_pieces(request)]


def lines(before: Bill, after: Bill) -> list[tuple[str, str]]:
    """A table of two bills: names and values."""
    out = [("requests", f"{before.requests:,}")]
    for name, one in (("original", before), ("compressed", after)):
        tokens = f"{one.fresh:,} uncached, {one.read:,} read, {one.written:,} written, {one.output:,} output"
        out.append((f"{name} bill", f"{one.total:.6f} ({tokens})"))
    out.append(("change", f"{change(before, after):+.1f} %"))
    return out


def change(before: Bill, after: Bill) -> float:
    """By how many per cent the second bill is higher."""
    return 100 * (after.total / before.total - 1) if before.total else 0.0
