"""Constraints: the distribution by enumerating all draws; JSON against `json`; the same with drafts."""

from __future__ import annotations

import json
import sys
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from paths import TINY

from nacrith.decoding import Json, Regex, Sampling, Schema, generate
from nacrith.decoding.constraint import pick
from nacrith.decoding.record import check, record
from nacrith.errors import DecodingError
from nacrith.models.exact.model import ExactModel

IDS = np.array([2, 3, 5, 8])


class Enumerated(Sampling):
    """Draws from small weights, by a list of draws that stands for the random numbers."""

    def candidates(self, row):
        return IDS, np.array(WEIGHTS)

    def draw(self, place, total, again=0):
        script, probability = SCRIPT
        if len(script) == again:
            script.append(0)
        assert script[again] < total
        probability[0] *= Fraction(1, total)
        TOTALS[again] = total
        return script[again]


WEIGHTS = [4, 1, 3, 2]
SCRIPT: tuple[list[int], list[Fraction]] = [], [Fraction(1)]
TOTALS: dict[int, int] = {}


@pytest.mark.parametrize("allowed", [{2}, {3}, {2, 5}, {3, 5, 8}, {2, 3, 5, 8}])
def test_tokens_and_weights_are_those_of_masking_by_enumeration(allowed):
    """Every sequence of draws: E[weight * (token = v)] = p(v) for each allowed v, and the share of v is
    p(v) / p(allowed)."""
    global SCRIPT
    share: dict[int, Fraction] = {}
    estimate: dict[int, float] = {}
    script: list[int] = []
    while True:
        SCRIPT = script, [Fraction(1)]
        TOTALS.clear()
        found = pick(Enumerated(1.0), np.zeros(9, np.int32), 0, allowed.__contains__)
        probability = SCRIPT[1][0]
        share[found.token] = share.get(found.token, Fraction(0)) + probability
        estimate[found.token] = estimate.get(found.token, 0.0) + float(probability) * found.weight
        del script[len(TOTALS) :]
        while script and script[-1] + 1 == TOTALS[len(script) - 1]:
            script.pop()
        if not script:
            break
        script[-1] += 1
    p = {int(i): Fraction(w, sum(WEIGHTS)) for i, w in zip(IDS, WEIGHTS, strict=True)}
    total = sum(p[v] for v in allowed)
    assert share == {v: p[v] / total for v in allowed}
    assert estimate == {v: pytest.approx(float(p[v])) for v in allowed}


def test_nothing_allowed_and_greedy():
    row = np.arange(1000, dtype=np.int32)[::-1].copy()
    assert pick(Sampling(), row, 0, lambda t: t == 700)[::2] == (700, 701)
    assert pick(Sampling(), row, 0, lambda t: False).token is None
    assert pick(Sampling(1.0), row, 0, lambda t: False).token is None


@given(st.integers(0, 5), st.integers(0, 99))
def test_a_rule_that_never_objects_changes_nothing(place, seed):
    row = np.random.default_rng(seed).normal(0, 1e5, 64).astype(np.int32)
    sampling = Sampling(0.9, seed=seed)
    found = pick(sampling, row, place, lambda t: True)
    assert (found.token, found.weight) == (sampling.choose(row, place), 1.0)


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)
ANY = b'{["-0123456789tfn'


@given(values, st.sampled_from([None, 1]), st.booleans())
def test_every_beginning_of_json_is_allowed(value, indent, ascii_only):
    text = json.dumps(value, indent=indent, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
    rule = Json(ANY)
    try:
        text.decode()
    except UnicodeDecodeError:
        assert not rule.allows(text)
        return
    assert all(rule.allows(text[:end]) for end in range(len(text) + 1))
    assert rule.complete(text)


@given(st.text('{}[]",:\\u0019-+.eEtrufalsn x\n', max_size=12))
def test_what_is_complete_is_json_and_the_other_way_round(text):
    try:
        json.loads(text, parse_constant=lambda name: 1 / 0)
        good = True
    except (ValueError, ZeroDivisionError):
        good = False
    rule = Json(ANY)
    data = text.encode()
    if text.strip() == text:
        assert (rule.allows(data) and rule.complete(data)) == good
    if good:
        assert rule.allows(data) or text.strip() != text


def test_json_begins_with_a_bracket_by_default_and_nothing_follows():
    assert not Json().allows(b"1")
    assert not Json().allows(b' {"a": 1}')
    assert not Json().allows(b"{} ")
    assert not Json().allows(b'["\xff')
    assert Json().allows('["ä'.encode()[:-1])


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_json_from_a_model_with_and_without_drafts(temperature):
    model = ExactModel(TINY, threads=1)
    found = []
    for drafter in (None, "recycling+lookup+ngram"):
        answer = generate(
            model,
            "A list: ",
            max_tokens=30,
            drafter=drafter,
            temperature=temperature,
            seed=3,
            constraint=Json(),
        ).run()
        assert Json().allows(answer.text.encode())
        assert answer.finish in ("end", "length", "stuck", "stop")
        if answer.finish == "end":
            json.loads(answer.text)
        assert (answer.weight > 0) == (answer.finish != "stuck")
        assert answer.weight <= 1
        assert answer.statistics.checks < 30 * model.vocab_size / 10  # of masking
        check(model, record(model, answer))
        found.append((answer.tokens, answer.weight))
    assert found[0] == found[1]


class Nothing:
    """A rule that no answer meets."""

    def allows(self, text: bytes) -> bool:
        return False

    def complete(self, text: bytes) -> bool:
        return False


def test_an_answer_gets_stuck_where_nothing_is_allowed():
    model = ExactModel(TINY, threads=1)
    answer = generate(model, "A list: ", max_tokens=30, constraint=Nothing()).run()
    assert (answer.finish, answer.text, answer.weight) == ("stuck", "", 0.0)
    with pytest.raises(DecodingError, match="of your own"):
        record(model, answer)


def test_a_recorded_answer_that_got_stuck_is_checked():
    """A JSON value that may only begin with a brace whose token is banned."""
    model = ExactModel(TINY, threads=1)
    answer = generate(model, "A list: ", max_tokens=30, constraint=Json(b"{"), banned=["{"]).run()
    assert (answer.finish, answer.text) == ("stuck", "")
    found = record(model, answer)
    assert found["taken"]
    check(model, found)
    with pytest.raises(DecodingError, match="token"):
        check(model, found | {"banned": [], "taken": found["tokens"]})


@pytest.mark.parametrize("make", [lambda: Regex("a"), lambda: Schema({})])
def test_without_the_library_the_message_says_what_to_install(monkeypatch, make):
    monkeypatch.setitem(sys.modules, "llguidance", None)
    with pytest.raises(DecodingError, match=r"nacrith\[constraints\]"):
        make()
