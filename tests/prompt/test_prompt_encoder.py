"""The built-in word classifier: its arithmetic by definition, its pieces, its file."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prompt_texts import texts
from small_words import HEADS, VOCABULARY, WIDTH, arrays, write_small

from nacrith.errors import ModelError
from nacrith.prompt import PromptCompressor
from nacrith.prompt.encoder import (
    EMBEDDING_LIMIT,
    MATRIX_LIMIT,
    PIECES,
    load_words,
    pieces,
    quantised,
    wordpiece,
)
from nacrith.prompt.scorers import make
from nacrith.prompt.segment import passage

POSITIONS = 40


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_small(tmp_path_factory.mktemp("model") / "words.npz", positions=POSITIONS)


def by_definition(ids: list[int]) -> list[float]:
    """Log odds of keeping, in plain Python floats, of the weights as the file rounds them."""
    w = {}
    for name, x in arrays(positions=POSITIONS).items():
        if x.ndim == 2:
            q, scale = quantised(x, EMBEDDING_LIMIT if name == "embedding" else MATRIX_LIMIT)
            x = q * scale[:, None]
        w[name] = x.astype(np.float64)

    def norm(row: np.ndarray, name: str) -> np.ndarray:
        row = row - row.mean()
        return row / math.sqrt((row**2).mean() + 1e-12) * w[name][:WIDTH] + w[name][WIDTH:]

    row = [VOCABULARY.index("[CLS]"), *ids, VOCABULARY.index("[SEP]")]
    x = [norm(w["embedding"][t] + w["position"][i], "embedding_norm") for i, t in enumerate(row)]
    size = WIDTH // HEADS
    for i in range(2):
        qkv = [w[f"{i}.qkv"] @ v + w[f"{i}.qkv.bias"] for v in x]
        mixed = []
        for here in qkv:
            heads = []
            for h in range(HEADS):
                q = here[h * size : (h + 1) * size]
                keys = [o[WIDTH + h * size : WIDTH + (h + 1) * size] for o in qkv]
                values = [o[2 * WIDTH + h * size : 2 * WIDTH + (h + 1) * size] for o in qkv]
                e = [math.exp(float(q @ k) / math.sqrt(size)) for k in keys]
                heads.append(sum(a * v for a, v in zip(e, values, strict=True)) / sum(e))
            mixed.append(np.concatenate(heads))
        x = [
            norm(v + w[f"{i}.output"] @ m + w[f"{i}.output.bias"], f"{i}.attention_norm")
            for v, m in zip(x, mixed, strict=True)
        ]
        out = []
        for v in x:
            u = w[f"{i}.up"] @ v + w[f"{i}.up.bias"]
            g = np.array(
                [0.5 * a * (1 + math.tanh(math.sqrt(2 / math.pi) * (a + 0.044715 * a**3))) for a in u]
            )
            out.append(norm(v + w[f"{i}.down"] @ g + w[f"{i}.down.bias"], f"{i}.output_norm"))
        x = out
    return [float(v @ w["head"][:-1] + w["head"][-1]) for v in x[1:-1]]


def test_the_arithmetic_by_definition(small: Path) -> None:
    ids = [7, 9, 100, 4, 4]
    np.testing.assert_allclose(load_words(small).logits(ids), by_definition(ids), rtol=1e-4, atol=1e-4)


def test_pieces_of_numbers_quotes_and_long_words() -> None:
    tokenizer = wordpiece(VOCABULARY)
    words = ["Cat", "1,234.50", "banana", "‘a’", "x" * 30, "\u200d", "É"]
    ((ids, owners),) = pieces(tokenizer, [words])
    found = [[VOCABULARY[t] for t, w in zip(ids, owners, strict=True) if w == k] for k in range(len(words))]
    assert found[0] == ["cat"]
    assert found[1] == ["0"]
    assert found[2] == ["b", "##a", "##nana"]
    assert found[3] == ["'", "a", "'"]
    assert found[4] == ["x", *["##x"] * (PIECES - 1)]
    assert found[5] == []
    assert found[6] == ["e"]


def test_a_word_has_the_score_of_its_first_piece(small: Path) -> None:
    encoder = load_words(small)
    ((ids, owners),) = pieces(encoder.tokenizer, [["cat", "banana", "dog"]])
    expected = [1 / (1 + math.exp(-by_definition(ids)[owners.index(k)])) for k in range(3)]
    (found,) = encoder.score_words([["cat", "banana", "dog"]])
    np.testing.assert_allclose(found, expected, rtol=1e-3)


@settings(max_examples=40, deadline=None)
@given(words=st.lists(st.text("ab#é中 ", min_size=1, max_size=20), max_size=60))
def test_sentences_longer_than_the_model_reads(small: Path, words: list[str]) -> None:
    """Every word with a piece has a score; the others have none."""
    encoder = load_words(small)
    ((_, owners),) = pieces(encoder.tokenizer, [words])
    (found,) = encoder.score_words([words])
    assert found.shape == (len(words),)
    assert set(np.flatnonzero(found).tolist()) == set(owners)


def test_nothing_around_a_sentence_changes_it(small: Path) -> None:
    scorer = make("classifier", model=str(small), threads=1)
    one, two = passage("A cat sat. It ran!"), passage("It ran! No? A cat sat.")
    (a,), (b,) = scorer.score([one], ""), scorer.score([two], "who?")
    assert np.array_equal(a[:4], b[-4:])
    assert np.array_equal(a[4:], b[:3])


def test_threads_change_nothing(small: Path) -> None:
    p = passage("A cat sat. It ran! No? Then the banana, and so on. " * 20)
    (one,), (three,) = (make("classifier", model=str(small), threads=n).score([p], "") for n in (1, 3))
    assert np.array_equal(one, three)
    assert one.any()


@settings(max_examples=30, deadline=None)
@given(text=texts)
def test_any_text(small: Path, text: str) -> None:
    scorer = make("classifier", model=str(small))
    p = passage(text)
    (found,) = scorer.score([p], "")
    assert found.shape == (len(p),)
    assert np.isfinite(found).all()


def test_bad_files(small: Path, tmp_path: Path) -> None:
    good = small.read_bytes()
    for data in (b"", b"PK\x03\x04", good[: len(good) // 2], good.replace(b'"format": 1', b'"format": 9')):
        bad = tmp_path / "bad.npz"
        bad.write_bytes(data)
        with pytest.raises(ModelError, match=r"bad\.npz"):
            load_words(bad)
    with pytest.raises(ModelError, match="cannot read"):
        load_words(tmp_path / "none.npz")


def test_equal_weights_give_equal_files(small: Path, tmp_path: Path) -> None:
    assert write_small(tmp_path / "again.npz", positions=POSITIONS).read_bytes() == small.read_bytes()


def test_through_the_compressor(small: Path) -> None:
    result = PromptCompressor("classifier", len, model=str(small), protect="none").compress(
        "The cat sat on the mat. Then it ran away.", rate=0.5
    )
    assert 0 < result.compressed_tokens <= 20
