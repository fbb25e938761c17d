"""Regular expressions and schemas as constraints: against `re` and `json`, byte by byte; and in answers."""

from __future__ import annotations

import json
import re
from fractions import Fraction
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from paths import TINY

from nacrith.decoding import Regex, Sampling, Schema, generate
from nacrith.decoding.constraint import pick
from nacrith.decoding.grammar import of_record
from nacrith.decoding.record import check, record
from nacrith.errors import DecodingError
from nacrith.models.exact.model import ExactModel

pytest.importorskip("llguidance", reason="llguidance is not installed: pip install '.[constraints]'")

MODEL = ExactModel(TINY, threads=1)
SCHEMA = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 8},
        "size": {"type": "integer", "minimum": 0, "maximum": 99},
        "kind": {"enum": ["röd", "blue"]},
    },
    "required": ["name", "size", "kind"],
    "additionalProperties": False,
}


@pytest.mark.parametrize("pattern", ["(ab|a)(c|bd)*", "a{2,3}(é|à)b?", "[^a]*c", "(a|b)*abb", "", "é+|c"])
def test_beginnings_and_matches_are_those_of_re(pattern):
    """Every text of up to 5 letters: a short one is allowed if one that begins with it matches."""
    letters, rule = "abcdéà", Regex(pattern)
    texts = ["".join(chars) for length in range(6) for chars in product(letters, repeat=length)]
    matches = {text for text in texts if re.fullmatch(pattern, text)}
    beginnings = {match[:end] for match in matches for end in range(len(match) + 1)}
    for text in texts:
        if len(text) < 3:  # of the patterns here, whatever can be completed can be with three letters more
            assert rule.allows(text.encode()) == (text in beginnings)
            assert rule.complete(text.encode()) == (text in matches)


def test_parts_of_characters():
    rule = Regex("[a-z]+é")
    assert rule.allows(b"ab\xc3")
    assert not rule.allows(b"ab\xc3\xa8")
    assert not rule.allows(b"ab\xff")
    assert not rule.complete(b"ab\xc3")


@given(st.lists(st.tuples(st.integers(0, 140), st.booleans()), max_size=12))
def test_questions_in_any_order(asked):
    """The rule keeps its place in the latest text; going back and forth changes no answer."""
    text = b"".join(b"%d," % i for i in range(60))
    for end, good in asked:
        question = text[:end] + (b"" if good else b";")
        assert KEPT.allows(question) == good
        assert KEPT.complete(question) == (good and text[:end].endswith(b","))


KEPT = Regex("([0-9]+,)+")


VALUES = st.fixed_dictionaries(
    {
        "name": st.text('ab"\\é\n', max_size=8),
        "size": st.integers(0, 99),
        "kind": st.sampled_from(["röd", "blue"]),
    }
)
RULE = Schema(SCHEMA)


@given(VALUES, st.sampled_from([None, 1]))
def test_every_beginning_of_json_of_the_schema_is_allowed(value, indent):
    ordered = {name: value[name] for name in SCHEMA["properties"]}
    text = json.dumps(ordered, indent=indent, ensure_ascii=False).encode()
    assert all(RULE.allows(text[:end]) for end in range(len(text) + 1))
    assert RULE.complete(text)
    assert not RULE.complete(text[:-1])
    assert not RULE.allows(text + b"x")
    assert not RULE.allows(text.replace(b'"kind"', b'"kinds"'))


IDS = np.array([0, 1, 2, 3])
TOKENS = [b"a", b"\xc3", b"\xc3\xa9", b"b"]
WEIGHTS = [4, 1, 3, 2]


class Enumerated(Sampling):
    """Draws from small weights, by a list of draws that stands for the random numbers."""

    script: list[int]
    totals: dict[int, int]

    def candidates(self, row):
        return IDS, np.array(WEIGHTS)

    def draw(self, place, total, again=0):
        if len(self.script) == again:
            self.script.append(0)
        self.totals[again] = total
        return self.script[again]


