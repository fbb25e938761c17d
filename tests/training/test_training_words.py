"""Training the word classifier: the data, the order of the batches, torch against numpy, resuming."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_words import VOCABULARY, write_bert

from nacrith.errors import ModelError, NacrithError
from nacrith.prompt.encoder import load_words, wordpiece
from nacrith.training.sentences import batches, encode, plain, read_sentences

torch = pytest.importorskip("torch", reason="torch is not installed: pip install '.[train]'")
pytest.importorskip("safetensors", reason="safetensors is not installed: pip install '.[train]'")

from nacrith.training.encoder import from_bert  # noqa: E402
from nacrith.training.words import Recipe, choose_vocabulary, encoder_of, f1_at_rate, train  # noqa: E402

ENDS = VOCABULARY.index("[CLS]"), VOCABULARY.index("[SEP]")


class StopError(Exception):
    pass


def stop(line: str) -> None:
    """A log that ends the training between two saved states."""
    if line.startswith("step 50 "):  # after the state of step 40 was saved
        raise StopError


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bert(tmp_path_factory.mktemp("start") / "bert")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sentences of which words with an "a" are kept."""
    rng = random.Random(0)
    path = tmp_path_factory.mktemp("data") / "train.jsonl"
    with path.open("w") as file:
        for _ in range(400):
            words = ["".join(rng.choices("abcde", k=rng.randint(1, 3))) for _ in range(rng.randint(2, 12))]
            keep = [int(w[0] == "a") for w in words]
            file.write(json.dumps({"words": words, "keep": keep}) + "\n")
    return path


def test_plain_text_of_treebank_text() -> None:
    words = ["``", "do", "n't", "##", "''", "<unk>", "rare"]
    ((found, keep),) = plain([(words, [0, 1, 1, 0, 0, 1, 0])], 1)
    assert found == ['"', "don", "'t", "0", '"', found[5], "rare"]
    assert found[5] in {"do", "rare"}
    assert keep == [0, 1, 1, 0, 0, 1, 0]


def test_labels_are_those_of_first_pieces() -> None:
    data = encode(
        [(["cat", "banana", "x" * 50], [1, 0, 1]), (["a"] * 20, [1] * 20)], wordpiece(VOCABULARY), 12
    )
    assert data.starts.tolist() == [0, 12]  # the second one is too long
    assert data.labels.tolist() == [1, 0, 2, 2, 1, 2, 2, 2, 2, 2, 2, 2]


def test_batches_hold_every_sentence_once_and_repeat(data: Path) -> None:
    encoded = encode(read_sentences(data), wordpiece(VOCABULARY), 100)
    count = 0
    seen: list[tuple[int, ...]] = []
    made = batches(encoded, 200, 3, ENDS)
    again = batches(encoded, 200, 3, ENDS)
    while count < len(encoded.lengths):
        batch, same = next(made), next(again)
        assert np.array_equal(batch.ids, same.ids)
        assert batch.mask.sum() <= 200 + batch.mask.shape[1]
        for ids, labels, mask in zip(batch.ids, batch.labels, batch.mask, strict=True):
            row = ids[mask]
            assert (row[0], row[-1]) == ENDS
            assert set(labels[~mask].tolist()) <= {2}
            assert (labels[0], labels[mask.sum() - 1]) == (2, 2)
            seen.append((*row[1:-1].tolist(), *labels[mask][1:-1].tolist()))
        count += len(batch.ids)
    expected = [
        (*encoded.ids[a:b].tolist(), *encoded.labels[a:b].tolist())
        for a, b in zip(encoded.starts[:-1], encoded.starts[1:], strict=True)
    ]
    assert sorted(seen) == sorted(expected)
    other = next(batches(encoded, 200, 4, ENDS))
    assert not np.array_equal(other.ids, next(batches(encoded, 200, 3, ENDS)).ids)


def test_vocabulary_keeps_what_is_used_and_letters() -> None:
    texts = [(["cat"] * 3 + ["banana"], [0] * 4)]
    kept = [VOCABULARY[i] for i in choose_vocabulary(VOCABULARY, texts, 2)]
    assert "cat" in kept
    assert "##nana" not in kept
    assert {"[UNK]", "a", "##a"} <= set(kept)


