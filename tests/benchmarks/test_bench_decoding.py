"""The benchmarks of decoding run, and notice a token that differs."""

from __future__ import annotations

import json
import sys
from argparse import Namespace

import pytest
from paths import TINY

from bench.decoding import exact, exits, speed
from nacrith.decoding.sampling import Sampling
from nacrith.models import load_model


def asked(**changes) -> Namespace:
    return Namespace(
        **{
            "tokens": 6,
            "temperature": 0.0,
            "rounds": 1,
            "drafters": ["lookup"],
            "kinds": ["questions"],
            "fixed": [3],
        }
        | changes
    )


def test_a_row_for_each_kind_and_drafter(capsys):
    rows = speed.measure(load_model(str(TINY)), asked())
    assert [(row["kind"], row["drafter"]) for row in rows] == [
        (kind, name) for kind in ("questions", speed.ALL) for name in ("none", "lookup", "auto, 3")
    ]
    assert rows[0]["tokens_per_pass"] == rows[0]["ratio"] == rows[0]["cpu_ratio"] == 1
    assert rows[2]["drafted_per_pass"] > 0
    assert rows[2]["ratio"] == rows[5]["ratio"]  # one kind is all
    table = [line.split("|") for line in speed.page(rows, "about").splitlines()]
    assert [cell.strip() for cell in table[2][2:-1]] == ["lookup", "auto, 3"]
    assert table[4][1].strip() == "all kinds: tokens a pass"
    assert float(table[4][3]) == round(rows[5]["tokens_per_pass"], 2)


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_a_drafter_that_draws(temperature, capsys):
    name = f"rsd:{TINY}"
    changes = {"drafters": [name], "fixed": [], "temperature": temperature, "tokens": 9}
    rows = speed.measure(load_model(str(TINY)), asked(**changes))
    assert [row["drafter"] for row in rows] == ["none", name] * 2
    assert rows[1]["tokens"] == rows[0]["tokens"]


def test_another_token_ends_it(monkeypatch, capsys):
    model = load_model(str(TINY))
    real = speed.answer

    def spoilt(model, prompt, tokens, sampling, planner):
        made = real(model, prompt, tokens, sampling, planner)
        if planner.drafters:
            made.answer.line.tokens[-1] += 1
        return made

    monkeypatch.setattr(speed, "answer", spoilt)
    with pytest.raises(SystemExit, match="lookup gave other tokens"):
        speed.measure(model, asked())


def test_exactness_of_a_few_prompts(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(exact, "WAYS", ["lookup"])
    monkeypatch.setattr(sys, "argv", ["exact", "--model", str(TINY), "--prompts", "3", "--tokens", "4"])
    monkeypatch.setattr(sys, "argv", [*sys.argv, "--out", str(tmp_path)])
    exact.main()
    assert capsys.readouterr().out.count("differ 0") == 4
    assert (tmp_path / "decoding-exact.md").read_text().count(" lookup |") == 4
    with monkeypatch.context() as more:
        more.setattr(sys, "argv", [*sys.argv, "--drafters", f"rsd:{TINY}", f"model:{TINY}"])
        exact.main()
    assert capsys.readouterr().out.count("differ 0") == 6
    assert len(json.loads((tmp_path / "decoding-exact.json").read_text())) == 4 + 6
    monkeypatch.setattr(Sampling, "choose", lambda self, row, place: next(numbers) % 500 + 3)
    numbers = iter(range(10**6))
    with pytest.raises(SystemExit, match="changed tokens"):
        exact.main()


def test_the_exit_that_would_pay():
    assert exits.best(1.0, 0.1) == (13 / 2.2, exits.MOST)
    assert exits.best(0.0, 0.1) == (1.0, 0)
    assert exits.best(0.75, 28 / 30) == (1.0, 0)
    model = load_model(str(TINY))
    rows = exits.measure(model, [1, 3], ["questions"], 8)
    assert [row[0] for row in rows] == ["1", "3"]
    assert rows[1][1] == "1.000"
