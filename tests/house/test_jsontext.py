"""JSON of others: every text gives a value or a `JsonError`."""

from __future__ import annotations

import ast
import json
import math
import sys

import pytest
from paths import ROOT

from nacrith.errors import NacrithError
from nacrith.jsontext import JsonError, parse

PACKAGE = ROOT / "nacrith"
DEEP = 200_000  # far beyond any limit of recursion, in 400 KB


@pytest.mark.parametrize("text", ['{"a": [1, -2.5e3, true, null, "\\ud800x"]}', "1e308", "-0", '""'])
def test_json_is_read(text: str) -> None:
    assert parse(text) == parse(text.encode()) == parse(text.encode("utf-16")) == json.loads(text)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[" * DEEP, "nested too deeply"),
        ("[" * DEEP + "]" * DEEP, "nested too deeply"),
        ('{"a":' * DEEP + "1" + "}" * DEEP, "nested too deeply"),
        ("9" * (sys.get_int_max_str_digits() + 1), "digits"),
        ("1e999", "1e999 is no finite number"),
        ("[-1e999]", "-1e999"),
        ("NaN", "NaN"),
        ("-Infinity", "-Infinity"),
        ("", "Expecting value"),
        ("{} x", "Extra data"),
        (b"\xff\xfe\xff", "decode"),
        (b'"\xff"', "decode"),
        ('"\n"', "control character"),
    ],
    ids=lambda value: repr(value[:20]),
)
def test_whatever_is_wrong_is_one_error(text: str | bytes, words: str) -> None:
    with pytest.raises(JsonError, match=words) as caught:
        parse(text)
    assert isinstance(caught.value, NacrithError)
    assert isinstance(caught.value, ValueError)


def test_memory_that_does_not_suffice(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(text: str, **hooks: object) -> None:
        raise MemoryError

    monkeypatch.setattr(json, "loads", fail)
    with pytest.raises(JsonError, match="memory"):
        parse("1")


def test_keys_may_have_to_be_unique() -> None:
    assert parse('{"a": 1, "a": 2}') == {"a": 2}
    assert parse('[{"a": 1}, {"a": 2}]', unique=True) == [{"a": 1}, {"a": 2}]
    with pytest.raises(JsonError, match="twice, one of 'b', 'a'"):
        parse('[{"b": 0, "a": 1, "a": 2}]', unique=True)


def test_numbers_may_be_left_to_the_caller() -> None:
    assert parse("[1e999, -Infinity]", finite=False) == [math.inf, -math.inf]
    assert math.isnan(parse("NaN", finite=False))


@pytest.mark.parametrize("part", ["cli", "jobs", "models", "prompt", "training"])
def test_nothing_else_reads_json(part: str) -> None:
    """Of these parts of the package; text that they wrote themselves may have been changed since."""
    found = [
        f"{path.name}:{node.lineno}"
        for path in (PACKAGE / part).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and ast.unparse(node.func) in {"json.load", "json.loads"}
    ]
    assert not found
