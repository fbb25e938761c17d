"""Byte probabilities over every engine: the same integers from the exact ones, the same laws over all."""

from __future__ import annotations

import byte_checks
import numpy as np
import pytest
from fake_backend import FakeModel
from native_library import WHY
from paths import TINY

from nacrith.bytelevel import ByteModel
from nacrith.models.exact.model import ExactModel

TEXT = "It's at 12:30,\n\n  \u201cdon't\u201d caf\u00e9\t\x00. ".encode() + b"\xe2\x80 \xff\n"


def counts(engine: str, monkeypatch: pytest.MonkeyPatch) -> np.ndarray:
    """int64 (len(TEXT) + 1, 257), byte by byte."""
    monkeypatch.setenv("NACRITH_ENGINE", engine)
    state = ByteModel(ExactModel(TINY, threads=1)).start()
    found = [state.counts()]
    for byte in TEXT:
        state.push(byte)
        found.append(state.counts())
    return np.array(found)


@pytest.mark.parametrize("engine", ["native", "torch"])
def test_counts_are_equal_across_engines(engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if engine == "torch":
        pytest.importorskip("torch", reason="torch is not installed: pip install '.[torch]'")
        monkeypatch.setenv("NACRITH_DEVICE", "cpu")
    elif WHY:
        pytest.skip(WHY)
    assert np.array_equal(counts(engine, monkeypatch), counts("numpy", monkeypatch))


def test_counts_do_not_depend_on_the_calls() -> None:
    """Byte by byte as a decoder asks, and a stretch at once as an encoder does."""
    model = ByteModel(ExactModel(TINY, threads=1))
    state, singly = model.start(), []
    for byte in TEXT:
        singly.append(state.next_byte())
        state.push(byte)
    assert np.array_equal(model.start().distributions(TEXT), np.array(singly))


def test_the_laws_over_floats() -> None:
    byte_checks.properties(FakeModel())