def test_torch_and_numpy_agree(bert: Path) -> None:
    model = from_bert(bert, range(len(VOCABULARY)), (0, 2), 40)
    with torch.no_grad():
        model.head.copy_(torch.linspace(-1, 1, len(model.head)))
    exact = encoder_of(model, VOCABULARY)
    rng = np.random.default_rng(0)
    rows = [rng.integers(4, len(VOCABULARY), n).tolist() for n in (3, 7)]
    ids = torch.zeros(2, 9, dtype=torch.long)
    for i, row in enumerate(rows):
        ids[i, : len(row) + 2] = torch.tensor([ENDS[0], *row, ENDS[1]])
    mask = torch.arange(9) < torch.tensor([[5], [9]])
    with torch.no_grad():
        found = model(ids, mask)
    for i, row in enumerate(rows):
        np.testing.assert_allclose(
            exact.logits(row), found[i, 1 : len(row) + 1].numpy(), rtol=1e-3, atol=1e-4
        )


def test_against_transformers(bert: Path) -> None:
    """The layers are BERT's."""
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    theirs = transformers.BertModel.from_pretrained(bert, add_pooling_layer=False).eval()
    model = from_bert(bert, range(len(VOCABULARY)), (0, 1, 2), 40)
    ids = torch.tensor([[2, 9, 30, 77, 3]])
    with torch.no_grad():
        expected = theirs(ids).last_hidden_state[0]
        for k in range(expected.shape[1]):
            model.head.zero_()
            model.head[k] = 1
            np.testing.assert_allclose(model(ids, None)[0], expected[:, k], rtol=1e-3, atol=1e-4)


def recipe(**changes: Any) -> Recipe:
    return Recipe(
        **{"take": (0, 1), "frozen": 0, "steps": 60, "pieces": 200, "rate": 5e-3, "warmup": 5} | changes
    )


def test_it_learns_and_resumes_to_the_same_file(bert: Path, data: Path, tmp_path: Path) -> None:
    def run(work: Path, log: Callable[[str], None] = lambda line: None) -> bytes:
        return train(bert, data, [data], work, recipe(), log, threads=1, every=20, checked=50).read_bytes()

    whole = run(tmp_path / "whole")
    rows = list(plain(read_sentences(data), 1))
    learnt = f1_at_rate(load_words(tmp_path / "whole" / "words.npz"), rows)
    assert learnt > 0.9

    with pytest.raises(StopError):
        run(tmp_path / "parts", stop)
    lines: list[str] = []
    assert run(tmp_path / "parts", lines.append) == whole
    assert "going on after step 40" in lines
    with pytest.raises(NacrithError, match="another recipe"):
        train(bert, data, [], tmp_path / "parts", recipe(seed=2), lines.append)


def test_what_is_frozen_stays(bert: Path, data: Path, tmp_path: Path) -> None:
    before = from_bert(bert, range(len(VOCABULARY)), (0, 1), 40).arrays()
    path = train(bert, data, [], tmp_path, recipe(frozen=1, steps=3), lambda line: None)
    after = load_words(path)
    np.testing.assert_allclose(after.layers[0]["qkv"].T, before["0.qkv"], atol=0.01)
    assert np.array_equal(after.layers[0]["qkv.bias"], before["0.qkv.bias"])
    assert not np.array_equal(after.layers[1]["qkv.bias"], before["1.qkv.bias"])


def test_bad_input(bert: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.jsonl").write_text('{"words": ["a"], "keep": [1]}\n{"words": ["a"], "keep": []}\n')
    with pytest.raises(NacrithError, match="line 2"):
        read_sentences(tmp_path / "bad.jsonl")
    assert list(islice(read_sentences(tmp_path / "bad.jsonl", 1), 2)) == [(["a"], [1])]
    with pytest.raises(ModelError, match="not a BERT"):
        from_bert(tmp_path, [0], (0,), 8)
    with pytest.raises(ModelError, match="not a BERT"):
        from_bert(bert, [0], (7,), 8)


def test_the_number_of_steps_may_change_before_the_rate_falls(bert: Path, data: Path, tmp_path: Path) -> None:
    def run(steps: int, log: Callable[[str], None] = lambda line: None) -> Path:
        return train(bert, data, [], tmp_path, recipe(steps=steps), log, threads=1, every=20)

    with pytest.raises(StopError):
        run(60, stop)
    with pytest.raises(NacrithError, match="another recipe"):
        run(80)  # 40 is within the last 35 % of 60
    (tmp_path / "state.pt").unlink()
    with pytest.raises(StopError):
        run(90, stop)
    lines: list[str] = []
    run(64, lines.append)
    assert "going on after step 40" in lines
