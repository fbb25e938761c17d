"""The benchmark of prompt compression on a handful of made-up data, and that it can tell good from bad."""

from __future__ import annotations

import json
import lzma
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_models import TINY

from bench.prompts import answers, asked, lingua, prompt
from bench.prompts.answers import Reader, token_f1
from nacrith.models import load_model
from nacrith.prompt import Compressed, PromptCompressor
from nacrith.prompt.scorers import make
from nacrith.prompt.segment import Passage


@pytest.fixture
def data(tmp_path: Path) -> Path:
    rows = [
        {"words": [*["the", "old", "man", "sat", "down", "there"], "."], "keep": [0, 1, 1, 1, 0, 0, 1]}
    ] * 3
    with lzma.open(tmp_path / "sentcomp.eval10k.jsonl.xz", "wt") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)
    paragraphs = [
        {
            "context": f"The river of town {name} is long and wide. Its mayor is called {name} Berg. " * 2,
            "qas": [{"question": f"Which mayor has {name}?", "answers": [{"text": f"called {name} Berg"}]}],
        }
        for name in ("Alba", "Bern", "Cork", "Dover", "Essen", "Faro")
    ]
    with lzma.open(tmp_path / "xquad.en.json.xz", "wt") as file:
        json.dump({"data": [{"paragraphs": paragraphs}]}, file)
    return tmp_path


def test_word_f1_by_hand(data: Path) -> None:
    """truncate keeps "the old man" and, for the fourth word, the full stop or "sat": 3 of 4 are right."""
    rows = prompt.sentences(data, 10, 0)
    assert len(rows) == 3
    assert prompt.word_f1(make("truncate"), rows) == pytest.approx(0.75)


def test_the_labels_themselves_are_the_ceiling(data: Path) -> None:
    rows = prompt.sentences(data, 10, 0)
    assert prompt.word_f1(prompt.Labels(rows), rows) == 1
    assert prompt.word_f1(make("random"), rows) < 1


ARGUMENTS = ["--distractors", "3", "--questions", "3", "--model", str(TINY)]


