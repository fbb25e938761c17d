"""What the benchmarks of coding bring with them: the prior by rule, token recycling."""

from __future__ import annotations

import numpy as np

from bench.coding.prior import formula
from bench.coding.recycling import Recycling


def test_the_rule_gives_probabilities():
    for p, n in (*formula().maps, *formula().corrections):
        assert all(0 < value < 65536 for value in p)
        assert set(n) <= {2, 6}


def test_recycling_remembers_the_latest_row():
    table = Recycling(40)
    assert table.after(3) == []
    row = np.zeros(40, np.int32)
    row[[5, 6]] = 9, 8
    table.observe(3, row)
    assert table.after(3)[:2] == [5, 6]
    assert len(table.after(3)) == 8
    row[7] = 10
    table.observe(5, row)
    assert table.after(5)[:3] == [7, 5, 6]
    assert table.after(3)[:2] == [5, 6]
