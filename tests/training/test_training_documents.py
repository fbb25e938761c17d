"""Documents with labels of a language model: where they come from, their labels, and training on them."""

from __future__ import annotations

import importlib.util
import json
import lzma
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from clirunner import nacrith
from hypothesis import given, settings
from prompt_texts import texts
from small_models import TINY
from small_words import HEADS, VOCABULARY, arrays, write_bert, write_small

from nacrith.errors import NacrithError
from nacrith.models import load_model
from nacrith.models.protocol import LanguageModel
from nacrith.prompt.encoder import load_words, write_model
from nacrith.prompt.scorers import make
from nacrith.prompt.scorers.language_model import SelfInformationScorer
from nacrith.prompt.segment import WORD, passage
from nacrith.training.documents import KEPT, TOGETHER, excerpts, label, prepare
from nacrith.training.sentences import MISSING, mixed, read_sentences

ENGLISH = (
    "The harbour was built of granite in the last century, and it is old. Ships from many countries call "
    "there every week. The mayor of the town is Anna Berg, who won the vote in spring.\n\n"
    "It was in the news, and that is a good thing to have. The weather is mild and wet, as it was.\n\n"
) * 20
GERMAN = "Der Hafen wurde aus Granit gebaut. Jede Woche kommen Schiffe aus vielen Ländern. " * 30


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    path = tmp_path / "corpus.jsonl.xz"
    with lzma.open(path, "wt", encoding="utf-8") as file:
        file.writelines(json.dumps({"text": t, "kind": "x"}) + "\n" for t in (ENGLISH, GERMAN, ENGLISH[300:]))
    return path


def test_excerpts_are_english_paragraphs() -> None:
    found = list(excerpts(iter([ENGLISH, GERMAN, ENGLISH]), 3))
    assert len(found) == 2
    for excerpt in found:
        at = ENGLISH.index(excerpt)
        assert at == 0 or ENGLISH[at - 2 : at] == "\n\n"
        assert len(excerpt) <= 2000
        assert (ENGLISH + "\n")[at + len(excerpt)].isspace()
    assert found == list(excerpts(iter([ENGLISH, GERMAN, ENGLISH]), 3))
    assert any(found != list(excerpts(iter([ENGLISH, GERMAN, ENGLISH]), seed)) for seed in range(5))


@settings(max_examples=40, deadline=None)
@given(text=texts)
def test_groups_are_whole_sentences(text: str) -> None:
    p = passage(text)
    groups = p.groups(7)
    assert [i for a, b in groups for i in range(a, b)] == list(range(len(p)))
    begins, ends = zip(*p.sentences, strict=True) if p.sentences else ((), ())
    for a, b in groups:
        assert a in begins
        assert b in ends
        assert b - a <= 7 or (a, b) in p.sentences
    ends_of = dict(p.sentences)
    assert all(ends_of[begin] - before > 7 for (before, _), (begin, _) in pairwise(groups))


def test_labels_are_the_words_of_most_bits() -> None:
    model = load_model(str(TINY), threads=1)
    text = ENGLISH[:900]
    found = list(label(model, iter([text, text]), 1))
    p = passage(text)
    (bits,) = SelfInformationScorer(model).score([p], "")
    assert [w for words, _ in found for w in words] == p.words  # one text was enough
    keep = np.array([k for _, keep in found for k in keep])
    assert np.array_equal(keep == MISSING, p.kinds != WORD)
    for a, b in p.groups(TOGETHER):
        kept = bits[a:b][keep[a:b] == 1]
        dropped = bits[a:b][keep[a:b] == 0]
        assert len(kept) == round(KEPT * (len(kept) + len(dropped)))
        assert kept.min() >= dropped.max()
    assert len(list(label(model, iter([text, text]), len(p) + 1))) == 2 * len(found)


def test_documents_are_labelled_once(corpus: Path, tmp_path: Path) -> None:
    def never() -> LanguageModel:
        raise AssertionError("loaded again")

    def model() -> LanguageModel:
        return load_model(str(TINY), threads=1)

    lines: list[str] = []
    path = tmp_path / "work" / "documents.jsonl"
    found = prepare(path, [corpus], model, 100, 1, lines.append)
    assert found
    assert found == prepare(path, [corpus], never, 100, 1, lines.append) == read_sentences(path)
    (tmp_path / "german.txt").write_text(GERMAN, encoding="utf-8")
    with pytest.raises(NacrithError, match=r"german\.txt: no English text"):
        prepare(tmp_path / "none", [tmp_path / "german.txt"], model, 100, 1, lines.append)


def test_a_model_of_documents_reads_groups(tmp_path: Path) -> None:
    path = tmp_path / "together.npz"
    write_model(path, arrays(), VOCABULARY, HEADS, {"together": 8})
    scorer = make("classifier", model=str(path), threads=1)
    p = passage("A cat sat. It ran! No? Then the banana, and so on, to the end of it all. A dog. Yes.")
    (found,) = scorer.score([p], "")
    expected = np.concatenate(load_words(path).score_words([p.words[a:b] for a, b in p.groups(8)]))
    assert np.array_equal(found, expected)
    alone = make("classifier", model=str(write_small(tmp_path / "alone.npz")), threads=1)
    assert not np.array_equal(found, alone.score([p], "")[0])
    assert (scorer.causal, alone.causal) == (False, True)


needs_torch = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("torch", "safetensors")),
    reason="training needs torch and safetensors: pip install '.[train]'",
)


def test_shares_of_batches() -> None:
    def endless(name: str):  # type: ignore[no-untyped-def]
        while True:
            yield name

    def drawn(share: float) -> str:
        order = mixed(endless("s"), endless("d"), share)
        return "".join(str(next(order)) for _ in range(10))

    assert drawn(0.0) == "s" * 10
    assert drawn(1.0) == "d" * 10
    assert drawn(0.5) == "sd" * 5
    assert drawn(0.3).count("d") == 3


@needs_torch
def test_training_on_documents_by_the_command(tmp_path: Path) -> None:
    """What was labelled is kept, also for a second run, and the model says that it reads groups."""
    bert, work = write_bert(tmp_path / "bert", positions=140), tmp_path / "work"
    data, short = tmp_path / "data.jsonl", tmp_path / "short.txt"
    short.write_text("It is as it is. He is in a car. We go by it to a hut of his. " * 40)
    data.write_text(json.dumps({"words": ["a", "cat", "sat", "."], "keep": [0, 1, 1, 1]}) + "\n")
    command = ["train-prompt", str(data), "--bert", str(bert), "--work", str(work), "--layers", "2"]
    command += ["--documents", str(short), "--share", "0.5", "--model", str(TINY), "--steps", "2"]
    done = nacrith(*command)
    assert done.code == 0, done.err
    assert done.out.decode().strip() == str(work / "words.npz")
    assert "documents" in done.err
    made = load_words(work / "words.npz")
    assert made.together == TOGETHER
    assert len(read_sentences(work / "documents.jsonl")) > 1
    labelled = (work / "documents.jsonl").read_bytes()
    again = nacrith(*command, "--frozen", "2")
    assert again.code == 1
    assert "another recipe" in again.err
    assert (work / "documents.jsonl").read_bytes() == labelled
    (work / "documents.jsonl").write_text(json.dumps({"words": ["x" * 9] * 99, "keep": [1] * 99}) + "\n")
    assert "none of 1 texts" in nacrith(*command).err
