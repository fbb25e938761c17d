"""The benchmark of prompt compression on a handful of made-up data, and that it can tell good from bad."""

from __future__ import annotations

import json
import lzma
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.append(str(ROOT))  # bench is not installed; last, so that an installed nacrith stays first

from bench import prompt  # noqa: E402
from nacrith.prompt.scorers import make  # noqa: E402


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
