"""The levels: one number instead of a parameter for each of model, block length, window and memory.

A level decides which model is used, how content is cut into blocks, and how many tokens the model attends
to. Blocks are decoded in parallel, so more blocks make decompression faster. Each block starts without
context, so fewer blocks make smaller archives: by 1 % for novels, by 7 % for repetitive text in a language
that the model knows little of. No level is part of the format: an archive records the parameters themselves.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

MIN_LEVEL = 1
MAX_LEVEL = 9
DEFAULT_LEVEL = 6


@dataclass(frozen=True)
class Level:
    """large: whether to use the better and slower model where it is installed. window: tokens attended to.
    lanes: number of blocks to aim for in one super-block of text. smallest, largest: bounds of a block's
    length in bytes. capacity: log2 of the number of contexts of each order that one generation of a block's
    n-grams holds; a lane needs at most 420 bytes times 2^capacity."""

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
"""Share of non-ASCII bytes from which text counts as foreign to the models (English has 0.1 %, German 2 %).
The predictors must learn such text, and need long blocks for that."""

_ASCII = bytes(range(128))


def block_bytes(level: int) -> Callable[[bytes], int]:
    """A function that maps the text of a super-block to the length to aim for in its blocks."""
    chosen = LEVELS[level]

    def target(text: bytes) -> int:
        if len(text.translate(None, _ASCII)) >= FOREIGN * len(text):
            return chosen.largest
        return min(max(-(-len(text) // chosen.lanes), chosen.smallest), chosen.largest)

    return target
