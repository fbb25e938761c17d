"""x86 translation: any bytes come back, equal targets become equal bytes, and only code is taken for code."""

from __future__ import annotations

import math
import random

import pytest
from archive_plain_reader import undo_x86
from hypothesis import example, given
from hypothesis import strategies as st
from make_golden import CODE

from nacrith.archive.blockcodec import Effort
from nacrith.fallback import CODECS, x86
from nacrith.fallback.learner import DATA, TEXT, X86, Learner, table_bits

OPCODES = (b"\xe8", b"\xe9", b"\xff\x15", b"\xff\x25", b"\x48\x8d\x05", b"\x4c\x8b\x3d")
BYTES = st.sampled_from(bytes.fromhex("00 ff e8 e9 48 4c 05 15 25 3d 8b 01"))
"""Those that opcodes and operands in range are made of, so that they overlap in every way."""


def code(count: int = 300) -> bytes:
    """Instructions with operands that lead to few targets from everywhere."""
    rnd = random.Random(3)
    targets = [rnd.randrange(1 << 20) for _ in range(20)]
    out = bytearray()
    for _ in range(count):
        out += rnd.choice([b"\x55\x53", b"\x83\xec\x20", b"\xc9\xc3", b"\x31\xc0"]) + rnd.choice(OPCODES)
        out += (rnd.choice(targets) - len(out) - 4).to_bytes(4, "little", signed=True)
    return bytes(out)


@given(st.one_of(st.binary(max_size=60), st.lists(BYTES, max_size=80).map(bytes)))
@example(bytes.fromhex("48e80500000048"))
@example(bytes.fromhex("48e8e800000005e8"))
@example(CODE)
def test_any_bytes_come_back(data: bytes) -> None:
    there = x86.to_absolute(data)
    assert len(there) == len(data)
    assert x86.to_relative(there) == data == undo_x86(there)
    assert x86.to_absolute(x86.to_relative(data)) == data


@pytest.mark.parametrize("opcode", OPCODES, ids=bytes.hex)
def test_equal_targets_become_equal_bytes(opcode: bytes) -> None:
    data = bytearray()
    for gap in (7, 900, 70_000):
        data += (
            bytes(gap)
            + opcode
            + (5000 - gap - len(data) - len(opcode) - 4).to_bytes(4, "little", signed=True)
        )
    there = x86.to_absolute(bytes(data))
    assert there.count(opcode + (5000).to_bytes(4, "little")) == 3
    assert x86.to_relative(there) == data


@pytest.mark.parametrize("value", [-(1 << 24), (1 << 24) - 1, -(1 << 24) - 1, 1 << 24, -(1 << 31)])
def test_the_ends_of_the_range(value: int) -> None:
    data = b"\xe8" + value.to_bytes(4, "little", signed=True)
    there = x86.to_absolute(data)
    assert (there != data) == (-x86.RANGE <= value < x86.RANGE)
    assert x86.to_relative(there) == data == undo_x86(there)


@pytest.mark.parametrize("opcode", OPCODES, ids=bytes.hex)
def test_opcodes_across_the_windows_of_the_search(opcode: bytes) -> None:
    for begin in range(x86._WINDOW - 8, x86._WINDOW + 2):
        data = bytes(begin) + opcode + b"\1\0\0\0" + bytes(3)
        there = x86.to_absolute(data)
        assert there[begin + len(opcode) :][:4] == (begin + len(opcode) + 5).to_bytes(4, "little")
        assert x86.to_relative(there) == data


def test_only_machine_code_is_taken_for_it() -> None:
    assert x86.sees_code(code())
    sound = b"".join(
        round(9000 * math.sin(i / 20)).to_bytes(2, "little", signed=True) for i in range(1 << 15)
    )
    numbers = b"".join(random.Random(4).randrange(1 << 20).to_bytes(4, "little") for _ in range(1 << 14))
    for other in (
        b"",
        sound,
        numbers,
        random.Random(5).randbytes(1 << 20),
        b"\xe8\0\0\0\0" * 999,
        b"\xe8" * 999,
    ):
        assert not x86.sees_code(other)


def test_the_learner_translates_machine_code() -> None:
    data = code()
    learner, tables = Learner(), table_bits(len(data))
    assert learner.variants(data, text=False, effort=Effort.FULL) == [(X86, tables), (TEXT, tables)]
    assert learner.variants(bytes(9000), text=False, effort=Effort.FULL)[0][0] == DATA
    made = CODECS.encode(data)
    assert (made.kind, made.payload[0] >> 5) == (Learner.kind, X86)
    assert len(made.payload) < 0.7 * len(learner.encode(data, (DATA, tables)))
    assert CODECS.decode(made.kind, made.payload, len(data)) == data
