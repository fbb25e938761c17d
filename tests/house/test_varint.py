"""Varints: the shortest form is written, and reading takes no byte too many."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nacrith.archive.wire import bounded_varint
from nacrith.errors import CorruptError
from nacrith.varint import put_varint, read_varint


@given(st.integers(0, (1 << 63) - 1), st.binary(max_size=3))
def test_round_trip(value: int, rest: bytes) -> None:
    packed = put_varint(value)
    assert len(packed) == max(1, -(-value.bit_length() // 7))
    assert read_varint(packed + rest, 9) == (value, len(packed))
    stream = iter(packed + rest)
    assert bounded_varint(lambda: next(stream), value, "a number") == value
    assert bytes(stream) == rest


@pytest.mark.parametrize("data", [b"", b"\x80", b"\xff" * 4, b"\xff" * 5 + b"\x01"])
def test_an_end_is_missing(data: bytes) -> None:
    with pytest.raises(ValueError, match="within 5 bytes"):
        read_varint(data, 5)


def test_a_long_form_is_read_but_no_archive_has_one() -> None:
    assert read_varint(b"\x85\x80\x00", 5) == (5, 3)
    for data, why in [
        (b"\x85\x80\x00", "out of its bounds"),
        (b"\x06", "at most 5"),
        (b"\xff" * 12, "longer than 9 bytes"),
    ]:
        with pytest.raises(CorruptError, match=why):
            bounded_varint(iter(data).__next__, 5, "a number")
