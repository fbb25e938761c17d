"""What the levels are: how long their blocks are, and that the codec is made by them."""

from __future__ import annotations

from itertools import pairwise

from paths import TINY

from nacrith import codec
from nacrith.archive.wire import SUPER_BLOCK
from nacrith.codec.levels import LEVELS, MAX_LEVEL, MIN_LEVEL
from nacrith.codec.params import CodingParams
from nacrith.codec.text import MAX_LANES
from nacrith.models import load_model


def test_higher_levels_spend_more() -> None:
    assert list(LEVELS) == list(range(MIN_LEVEL, MAX_LEVEL + 1))
    for one, next_one in pairwise(LEVELS.values()):
        assert one.window <= next_one.window
        assert one.group <= next_one.group
        assert one.capacity <= next_one.capacity
        assert one.bits <= next_one.bits
        assert one.large <= next_one.large
    for level in LEVELS.values():
        assert 1 << 18 <= level.group <= SUPER_BLOCK
        assert level.lanes <= MAX_LANES


def test_a_codec_has_its_level() -> None:
    model = load_model(str(TINY), threads=1)
    for number, level in LEVELS.items():
        params = codec.for_encoding(number, model, 1).params
        window = min(level.window, model.max_context)
        assert params == CodingParams(window, codec.predictor_set(model), level.capacity, level.bits)
