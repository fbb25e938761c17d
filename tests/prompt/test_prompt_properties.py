"""What prompt compression promises, for any text: the budget, the contract, spans of the original."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from prompt_texts import SAMPLES, texts
from small_models import TINY

from nacrith.errors import BudgetError, PromptError
from nacrith.prompt import Compressed, PromptCompressor, counter
from nacrith.prompt.protect import protected

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
    """What a rule protects is all there."""
    alive = bytearray(len(result.origin))
    for span in result.spans:
        alive[span.start : span.end] = bytes([span.kept]) * (span.end - span.start)
    for start, end, reason in protected(result.origin):
        missing = [c for c, k in zip(result.origin[start:end], alive[start:end], strict=True) if not k]
        assert not "".join(missing).strip(), (reason, result.origin[start:end])


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
    try:
        result = compressor.compress(text, target_tokens=target, query=query)
    except BudgetError:
        least = compressor.compress(text, threshold=math.inf).text
        assert counted(least) > target
        return
    assert result.compressed_tokens == counted(result.text) <= target
    check_faithful(result)
    check_contract(result)


@settings(max_examples=40, deadline=None)
@given(text=texts, scorer=st.sampled_from(SCORERS), rate=st.floats(0, 1))
def test_rate_without_rules(text: str, scorer: str, rate: float) -> None:
    """Without protected spans every rate can be met."""
    result = PromptCompressor(scorer, protect="none").compress(text, rate=rate)
    assert len(result.text) <= rate * len(text) + 1e-6
    check_faithful(result)


@pytest.mark.parametrize("name", SAMPLES)
@pytest.mark.parametrize("scorer", SCORERS)
def test_many_budgets(name: str, scorer: str) -> None:
    text = SAMPLES[name]
    compressor = PromptCompressor(scorer, len, protect="none")
    lengths = []
    for target in range(0, len(text) + 1, 7):
        result = compressor.compress(text, target_tokens=target)
        assert len(result.text) <= target
        check_faithful(result)
        lengths.append(len(result.text))
    assert lengths[-2] > 0.6 * len(text)  # the budget is used


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
        assert protect == "all"
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
    once = compressor.compress(text, target_tokens=target).text
    assert PromptCompressor(scorer, len, protect="none").compress(once, target_tokens=target).text == once
    again = compressor.compress(text, rate=0.5).text
    assert compressor.compress(again, rate=0.5).text == again


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
