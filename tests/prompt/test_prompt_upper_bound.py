"""The count for readers whose tokenizer is not at hand is never below what they count.

data/token_counts.json has texts of many kinds, written or drawn for it, and how many tokens five large
vocabularies make of each: cl100k, o200k, Qwen's of 151,643 and 248,044 tokens, DeepSeek's.
"""

from __future__ import annotations

import json
from typing import Any
from unicodedata import normalize

import pytest
from clirunner import nacrith
from hypothesis import given, settings
from hypothesis import strategies as st
from paths import DATA

from nacrith.models.exact import modelfile
from nacrith.models.store import find
from nacrith.prompt import PromptCompressor
from nacrith.prompt.counters import ANY, OURS, counter

SAMPLES: list[dict[str, Any]] = json.loads((DATA / "token_counts.json").read_text())


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda s: s["kind"])
def test_no_vocabulary_counts_more(sample: dict[str, Any]) -> None:
    text, largest = sample["text"], max(sample["counts"].values())
    assert largest <= counter(ANY)(text) <= len(text.encode())


def test_the_small_vocabulary_alone_is_no_bound() -> None:
    """Else there would be nothing to raise."""
    plain = counter(OURS)
    below = {s["kind"] for s in SAMPLES if plain(s["text"]) < max(s["counts"].values())}
    assert {"C++", "Japanese", "numbers in columns"} <= below


def test_of_prose_it_is_not_far_above() -> None:
    (english,) = (s for s in SAMPLES if s["kind"] == "English")
    assert counter(ANY)(english["text"]) <= 1.6 * max(english["counts"].values())


@settings(max_examples=200, deadline=None)
@given(st.text())
def test_no_more_than_bytes(text: str) -> None:
    forms = [text, normalize("NFC", text)]
    count = counter(ANY)(text)
    assert (count > 0) == bool(text)
    assert count <= max(len(form.encode("utf-8", "surrogatepass")) for form in forms)


def test_a_character_that_normalisation_makes_longer() -> None:
    assert counter(ANY)("\u0958") > len("\u0958".encode())


def test_command() -> None:
    (english,) = (s for s in SAMPLES if s["kind"] == "English")
    done = nacrith("prompt", "--target-tokens", "90", stdin=english["text"].encode())
    assert done.code == 0
    assert done.said(OURS, "--tokenizer")
    assert 30 < counter(ANY)(done.out.decode()) <= 90
    named = nacrith("prompt", "--target-tokens", "90", "--tokenizer", "any", stdin=english["text"].encode())
    assert (named.out, named.err) == (done.out, "")
    result = PromptCompressor("lexrank", ANY).compress(english["text"], target_tokens=90)
    assert result.compressed_tokens <= 90


def test_counts_are_of_the_model_of_the_package() -> None:
    assert modelfile.read(find(OURS), verify=False).config.vocab == 16384
