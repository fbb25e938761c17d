"""Drafting in a runtime whose passes cost what the test says: where it does not pay, it switches itself
off."""

from __future__ import annotations

import pytest

from nacrith.integrations.drafting import Drafts

PLAIN = 0.01  # seconds of a pass without drafts


@pytest.fixture(autouse=True)
def no_time_passes(monkeypatch):
    """Drafting itself takes none; a pass takes what the test says."""
    monkeypatch.setattr("nacrith.integrations.drafting.time.perf_counter", lambda: 0.0)


def answered(row: float, share: float, tokens: int = 600) -> tuple[float, Drafts]:
    """Time against plain decoding, of a text that repeats itself but for a token in `1 / (1 - share)`; a
    drafted token costs `row` passes."""
    drafts, wrong = Drafts("lookup", 50000), 0.0
    text = list(range(10, 40)) * 3
    drafts.begin(text)
    seconds, made, copied = 0.0, 0, 0
    while made < tokens:
        line = drafts.propose(31)
        took = PLAIN * (1 + row * len(line))
        came: list[int] = []
        while not came or (len(came) <= len(line) and came[-1] == line[len(came) - 1]):
            wrong += 1 - share
            came.append(10 + copied % 30 if wrong < 1 else 1000 + made + len(came))
            wrong -= wrong >= 1
            copied += 1
        drafts.go_on(came, took)
        seconds, made = seconds + took, made + len(came)
    return seconds / (made * PLAIN), drafts


@pytest.mark.parametrize(("row", "most"), [(0.9, 1.02), (1.2, 1.02), (3.0, 1.06)])
@pytest.mark.parametrize("share", [1.0, 0.8, 0.3])
def test_where_rows_cost_as_much_as_passes_nothing_is_lost(row, most, share):
    """Trials aside, of which there are few."""
    time, drafts = answered(row, share)
    assert time < most
    if row > 1:
        assert drafts.drafted < 60


@pytest.mark.parametrize(("row", "most"), [(0.05, 0.35), (0.2, 0.5)])
def test_where_rows_are_cheap_it_pays(row, most):
    time, drafts = answered(row, 1.0)
    assert time < most
    assert drafts.accepted > 300
