"""The levels: bundles of everything a user would otherwise have to tune.

A level decides which model is taken, how content is cut into blocks and how far the model looks back. Blocks
decode side by side, so more of them means faster decompression, and each starts without context, so fewer of
them means smaller archives: by 1 % in novels, by 7 % where much comes again in a language that the model
knows little of. Nothing here is part of the format: an archive records what was used.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

MIN_LEVEL = 1
MAX_LEVEL = 9
DEFAULT_LEVEL = 6


@dataclass(frozen=True)
class Level:
    """large: the better and slower model, where it is installed. window: tokens attended to. lanes: blocks
    aimed at for one super-block of text. smallest, largest: bounds of a block's length in bytes. capacity:
    log2 of the contexts that the n-grams of a block keep of each order in one generation: at most 420 bytes
    times 2^capacity a lane."""

    window: int
    lanes: int
    smallest: int
    largest: int
    capacity: int
    large: bool = False


LEVELS = {
    1: Level(window=512, lanes=32, smallest=12288, largest=32768, capacity=12),
    2: Level(window=768, lanes=32, smallest=16384, largest=32768, capacity=12),
    3: Level(window=1024, lanes=32, smallest=24576, largest=65536, capacity=13),
    4: Level(window=1024, lanes=16, smallest=32768, largest=65536, capacity=13),
    5: Level(window=2048, lanes=16, smallest=49152, largest=131072, capacity=13),
    6: Level(window=2048, lanes=8, smallest=65536, largest=131072, capacity=13),
    7: Level(window=2048, lanes=4, smallest=131072, largest=524288, capacity=15),
    8: Level(window=2048, lanes=4, smallest=131072, largest=524288, capacity=15, large=True),
    9: Level(window=2048, lanes=2, smallest=262144, largest=1048576, capacity=16, large=True),
}


FOREIGN = 0.01
"""Share of bytes beyond ASCII from which on text counts as one that the models know little of (English has
0.1 %, German 2 %): predictors must learn it, for which they need long blocks."""

_ASCII = bytes(range(128))


def block_bytes(level: int) -> Callable[[bytes], int]:
    """For a level: the text of a super-block -> length to aim at for its blocks."""
    chosen = LEVELS[level]

    def target(text: bytes) -> int:
        if len(text.translate(None, _ASCII)) >= FOREIGN * len(text):
            return chosen.largest
        return min(max(-(-len(text) // chosen.lanes), chosen.smallest), chosen.largest)

    return target
