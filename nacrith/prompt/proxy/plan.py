"""Decides in which form each tool result of a request is sent.

A provider reads from its cache what a request has in common with an earlier one, up to the first difference,
at a tenth of the price. So what was sent before is sent again byte for byte. Three rules hold:

1. A tool result keeps the form in which it was sent first. Whether it is a new one is told by the identifier
   of its call and by its text.
2. A tool result that this process has not sent, and that the model has answered already, stays as it is: it
   was sent by others, or by an earlier run.
3. Below the provider's smallest prompt that is cached, nothing is shortened. As long as a conversation is
   below it, it is sent as it is, and it is never shortened to below it; so it is cached from the same message
   on.

A shortened result ends with a notice. If the model needs all of it, it calls the tool again: a text that was
shortened earlier in the same request is left as it is.

Hence a request has no more characters than the original, and its cached part ends at the same message.
Everything besides tool results, white space of the JSON included, is passed on as it is.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from nacrith import jsontext
from nacrith.prompt.proxy.places import Place, tool_texts
from nacrith.prompt.structured import string_spans
from nacrith.prompt.toolresults import Memory, ToolResults

OPENAI, ANTHROPIC = "openai", "anthropic"
CACHE_MINIMUM = {OPENAI: 1024, ANTHROPIC: 4096}
"""Tokens of the smallest prompt that each API caches; of Anthropic's models the largest such number."""

CHARS_PER_TOKEN = {OPENAI: 5, ANTHROPIC: 4}
"""More than usual text has, so that the estimated number of tokens is not too high; Anthropic's vocabularies
are finer."""

_NOTICE = 100  # characters of the notice
_BLOB = 1000  # a longer string without a space is no text: an image, say


@dataclass(frozen=True)
class Plan:
    """What becomes of a request. body: the new one; the very same object if nothing changes.

    texts: tool results in the request. shortened: those sent in a shorter form; new: those of them that
    were shortened now. before, after: characters of all tool results.
    """

    body: bytes
    texts: int = 0
    shortened: int = 0
    new: int = 0
    before: int = 0
    after: int = 0
    decisions: Mapping[bytes, str | None] | None = None


@dataclass
class Totals:
    """What went through a proxy. before, after: characters of the tool results of all requests."""

    requests: int = 0
    failed_open: int = 0
    before: int = 0
    after: int = 0

    def __str__(self) -> str:
        saved = 100 * (self.before - self.after) / self.before if self.before else 0.0
        return (
            f"{self.requests} requests; tool results: {self.before:,} to {self.after:,} characters,"
            f" {saved:.0f} % less; {self.failed_open} requests passed on as they were after an error"
        )


class Planner:
    """The forms in which tool results were sent; for all conversations that pass by.

    cache_minimum: tokens of the smallest prompt that is cached; None for that of the API.
    """

    def __init__(self, results: ToolResults, cache_minimum: int | None = None) -> None:
        self._results, self._minimum = results, cache_minimum
        self._forms = Memory()
        self._lock = threading.Lock()

    def plan(self, body: bytes, api: str = OPENAI) -> Plan:
        """The plan for a request. api: a key of CACHE_MINIMUM.

        It counts only once `keep` was called. Raises errors of `nacrith.errors` for what is no JSON.
        """
        source = body.decode()
        value = jsontext.parse(source, finite=False, unique=True)
        places = {place.path: place for place in tool_texts(value)}
        if not places:
            return Plan(body)
        minimum = CHARS_PER_TOKEN[api] * self._smallest(api, source)
        decisions: dict[bytes, str | None] = {}
        edits: list[tuple[int, int, str]] = []
        shortened: set[str] = set()
        sent = before = after = new = 0
        for found in string_spans(source):
            place = places.get(found.path)
            size = found.end - found.start
            if place is None:
                blob = size > _BLOB and source.find(" ", found.start, found.end) < 0
                sent += 0 if blob else size
                continue
            key = Memory.key(place.call, place.text)
            if key not in decisions:
                known, form = self._known(key)
                if not known and not place.answered and place.text not in shortened:
                    form = self._shorter(place, minimum - sent)
                    new += form is not None
                decisions[key] = form
            form = decisions[key]
            if form is not None:
                shortened.add(place.text)
                edits.append((found.start, found.end, _literal(form, source[found.start : found.end])))
            before += len(place.text)
            after += len(place.text if form is None else form)
            sent += len(place.text if form is None else form)
        changed = _edited(source, edits).encode() if edits else body
        return Plan(changed, len(places), len(edits), new, before, after, decisions)

    def warm_up(self) -> None:
        """Import what shortens texts, so that the first request need not wait for it."""
        self._results.warm_up()

    def _shorter(self, place: Place, least: int) -> str | None:
        """A shorter form of a text, of at least so many characters; None to leave it alone."""
        made = self._results.shorten(place.text, place.query, _NOTICE)
        if made is None:
            return None
        cut = len(place.text) - len(made.text)
        notice = f"[Shortened: {cut} of {len(place.text)} characters left out. The same call again gets all.]"
        text = f"{made.text}\n{notice}"
        return text if len(text) >= least else None

    def keep(self, plan: Plan) -> None:
        """Remember the forms of a plan, since it is being sent."""
        with self._lock:
            for key, form in (plan.decisions or {}).items():
                self._forms.add(key, form, len(form or ""))

    def _known(self, key: bytes) -> tuple[bool, Any]:
        with self._lock:
            return (True, self._forms[key]) if key in self._forms else (False, None)

    def _smallest(self, api: str, source: str) -> int:
        if self._minimum is not None:
            return self._minimum
        if api == ANTHROPIC and '"cache_control"' not in source:  # it caches on request only
            return 0
        return CACHE_MINIMUM[api]


def _literal(text: str, raw: str) -> str:
    """A text as it stands in JSON, without quotes; in ASCII where the original was."""
    return json.dumps(text, ensure_ascii=raw.isascii())[1:-1]


def _edited(source: str, edits: list[tuple[int, int, str]]) -> str:
    out, position = [], 0
    for start, end, text in edits:
        out += [source[position:start], text]
        position = end
    return "".join([*out, source[position:]])