def test_tables_and_resumption(
    data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--data", str(data), "--out", str(data / "out"), *ARGUMENTS, "--answered", "2"]
    prompt.main([*arguments, "--tables", "seconds"])
    assert "| seconds " in capsys.readouterr().out
    prompt.main([*arguments, "--tables", "words", "retained", "--fresh"])
    shown = capsys.readouterr().out.partition("| seconds")[0]
    table = {line.split("|")[1].strip(): line for line in shown.splitlines() if line.startswith("|")}
    assert "0.750" in table["truncate"]
    assert "1.000" in table["labels"]
    assert table["lexrank, no rules"].count("100.0%") == 3
    assert "random, rules" in table
    assert (data / "out" / "prompt.md").read_text().startswith(shown)

    def never(*_: object) -> None:
        raise AssertionError("measured again")

    monkeypatch.setattr(prompt, "word_f1", never)
    prompt.main([*arguments, "--tables", "words", "answered"])
    shown = capsys.readouterr().out
    assert "questions 2, distractors 3" in shown
    assert "questions 3, distractors 3" in shown
    for arguments_of_another_measurement in (["--fresh"], ["--sentences", "2"]):
        with pytest.raises(AssertionError, match="measured again"):
            prompt.main([*arguments, "--tables", "words", *arguments_of_another_measurement])
    rows = json.loads((data / "out" / "prompt.json").read_text())["rows"]
    answered = {r["row"]: r["cells"] for r in rows if r["table"] == "answered"}
    assert list(answered) == ["the whole text", "no text", *prompt.DEFAULT]
    assert answered["the whole text"]["kept 5x"] == answered["lexrank"]["kept 2x"] == 1
    assert answered["no text"]["kept 2x"] == 0
    assert all(0 <= cells["F1 3x"] <= 1 for cells in answered.values())


@pytest.mark.parametrize(
    ("answer", "gold", "f1"),
    [
        ("The Berg, Anna!", ["anna berg"], 1),
        ("it is an apple", ["pear", "the apple tree"], 2 * 1 / (3 + 2)),
        ("a a", ["the"], 1),
        ("", ["pear"], 0),
        ("pear pear", ["pear"], 2 / 3),
    ],
)
def test_f1_of_answers(answer: str, gold: list[str], f1: float) -> None:
    assert token_f1(answer, gold) == pytest.approx(f1)


def test_answers_are_the_most_likely_tokens() -> None:
    """Side by side as one by one, to the end of the line or to the last token allowed."""
    model = load_model(str(TINY), threads=1)
    reader = Reader(model)
    asked = [("The cat sat.", "Who sat?"), ("Snow is white. " * 30, "What is white?"), ("", "Why?")] * 4
    prompts = [reader.prompt(*pair) for pair in asked]
    found = reader.answers(prompts)
    for ids, answer in zip(prompts[:3], found, strict=False):
        said: list[int] = []
        for _ in range(answers.MOST):
            row = model.session().extend([[*ids, *said]])[0][-1]
            said.append(max(range(len(row)), key=lambda t, row=row: int(row[t])))
        text = model.tokenizer.decode(said).decode("utf-8", "replace").strip().partition("\n")[0]
        assert text.startswith(answer)
        assert answer
    assert found == found[:3] * 4


def test_an_answer_ends_with_its_line_or_a_special_token() -> None:
    model = load_model(str(TINY), threads=1)
    reader = Reader(model)
    line = list(model.tokenizer.encode(b"yes\n"))
    word = line[0]
    assert reader._ends(line, word)
    assert reader._ends([word], model.bos_id)
    assert reader._ends([word] * answers.MOST, word)
    assert not reader._ends(line[:1], line[-1])
    assert not reader._ends(list(model.tokenizer.encode(b"\n")), word)  # an answer below the question


class Letters:
    """A tokenizer of runs of letters and single other characters; all in lower case."""

    def __init__(self) -> None:
        self.words: list[str] = []

    def __call__(self, text: str, **options: object) -> dict[str, list[Any]]:
        found = list(re.finditer(r"[^\W\d_]+|\d+|[^\w\s]", text))
        self.words = [m.group().lower() for m in found]
        return {"input_ids": list(range(len(found))), "offset_mapping": [m.span() for m in found]}

    def convert_ids_to_tokens(self, ids: list[int]) -> list[str]:
        return [self.words[i] for i in ids]


def test_causes_of_differences_with_llmlingua() -> None:
    """A half of a compound, a word that it lost, one on the threshold, and one for no reason."""
    text = "Anna sat state-of-the-art by sea sun"

    def ours(cut: float) -> Compressed:
        class Fixed:
            name, by_sentence, causal = "fixed", False, True

            def score(self, passages: list[Passage], query: str) -> list[np.ndarray]:
                return [np.array([0.9, 0.1, 0.8, 0.9, cut, 0.2])]

        return PromptCompressor(Fixed(), protect="none").compress(text, threshold=cut)

    labels = {"anna": True, "sat": False, "state": True, "of": False, "sea": False, "sun": True}
    words = ["anna", "sat", "state", "-", "of", "-", "the", "-", "art", "sea", "sun"]
    found = [(word, labels.get(word, True)) for word in words]
    causes = lingua.compare(text, Letters(), ours(0.5), found, 0.5, True)
    assert causes == {"same": 2, "word cut up": 1, "unknown dropped": 1, "last digits": 1, "other": 1}
    assert lingua.compare(text, Letters(), ours(0.5), found, 0.5, False)["window"] == 1


def write_asked(folder: Path) -> None:
    """Two questions of HotpotQA, of which the second is used; passages of NQ; a meeting."""
    title, sentences = (
        ["Town", "River"],
        [["The town is old."], ["The river is long.", " Its mouth is wide."]],
    )
    hotpot = {
        "question": "How is the river?",
        "answer": "long",
        "supporting_facts": {"title": ["River", "Town", "Town"], "sent_id": [0, 0, 9]},
        "context": {"title": title, "sentences": sentences},
    }
    nq = [
        {
            "question": f"colour of thing{i} there",
            "answers": [f"hue{i}"],
            "ctxs": [{"title": f"T{i}", "text": f"The colour of thing{i} is hue{i}, not thing{i + 1}."}],
        }
        for i in range(320)
    ]
    turns = [{"speaker": "A", "content": f"Point {i} is said."} for i in range(4)]
    query = {"query": "Which point?", "relevant_text_span": [["1", "2"]]}
    rows = {
        "hotpotqa.distractor.sample100": [hotpot, hotpot],
        "nq-open-oracle": nq,
        "qmsum.test": [{"meeting_transcripts": turns, "specific_query_list": [query]}],
    }
    for name, found in rows.items():
        with lzma.open(folder / f"{name}.jsonl.xz", "wt") as file:
            file.writelines(json.dumps(row) + "\n" for row in found)


def test_documents_with_a_question(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_asked(data)
    (hotpot,) = asked.hotpotqa(data, 9, 0)
    assert hotpot.text == "Town\nThe town is old.\n\nRiver\nThe river is long. Its mouth is wide."
    assert hotpot.facts == ["The river is long.", "The town is old."]
    for row in asked.nq(data, 5, 0):
        passages = row.text.split("\n\n")
        assert sum(row.answers[0] in p for p in passages) == 1
        assert len(set(passages)) == len(passages) > 1
    (meeting,) = asked.qmsum(data, 9, 0)
    assert [meeting.text[a:b] for a, b in meeting.spans] == ["A: Point 1 is said.\nA: Point 2 is said.\n"]
    whole = PromptCompressor("random", len).compress(hotpot.text, rate=1.0)
    assert asked.kept(hotpot, whole) == {"answer": 1, "facts": 1}
    arguments = ["--data", str(data), "--out", str(data / "out"), *ARGUMENTS, "--tables", "asked"]
    prompt.main([*arguments, "--sets", "hotpotqa", "qmsum", "--scorers", "lexrank", "random"])
    shown = capsys.readouterr().out
    assert "| hotpotqa facts, random " in shown
    assert "| qmsum relevant, lexrank " in shown


def test_intervals_by_hand() -> None:
    low, high = asked.interval([1.0] * 8 + [0.0] * 2)
    assert (low, high) == pytest.approx((0.490, 0.943), abs=0.001)
    low, high = asked.interval([0.5, 0.7])
    assert (low, high) == pytest.approx((0.6 - 1.96 * 0.1, 0.6 + 1.96 * 0.1))
