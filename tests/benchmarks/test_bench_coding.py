"""What the benchmarks of coding bring with them: the prior by rule."""

from __future__ import annotations

from bench.coding.prior import formula


def test_the_rule_gives_probabilities():
    for p, n in (*formula().maps, *formula().corrections):
        assert all(0 < value < 65536 for value in p)
        assert set(n) <= {2, 6}
