"""The benchmark of prompt compression on a handful of made-up data, and that it can tell good from bad."""

from __future__ import annotations

import json
import lzma
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.append(str(ROOT))  # bench is not installed; last, so that an installed nacrith stays first

from bench import lingua, prompt  # noqa: E402
from nacrith.prompt import Compressed, PromptCompressor  # noqa: E402
from nacrith.prompt.scorers import make  # noqa: E402
from nacrith.prompt.segment import Passage  # noqa: E402


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


def test_tables(data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(
        sys, "argv", ["prompt", "--data", str(data), "--distractors", "3", "--questions", "3"]
    )
    prompt.main()
    shown = capsys.readouterr().out
    assert "| truncate | 0.750 |" in shown
    row = next(line for line in shown.splitlines() if line.startswith("| lexrank, no rules"))
    assert row.count("100.0%") == 3
    assert "| random, no rules |" in shown


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
