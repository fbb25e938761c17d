"""The scheduling of lanes, with made-up jobs, drafters and model; the registry of predictor sets."""

from __future__ import annotations

import subprocess
import sys
from importlib import resources

import numpy as np
import pytest

from nacrith.codec.lanes import Drafter, Lanes
from nacrith.predictors.alone import ModelAlone
from nacrith.predictors.protocol import Ensemble, Logits
from nacrith.predictors.registry import SETS


class NoDrafts:
    def draft(self, most: int, worth: float) -> list[int]:
        return []

    def judge(self, tokens: list[int]) -> None: ...

    def update(self, token: int) -> None: ...


class Countdown:
    """A job of `left` tokens that uses one row in each pass, and logs its start and its end."""

    def __init__(self, name: str, left: int, log: list[str]) -> None:
        self.name, self.left, self.log = name, left, log
        self.tokens: list[int] = []

    def start(self, ensemble: Ensemble, drafter: Drafter) -> None:
        assert isinstance(ensemble, ModelAlone)
        assert isinstance(drafter, NoDrafts)
        self.log.append(f"{self.name} starts")

    def inputs(self, drafts: int, worth: float) -> list[int]:
        return [7, 8]  # the second one is a draft that turns out wrong

    def read(self, rows: Logits) -> int:
        assert len(rows) == 2
        self.tokens.append(7)
        self.left -= 1
        if not self.left:
            self.log.append(f"{self.name} ends")
        return 1


class CountingModel:
    """Its session has no rows of value; it knows how many tokens each lane holds."""

    max_length, vocab_size = 3, 4

    def session(self, lanes: int, window: int) -> CountingModel:
        self.lengths = [0] * lanes
        return self

    def rollback(self, lane: int, length: int) -> None:
        assert length <= self.lengths[lane]
        self.lengths = [length if i == lane else n for i, n in enumerate(self.lengths)]

    def extend(self, inputs: list[list[int]]) -> list[np.ndarray]:
        self.lengths = [n + len(ids) for n, ids in zip(self.lengths, inputs, strict=True)]
        return [np.zeros((len(ids), self.vocab_size), np.int32) for ids in inputs]


def test_the_longest_job_starts_first_and_wrong_drafts_are_rolled_back() -> None:
    log: list[str] = []
    model = CountingModel()
    lanes = Lanes(model, 16, 2, ModelAlone, NoDrafts, drafts=1, worth=None)  # type: ignore[arg-type]
    lanes.add([Countdown("short", 1, log), Countdown("long", 4, log), Countdown("nothing", 0, log)])
    lanes.add([Countdown("middle", 2, log)])
    passes = 0
    while lanes.step():
        passes += 1
        assert max(model.lengths) <= model.max_length
    assert log == ["long starts", "middle starts", "middle ends", "short starts", "short ends", "long ends"]
    assert passes == 4
    assert model.lengths[0] == 1  # the fourth token of `long` began the lane again


@pytest.mark.parametrize("number", list(SETS))
def test_each_set_is_complete(number: int) -> None:
    entry = SETS[number]
    assert entry.number == number
    assert number < 16  # what an archive has room for
    if entry.prior:
        assert resources.files("nacrith.predictors").joinpath(entry.prior).is_file()


def test_the_table_of_sets_is_cheap() -> None:
    """`info` reads coding parameters, and numpy takes longer to import than all else that it does."""
    script = "import sys, nacrith.codec.params; sys.exit('numpy' in sys.modules)"
    subprocess.run([sys.executable, "-c", script], check=True)
