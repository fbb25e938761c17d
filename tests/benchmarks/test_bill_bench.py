"""The benchmark of bills on short loops: it repeats itself, and its control shows what it is for."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from bench.prompts import bill
from bench.prompts.loops import loop
from nacrith.prompt.pricing import Bill, change


def test_a_loop_grows_and_depends_on_its_seed_only() -> None:
    first, second = loop(1, 4), loop(1, 4)
    assert first == second
    assert first != loop(3, 4)
    assert len(first) == 5
    for before, after in itertools.pairwise(first):
        assert after["messages"][: len(before["messages"])] == before["messages"]


def test_the_report_and_its_control(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--loops", "2", "--turns", "6", "--controls", "1", "--out", str(tmp_path)]
    assert bill.main(arguments) == 0
    text = (tmp_path / "bill.md").read_text()
    assert text.strip() in capsys.readouterr().out
    rows = [line.split("|") for line in text.splitlines() if line.startswith("| ") and "loop" not in line]
    assert [row[2].strip() for row in rows] == ["openai", "anthropic"]
    assert all(float(row[7].split()[0]) <= 0 for row in rows)
    assert float(rows[0][8].split()[0]) > float(rows[0][7].split()[0])
    assert "2 loops: -" in text


def test_a_loop_that_is_dearer_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dear = bill.Row(0, "openai", 9, 0.5, Bill(total=1.0), Bill(total=1.5), None, [1.0])
    assert change(dear.before, dear.after) == 50
    monkeypatch.setattr(bill, "measure", lambda *_: dear)
    assert bill.main(["--loops", "1", "--out", str(tmp_path)]) == 1
    assert "1 dearer" in (tmp_path / "bill.md").read_text()
