"""What a level makes of a text: how long its blocks are."""

from __future__ import annotations

from itertools import pairwise

import pytest

from nacrith.codec.levels import LEVELS, block_bytes

GERMAN = "Für die Überprüfung genügt es, das Verzeichnis anzugeben.\n".encode()


@pytest.mark.parametrize("size", [1, 10_000, 100_000, 1_000_000, 16 << 20])
def test_higher_levels_have_longer_blocks(size: int) -> None:
    for text in (b"e" * size, (GERMAN * (size // len(GERMAN) + 1))[:size]):
        lengths = [block_bytes(level)(text) for level in LEVELS]
        assert all(a <= b for a, b in pairwise(lengths))
        for level, length in zip(LEVELS.values(), lengths, strict=True):
            assert level.smallest <= length <= level.largest


def test_blocks_grow_with_the_text_and_are_long_where_models_know_little() -> None:
    target = block_bytes(6)
    assert [target(b"e" * n) for n in (50_000, 1_000_000, 5_000_000)] == [65_536, 125_000, 131_072]
    assert target(GERMAN * 900) == 131_072
    assert target(b"naive caf\xc3\xa9 " + b"e" * 1000) == 65_536
