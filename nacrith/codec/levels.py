"""The levels: one number instead of a parameter for each of model, block length, window and memory.

A level decides whether a model is used and which, how content is cut into blocks, and how many tokens the
model attends to. Levels 1 to 3 use no model, unless the user names one: they are ten times faster and more.
A block is coded as a group of lanes, which are decoded side by side and share all that is learnt
(`model_codec`). So long blocks cost no speed, and each block starts without context: longer ones make smaller
archives. Short ones are for reading at random, and a damaged byte costs the block that it is in. The model
begins anew in each lane, which costs most where it is strong: level 9 has few lanes, and is decoded slowly.
No level is part of the format: an archive records the parameters themselves.
"""

from __future__ import annotations

from dataclasses import dataclass

from nacrith.archive.blockcodec import Effort

MIN_LEVEL = 1
MAX_LEVEL = 9
DEFAULT_LEVEL = 6

LEAST_GROUP = 1 << 14
"""Least length that a user may ask for in blocks: a group of one lane."""

MOST_PREFIX = 1 << 20
"""Most bytes of a prefix: the model goes over it for every block."""


@dataclass(frozen=True)
class Level:
    """large: whether to use the better and slower model where it is installed. window: tokens attended to.
    group: length in bytes to aim for in blocks of text. lanes: most of a group. capacity: log2 of the number
    of contexts of each order that one generation of a group's n-grams holds; they need at most 420 bytes
    times 2^capacity. bits: log2 of the bytes of the learner's histories. model: whether one is used unless
    the user names one. effort: of the codecs that need no model."""

    window: int
    group: int
    capacity: int
    bits: int
    lanes: int = 16
    large: bool = False
    model: bool = True
    effort: Effort = Effort.FULL


LEVELS = {
    1: Level(window=512, group=1 << 18, capacity=13, bits=20, model=False, effort=Effort.FAST),
    2: Level(window=768, group=1 << 18, capacity=13, bits=20, model=False, effort=Effort.MEDIUM),
    3: Level(window=1024, group=1 << 18, capacity=14, bits=21, model=False),
    4: Level(window=1024, group=1 << 19, capacity=14, bits=23),
    5: Level(window=2048, group=1 << 19, capacity=15, bits=23),
    6: Level(window=2048, group=1 << 19, capacity=15, bits=24),
    7: Level(window=2048, group=1 << 20, capacity=16, bits=25),
    8: Level(window=2048, group=1 << 20, capacity=16, bits=25, large=True),
    9: Level(window=2048, group=1 << 20, capacity=16, bits=25, lanes=4, large=True),
}
