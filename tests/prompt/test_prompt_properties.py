"""What prompt compression promises, for any text: the budget, the contract, spans of the original."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from prompt_texts import SAMPLES, texts
from small_models import TINY

from nacrith.errors import BudgetError, PromptError
from nacrith.prompt import Compressed, PromptCompressor, counter
from nacrith.prompt.protect import BOUND, HARD, STRUCTURE, protected

COUNTERS: dict[str, Callable[[str], int]] = {
    "chars": len,
    "words": lambda text: len(text.split()),
    "tiny": counter(str(TINY)),
    "lumpy": lambda text: (len(text) * 7919) % 23 + len(text) // 3,  # not monotone at all
}
SCORERS = ["lexrank", "classifier", "random", "truncate"]


def check_faithful(result: Compressed, escaped: bool = False) -> None:
    """The units tile the original; the kept ones are the output; no two words grew together.

    escaped: characters may be written as escapes, whose digits are no words.
    """
    assert [u.start for u in result.units[1:]] == [u.end for u in result.units[:-1]]
    assert "".join(result.origin[u.start : u.end] for u in result.units) == result.origin
    kept = [(s.start, s.end) for s in result.spans if s.kept]
    assert "".join(result.origin[a:b] for a, b in kept) == result.text
    for (_, a), (b, _) in pairwise(kept) if not escaped else ():
        if a == b:  # neighbours in the original, such as an escape and the word behind it
            continue
        left, right = result.origin[a - 1], result.origin[b]
        assert not (left.isascii() and left.isalnum() and right.isascii() and right.isalnum())


def check_contract(result: Compressed) -> None:
    """What a rule protects is all there, or not at all if the rule applies with its sentence."""
    alive = bytearray(len(result.origin))
    for span in result.spans:
        alive[span.start : span.end] = bytes([span.kept]) * (span.end - span.start)
    found = protected(result.origin)
    structure = {i for start, end, reason in found if reason in STRUCTURE for i in range(start, end)}
    for start, end, reason in found:
        free = range(start, end) if reason in HARD else set(range(start, end)) - structure
        kept = {bool(alive[i]) for i in free if not result.origin[i].isspace()}
        always = reason in HARD or (result.retain == "always" and reason not in BOUND)
        assert kept <= {True} if always else len(kept) < 2, (reason, result.origin[start:end], result.text)


def attempt(compressor: PromptCompressor, text: str, **options: Any) -> tuple[Compressed | None, int]:
    """The result, or None and the budget that the error says would work; and it does."""
    try:
        return compressor.compress(text, **options), 0
    except BudgetError as error:
        smallest = error.smallest or 0
    again = PromptCompressor(compressor.scorer, compressor.count, protect=compressor.contract.rules)
    kind = options.get("kind", "text")
    assert again.compress(text, target_tokens=smallest, kind=kind).compressed_tokens <= smallest
    return None, smallest


@settings(max_examples=80, deadline=None)
@given(
    text=texts,
    scorer=st.sampled_from(SCORERS),
    count=st.sampled_from(sorted(COUNTERS)),
    share=st.floats(0, 1.1),
    query=st.sampled_from(["", "Who is not in the room?", "上海"]),
)
def test_budget_and_contract(text: str, scorer: str, count: str, share: float, query: str) -> None:
    counted = COUNTERS[count]
    compressor = PromptCompressor(scorer, counted)
    target = int(share * counted(text))
    result, smallest = attempt(compressor, text, target_tokens=target, query=query)
    if result is None:
        assert smallest > target
        return
    assert result.compressed_tokens == counted(result.text) <= target
    check_faithful(result)
    check_contract(result)


@settings(max_examples=40, deadline=None)
@given(text=texts, scorer=st.sampled_from(SCORERS), rate=st.floats(0, 1))
def test_rate_without_rules(text: str, scorer: str, rate: float) -> None:
    """Without protected spans every rate can be met that leaves room for a word."""
    result, smallest = attempt(PromptCompressor(scorer, protect="none"), text, rate=rate)
    if result is None:
        assert smallest > rate * len(text) - 1
        return
    assert len(result.text) <= rate * len(text) + 1e-6 or result.text == text
    check_faithful(result)


@pytest.mark.parametrize("name", SAMPLES)
@pytest.mark.parametrize("scorer", SCORERS)
def test_many_budgets(name: str, scorer: str) -> None:
    text = SAMPLES[name]
    compressor = PromptCompressor(scorer, len, protect="none")
    lengths = []
    for target in range(0, len(text) + 1, 7):
        result, smallest = attempt(compressor, text, target_tokens=target)
        if result is None:
            assert target < smallest < 12
            continue
        assert len(result.text) <= target
        check_faithful(result)
        lengths.append(len(result.text))
    assert lengths[-2] > 0.6 * len(text)  # the budget is used, but for a clause of a text of three sentences


@pytest.mark.parametrize("name", SAMPLES)
def test_joined_characters_stay_together(name: str) -> None:
    """Whatever is dropped: no emoji is cut, no mark loses its letter."""
    whole = ["👨‍👩‍👧‍👦", "🇩🇪", "👍🏽", "❤️‍🔥", "1️⃣", "🏴󠁧󠁢󠁳󠁣󠁴󠁿"]
    for seed in range(30):
        text = PromptCompressor("random", seed=seed, protect="none").compress(SAMPLES[name]).text
        for cluster in whole:
            text = text.replace(cluster, "")
        assert not set(text) & set("👨👩🇩🇪👍🏽\u200d\ufe0f\u20e3🏴\U000e0067")


@example([". TheThe", "a b"], [""], "random", 0.75, "none")  # white space that what follows begins with
@settings(max_examples=40, deadline=None)
@given(
    before=st.lists(texts, max_size=4),
    after=st.lists(texts, max_size=3),
    scorer=st.sampled_from(SCORERS),
    rate=st.floats(0.1, 0.9),
    protect=st.sampled_from(["none", "all"]),
)
def test_prefix_stability(
    before: list[str], after: list[str], scorer: str, rate: float, protect: str
) -> None:
    def paragraph(text: str) -> str:
        return " ".join(text.replace("```", "").split()) + " so.\n\n"

    first = "".join(map(paragraph, before))
    second = "".join(map(paragraph, after))
    compressor = PromptCompressor(scorer, protect=protect)
    try:
        short = compressor.compress(first, rate=rate, prefix_stable=True)
        long = compressor.compress(first + second, rate=rate, prefix_stable=True)
    except BudgetError:
        return
    assert long.text.startswith(short.text)
    assert len(long.text) <= rate * len(first + second) + 1e-6
    check_faithful(long)


def test_prefix_stability_spends_what_was_saved() -> None:
    """A paragraph may be kept whole by what the ones before did not use."""
    text = "One two three four five.\n\n" * 12
    result = PromptCompressor("lexrank").compress(text, rate=0.5, prefix_stable=True)
    assert result.text == "One two three four five.\n\n" * 6


@settings(max_examples=40, deadline=None)
@given(text=texts, scorer=st.sampled_from(SCORERS), share=st.floats(0.3, 1))
def test_idempotence(text: str, scorer: str, share: float) -> None:
    compressor = PromptCompressor(scorer, len, protect="none")
    target = int(share * len(text))
    for options in ({"target_tokens": target}, {"rate": 0.5}):
        once, _ = attempt(compressor, text, **options)
        if once is not None:
            fresh = (
                PromptCompressor(scorer, len, protect="none") if "target_tokens" in options else compressor
            )
            assert fresh.compress(once.text, **options).text == once.text


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=8,
)


def check_shape(before: object, after: object) -> None:
    """Same keys, numbers and lengths; strings are subsequences."""
    assert type(before) is type(after)
    if isinstance(before, dict):
        assert isinstance(after, dict)
        assert list(before) == list(after)
        for key in before:
            check_shape(before[key], after[key])
    elif isinstance(before, list):
        assert isinstance(after, list)
        assert len(before) == len(after)
        for a, b in zip(before, after, strict=True):
            check_shape(a, b)
    elif isinstance(before, str):
        rest = iter(before)
        assert isinstance(after, str)
        assert all(c in rest for c in after)
    else:
        assert before == after


@settings(max_examples=80, deadline=None)
@example(value=[["The. The\nnot The. 0\x1f\x1b"]], ascii_only=False, scorer="lexrank", rate=0.25)
@given(value=values, ascii_only=st.booleans(), scorer=st.sampled_from(SCORERS), rate=st.floats(0, 1))
def test_json_stays_valid(value: object, ascii_only: bool, scorer: str, rate: float) -> None:
    source = json.dumps(value, ensure_ascii=ascii_only, indent=random.Random(rate).choice([None, 2]))
    compressor = PromptCompressor(scorer, len, protect="none")
    result = compressor.compress(source, rate=rate, kind="json")
    check_shape(value, json.loads(result.text))
    assert result.limit is not None
    assert len(result.text) <= result.limit
    check_faithful(result, escaped=ascii_only)


def test_a_lone_surrogate_is_an_error() -> None:
    with pytest.raises(PromptError, match="character 2 is a lone surrogate"):
        PromptCompressor().compress("ab\ud800")