@pytest.mark.parametrize(("pattern", "allowed"), [("é+", {1, 2}), ("(a|é)b", {0, 1, 2}), ("b", {3})])
def test_the_distribution_by_enumerating_all_draws(pattern, allowed):
    """Tokens that split a character, under a rule of characters: shares and mean weights are those of
    masking."""
    rule, sampling = Regex(pattern), Enumerated(1.0)
    share: dict[int, Fraction] = {}
    estimate: dict[int, float] = {}
    script: list[int] = []
    while True:
        object.__setattr__(sampling, "script", script)
        object.__setattr__(sampling, "totals", {})
        found = pick(sampling, np.zeros(4, np.int32), 0, lambda t: rule.allows(TOKENS[t]))
        probability = Fraction(1, int(np.prod(list(sampling.totals.values()))))
        share[found.token] = share.get(found.token, Fraction(0)) + probability
        estimate[found.token] = estimate.get(found.token, 0.0) + float(probability) * found.weight
        del script[len(sampling.totals) :]
        while script and script[-1] + 1 == sampling.totals[len(script) - 1]:
            script.pop()
        if not script:
            break
        script[-1] += 1
    p = {token: Fraction(weight, sum(WEIGHTS)) for token, weight in enumerate(WEIGHTS)}
    assert share == {v: p[v] / sum(p[v] for v in allowed) for v in allowed}
    assert estimate == {v: pytest.approx(float(p[v])) for v in allowed}


@pytest.mark.parametrize("temperature", [0.0, 1.0])
@pytest.mark.parametrize(
    ("make", "good"),
    [
        (lambda: Regex("[A-Z][a-z]{3,8} [0-9]{2}"), lambda s: re.fullmatch("[A-Z][a-z]{3,8} [0-9]{2}", s)),
        (lambda: Schema(SCHEMA), lambda s: set(json.loads(s)) == set(SCHEMA["properties"])),
    ],
    ids=["regex", "schema"],
)
def test_answers_obey_the_rule_with_and_without_drafts(make, good, temperature):
    found = []
    for drafter in (None, "recycling+lookup+ngram"):
        answer = generate(
            MODEL,
            "A list: ",
            max_tokens=60,
            drafter=drafter,
            temperature=temperature,
            seed=3,
            constraint=make(),
        ).run()
        assert make().allows(answer.text.encode())
        assert answer.finish in ("end", "length")
        assert answer.finish == "length" or good(answer.text)
        assert answer.statistics.checks < len(answer.tokens) * MODEL.vocab_size / 10  # of masking
        check(MODEL, record(MODEL, answer))
        found.append((answer.tokens, answer.weight))
    assert found[0] == found[1]


def test_a_record_names_the_rule():
    answer = generate(MODEL, "A: ", max_tokens=20, temperature=1, seed=2, constraint=Regex("[a-z ]+")).run()
    found = json.loads(json.dumps(record(MODEL, answer)))
    assert found["constraint"] == {"regex": "[a-z ]+"}
    check(MODEL, found)
    for wrong in ({"regex": "[A-Z]+"}, None):
        with pytest.raises(DecodingError, match=r"token|end"):
            check(MODEL, found | {"constraint": wrong})


@pytest.mark.parametrize("wrong", [{}, [], "x", {"regex": 5}, {"schema": "x"}, {"regex": "a", "schema": {}}])
def test_a_damaged_rule_of_a_record(wrong):
    with pytest.raises(DecodingError, match="damaged"):
        of_record(wrong)


@pytest.mark.parametrize(
    ("make", "word"),
    [
        (lambda: Regex("[a-"), "unclosed"),
        (lambda: Regex("a(?=b)"), "look-around"),
        (lambda: Schema({"type": "elephant"}), "elephant"),
        (lambda: Schema({"not": {}}), "not"),
        (lambda: Schema([1]), "object"),
        (lambda: Schema({"const": {1}}), "JSON"),
        (lambda: Schema({"$ref": "http://example.org/x"}), "example.org"),
    ],
)
def test_rules_that_cannot_be_used(make, word):
    with pytest.raises(DecodingError, match=word):
        make()
