"""The examples of formats/coding-v2.md, and the toy model that they are coded with.

    PYTHONPATH=. python tests/support/coding_vectors.py

prints the table of section 10, coded by the reference.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from small_groups import Group, encode

from nacrith.codec.group_reference import ReferenceEncoder
from nacrith.codec.params import CodingParams
from nacrith.codec.payload import head

WORDS = [b"", b"a", b"b", b"ab", b"abc", b" ", b" a", b"a", b"\n", b"\xc3", b"\xa9", b""]

_EXAMPLES = (
    (0, [[1]]),
    (0, [[3, 5, 4, 0, 7, 8, 9, 10]]),
    (0, [[4, 6, 3, 8] * 3, [4, 6, 3, 8, 2], [], [11, 1, 5, 9, 10, 4, 6]]),
    (1, [[4, 6, 3, 8] * 5, [6, 3, 8] * 6, [2, 4, 6, 3, 8, 4, 6, 3, 8, 4, 4, 5]]),
    (2, [[4, 6, 3, 8] * 5, [6, 3, 8] * 6, [2, 4, 6, 3, 8, 4, 6, 3, 8, 4, 4, 5]]),
)
"""The set of predictors, and the tokens of each lane."""


def row(previous: int | None) -> list[int]:
    """The toy model's row after a token, or at the start of a lane."""
    u = len(WORDS) if previous is None else previous
    return [(2654435761 * (len(WORDS) * u + v + 1) % (1 << 32) >> 12) - 900000 for v in range(len(WORDS))]


def examples() -> list[tuple[CodingParams, list[list[int]]]]:
    return [(CodingParams(16, number, 8 if number else 0, 16 + number), lanes) for number, lanes in _EXAMPLES]


def group(lanes: Sequence[Sequence[int]]) -> Group:
    made = Group(WORDS, lanes, np.zeros((0, len(WORDS)), np.int32))
    seen: list[list[int | None]] = [[None] for _ in lanes]
    rows = []
    for lane, token in made.steps:
        rows.append(row(seen[lane][-1]))
        seen[lane].append(token)
    return Group(WORDS, lanes, np.array(rows, np.int32))


def payload(params: CodingParams, lanes: Sequence[Sequence[int]]) -> bytes:
    """Of a block without replaced line ends."""
    made = group(lanes)
    coder = ReferenceEncoder(made.vocabulary, params, made.lengths)
    return head(made.lengths, False) + encode(coder, made)


def table() -> str:
    lines = ["| predictors | bits | tokens of the lanes | payload |", "|---|---|---|---|"]
    for params, lanes in examples():
        shown = "; ".join(" ".join(map(str, lane)) or "none" for lane in lanes)
        coded = payload(params, lanes).hex()
        lines.append(f"| `{params.to_bytes()[1]:02x}` | {params.bits} | {shown} | `{coded}` |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(table())
