"""The benchmark of the engines: all of them, one model or two, and what the share of the peak is made of."""

from __future__ import annotations

import re
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from native_library import KERNELS, WHY, each_kernels, needs_library
from small_models import TINY, random_model, tiny

from bench.engines import engine as benchmark
from nacrith import native
from nacrith.models.exact import modelfile
from nacrith.native import engine as calls

QUICK = ["--threads", "2", "--context", "40", "--lanes", "1", "3", "--seconds", "0.01"]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    def table(*arguments: Path | str) -> list[list[str]]:
        monkeypatch.setattr(sys, "argv", ["engine", *map(str, arguments), *QUICK])
        benchmark.main()
        lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
        return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]

    return table


def test_every_engine_is_measured(run):
    names = {line[0] for line in run(TINY)}
    assert {"numpy", *(f"native {k}" for k in KERNELS if not WHY)} <= names


def test_two_models_are_measured_in_turns(run, tmp_path):
    other = tmp_path / "bytes.nacm"
    limits = dict.fromkeys(tiny().config.act_limits, 127)
    modelfile.write(other, replace(tiny().config, act_limits=limits), dict(tiny().tensors), {})
    lines = {line[0]: line[1:] for line in run(TINY, other)}
    for name in ("numpy", *(f"native {k}" for k in KERNELS if not WHY)):
        assert len(lines[f"{name}, model 1"]) == len(lines[f"{name}, model 2"]) == 3
        assert all(float(ratio) > 0 for ratio in lines[f"{name}, ratio"])
    measured = [k for k in KERNELS if not WHY and k != "portable"]
    for name in measured:
        assert all(re.fullmatch(r"[\d.]+ \(\d+%\)", cell) for cell in lines[f"native {name}, model 2"])


@needs_library
def test_another_build_of_the_engine_is_measured_beside_this_one(run):
    library = native.load().path
    lines = {line[0]: line[1:] for line in run(TINY, "--before", library, "--engines", "native portable")}
    assert set(lines) == {f"native portable, {label}" for label in ("before", "now", "ratio")}
    assert all(float(ratio) > 0 for ratio in lines["native portable, ratio"])


def test_engines_that_differ_are_an_error(run, monkeypatch):
    class Wrong:
        config = tiny().config

        def session(self, lanes: int, window: int):
            session = benchmark.NumpyEngine(tiny()).session(lanes, window)
            extend = session.extend
            session.extend = lambda tokens: [rows + 1 for rows in extend(tokens)]
            return session

    known = benchmark.engines(1)
    monkeypatch.setattr(
        benchmark, "engines", lambda threads: {"numpy": known["numpy"], "x": lambda _: Wrong()}
    )
    with pytest.raises(SystemExit, match="do not agree"):
        run(TINY)


def test_products_are_the_weights_of_the_model():
    file = random_model(layers=2, heads=4, kv_heads=2, tied=False)
    weights = [n for n in file.tensors if n.endswith(".q") and n != "embed.q"]
    counts = benchmark.products(file.config)
    assert sum(counts.values()) == sum(file.tensors[n].size for n in weights)
    for kind in ("qkv", "o", "mlp", "down"):
        assert counts[kind] == sum(file.tensors[n].size for n in weights if f".{kind}." in n)


def test_least_seconds_take_the_peak_of_each_limit():
    limits = {"qkv": 512, "o": 127, "mlp": 511, "down": 1, "head": 127}
    config = random_model(limits=limits).config
    counts = benchmark.products(config)
    small = counts["o"] + counts["down"] + counts["head"]
    for kernels, in_bytes, others in [
        ("avx512", small + counts["mlp"], counts["qkv"]),
        ("amx", small, counts["qkv"] + counts["mlp"]),
    ]:
        want = in_bytes / 8.0 + others / 4.0
        assert benchmark.least_seconds(kernels, config, {True: 8.0, False: 4.0}) == pytest.approx(want)
        assert benchmark.least_seconds(kernels, config, {True: 8.0, False: 0.0}) == 0.0


@needs_library
@each_kernels
@pytest.mark.parametrize("bytes_only", [True, False])
def test_bare_products_are_about_as_many_as_asked_for(kernels, bytes_only):
    library = native.load()
    found = calls.bare(library, kernels, bytes_only=bytes_only, rounds=1000)
    assert found == 0 if kernels == "portable" else 1_000_000 <= found <= 1_100_000
    with pytest.raises(ValueError, match="negative"):
        calls.bare(library, kernels, bytes_only=bytes_only, rounds=-1)
    with pytest.raises(ValueError, match="no kernels called abacus"):
        calls.bare(library, "abacus", bytes_only=bytes_only, rounds=1)
