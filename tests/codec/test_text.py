"""A block's text before it is tokens: line ends and lanes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nacrith import cuts
from nacrith.codec.text import LANE_SIZE, lanes_of, restore_crlf, strip_crlf


@given(st.binary(max_size=60))
def test_line_ends(data: bytes) -> None:
    stripped, crlf = strip_crlf(data)
    assert restore_crlf(stripped, crlf) == data
    mixed = data.replace(b"\r", b"").replace(b"\n", b"\r\n")
    assert strip_crlf(mixed)[1] == (b"\n" in mixed)


@given(
    st.one_of(st.binary(max_size=300), st.text(alphabet="ab \n\té漢🦊", max_size=300).map(str.encode)),
    st.integers(1, 70),
    st.integers(1, 100),
)
def test_lanes_are_the_text(text: bytes, most: int, size: int) -> None:
    lanes = lanes_of(text, list, most, size)
    assert b"".join(lanes) == text
    assert all(lanes)
    assert len(lanes) <= most


@pytest.mark.parametrize(
    ("size", "lanes"),
    [
        (1, 1),
        (LANE_SIZE, 1),
        (LANE_SIZE * 3 // 2 - 1, 1),
        (LANE_SIZE * 2, 2),
        (LANE_SIZE * 7, 7),
        (1 << 20, 16),
    ],
)
def test_a_lane_for_every_16_kb_of_text(size: int, lanes: int) -> None:
    assert len(lanes_of((b"word " * size)[:size], list, 16)) == lanes


def test_lanes_have_equal_numbers_of_tokens() -> None:
    dense, prose = b"<a>1</a>\n" * 3000, b"and then it went on for a while\n" * 3000

    def encode(text: bytes) -> list[int]:
        return [0] * (text.count(b" ") + 4 * text.count(b"<") + 1)

    for text in (dense + prose, prose + dense, prose + dense + prose):
        counts = [len(encode(lane)) for lane in lanes_of(text, encode, 7)]
        assert len(counts) == 7
        assert max(counts) < 1.02 * min(counts)


def test_cuts_are_after_lines_or_before_words() -> None:
    lines = b"".join(b"line %d has some words\n" % i for i in range(500))
    pieces = cuts.cut(lines, 11)
    assert len(pieces) == 11
    assert all(piece.endswith(b"\n") for piece in pieces)
    words = cuts.cut(lines.replace(b"\n", b" "), 11)
    assert all(piece.startswith(b" ") for piece in words[1:])
    assert max(map(len, pieces)) - min(map(len, pieces)) < 60
    assert cuts.cut("漢".encode() * 100, 7)[3].decode()
