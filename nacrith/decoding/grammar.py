"""The constraints `Regex` and `Schema`: answers that match a regular expression, or JSON of a schema.

The library llguidance reads expression and schema, and follows an answer through them. It is given a
vocabulary of the 256 bytes in place of the model's, so that it decides byte by byte: tokens that end inside a
character, or that reach over several parts of the grammar, need no care, and one reading serves every model.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

from nacrith.decoding.jsonrule import Json
from nacrith.errors import DecodingError

_NEAR = 32  # bytes at the end of an answer that the next questions may differ in


class _Grammar:
    """A constraint by a grammar. It keeps its place in the latest answer: give each answer its own."""

    def __init__(self, what: str, grammar: Callable[[Any], str]) -> None:
        llguidance = _library(what)
        self._matcher = llguidance.LLMatcher(_bytes(), grammar(llguidance.LLMatcher), log_level=0)
        self._read = b""  # what the matcher has consumed; it was allowed
        if self._matcher.is_error():
            raise DecodingError(f"{what} cannot be used: {_reason(self._matcher.get_error())}")

    def allows(self, text: bytes) -> bool:
        self._go_to(text)
        rest = text[len(self._read) :]
        return bool(self._matcher.validate_tokens(list(rest)) == len(rest))

    def complete(self, text: bytes) -> bool:
        self._go_to(text)
        rest = list(text[len(self._read) :])
        at = self._matcher.deep_copy()
        return bool(at.try_consume_tokens(rest) == len(rest) and at.is_accepting())

    def _go_to(self, text: bytes) -> None:
        """Consume what `text` shares with the questions to come, and give back what it does not have."""
        common = _common(self._read, text)
        if common < len(self._read):
            self._matcher.rollback(len(self._read) - common)
            self._read = self._read[:common]
        if len(text) - common >= 2 * _NEAR:
            part = text[common:-_NEAR]
            self._read += part[: self._matcher.try_consume_tokens(list(part))]


class Regex(_Grammar):
    """Answers that match `pattern` from beginning to end.

    pattern: as of the Rust crate regex, without look-around and back references. DecodingError for one that
    cannot be read, or without the package llguidance.
    """

    def __init__(self, pattern: str) -> None:
        self.pattern = pattern
        super().__init__(
            f"the regular expression {pattern!r}", lambda of: str(of.grammar_from_regex(pattern))
        )

    def record(self) -> dict[str, Any]:
        """For recorded answers."""
        return {"regex": self.pattern}


class Schema(_Grammar):
    """Answers that are JSON of a schema (JSON Schema), with the properties in the order of the schema.

    schema: the parsed JSON. DecodingError for one that is none or that uses what cannot be promised (such as
    "not" and "uniqueItems"), or without the package llguidance.
    """

    def __init__(self, schema: dict[str, Any] | bool) -> None:
        try:
            text = json.dumps(schema)
        except (TypeError, ValueError, RecursionError) as error:
            raise DecodingError(f"the schema cannot be used: it is no JSON ({error})") from None
        if not isinstance(schema, dict | bool):
            raise DecodingError("the schema cannot be used: it is no JSON object")
        self.schema = schema
        super().__init__("the schema", lambda of: str(of.grammar_from_json_schema(text)))

    def record(self) -> dict[str, Any]:
        """For recorded answers."""
        return {"schema": self.schema}


def of_record(found: Any) -> Regex | Schema | Json | None:
    """The constraint of a recorded answer, which `record` of the classes gave; None for None."""
    match found:
        case None:
            return None
        case {"regex": str(pattern)} if len(found) == 1:
            return Regex(pattern)
        case {"schema": dict() | bool() as schema} if len(found) == 1:
            return Schema(schema)
        case {"json": str(first)} if len(found) == 1 and first.isascii():
            return Json(first.encode("ascii"))
    raise DecodingError("the recorded answer is damaged: its constraint is unknown")


class _Bytes:
    """A vocabulary of all bytes and an end, as llguidance wants it."""

    eos_token_id, bos_token_id, special_token_ids = 256, None, (256,)
    tokens = (*(bytes([i]) for i in range(256)), b"<end>")

    def __call__(self, text: bytes) -> list[int]:
        return list(text)


@cache
def _bytes() -> Any:
    llguidance = _library("a constraint")
    return llguidance.LLTokenizer(llguidance.TokenizerWrapper(_Bytes()))


def _library(what: str) -> Any:
    try:
        import llguidance
    except ImportError:
        raise DecodingError(
            f"{what} needs the package llguidance; run: pip install 'nacrith[constraints]'"
        ) from None
    return llguidance


def _reason(said: str) -> str:
    """The one line of the library's message that says what is wrong."""
    lines = [line.strip() for line in said.splitlines()]
    errors = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
    return (errors or lines or ["unknown"])[0]


def _common(a: Sequence[int], b: Sequence[int]) -> int:
    """How many bytes two texts begin with in common."""
    if b[: len(a)] == a:
        return len(a)
    return next((n for n, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
