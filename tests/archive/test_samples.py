"""Samples of sound and pictures: how they are found, and their parameters in a payload of the learner."""

from __future__ import annotations

import math
import random
import re
from typing import Any

import numpy as np
import pytest
from archive_plain_reader import decode_learner
from hypothesis import given
from hypothesis import strategies as st
from native_library import needs_library
from paths import ROOT

from nacrith.archive.blockcodec import Effort
from nacrith.errors import CorruptError
from nacrith.fallback import CODECS, samples
from nacrith.fallback.learner import DATA, SAMPLES, Learner, table_bits
from nacrith.fallback.samples import BITMAP, BYTES, KINDS, LITTLE, SIGNED, WORDS, Samples

ROOT_OF_2 = 2**0.5


def height(x: float, y: float) -> float:
    """Of a hilly picture, -1..1."""
    return math.sin(x / 17 + y / 29) * math.cos(y / 13 - x / 41 * ROOT_OF_2)


def words(width: int, rows: int, order: str, signed: bool) -> bytes:
    chance, base = random.Random(1), 0 if signed else 32768
    return b"".join(
        int(base + 9000 * height(x, y) + chance.gauss(0, 20)).to_bytes(2, order, signed=signed)  # type: ignore[arg-type]
        for y in range(rows)
        for x in range(width)
    )


def colours(width: int, rows: int) -> bytes:
    chance = random.Random(1)
    pixels = (100 + 90 * height(x, y) for y in range(rows) for x in range(width))
    return bytes(
        min(max(int(level * part + chance.gauss(0, 2)), 0), 255) for level in pixels for part in (1, 0.7, 0.4)
    )


def drawing(width: int, rows: int) -> bytes:
    """1 bit a pixel; width in bytes."""
    out = bytearray()
    for y in range(rows):
        for at in range(width):
            bits = (height(8 * at + i, y) > 0.4 for i in range(8))
            out.append(sum(bit << 7 - i for i, bit in enumerate(bits)))
    return bytes(out)


SOUND = b"".join(
    int(8000 * math.sin(i / 7 + side) + 3000 * math.sin(i / 3.1)).to_bytes(2, "little", signed=True)
    for i in range(3000)
    for side in (0, 1)
)

FOUND = {
    "words": (words(90, 70, "big", False), Samples(WORDS, 2, 180)),
    "signed words": (words(90, 70, "little", True), Samples(WORDS + LITTLE + SIGNED, 2, 180)),
    "colours": (colours(60, 70), Samples(BYTES, 3, 180)),
    "drawing": (drawing(25, 200), Samples(BITMAP, 1, 25)),
    "sound": (SOUND, Samples(WORDS + LITTLE + SIGNED, 4, 0)),
}


@pytest.mark.parametrize("name", FOUND)
def test_samples_are_found(name: str) -> None:
    data, want = FOUND[name]
    assert want in samples.find(data)
    variants = Learner().variants(data, text=False, effort=Effort.FULL)
    assert (SAMPLES, table_bits(len(data)), *want) in variants
    assert variants[0][0] == DATA


@pytest.mark.parametrize(("rows", "low", "high"), [(1, 0, 65_535), (1, -65_535, 65_535), (8, -256, 256)])
def test_likeness_is_exact_whatever_the_transform_rounds(
    rows: int, low: int, high: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    chance, back = np.random.default_rng(1), np.fft.irfft
    values = chance.integers(low, high + 1, (rows, 900))
    values[:, :300] = high
    want = [int((values[:, lag:] * values[:, : 900 - lag]).sum()) for lag in range(200)]

    def rounded(*given: Any) -> Any:
        found = back(*given)
        return found + chance.uniform(-0.4, 0.4, found.shape)

    monkeypatch.setattr(np.fft, "irfft", rounded)
    assert samples._autocorrelation(values, 200).tolist() == want
    assert samples._alike(np.array([1, 9] * 900), 1, 200) == [*range(4, 19, 2)]  # a tie but for the ends
    for data, found in FOUND.values():
        assert found in samples.find(data)


def test_logarithms() -> None:
    """floor(256 log2 n) has n^256 for its proof."""
    found = samples._logarithms()
    for n in (*range(1, 300), 4095, 4096, 46_341, 65_535, 65_536):
        assert found[n] == (n**256).bit_length() - 1
    assert found[0] == 0
    assert len(found) == (1 << 16) + 1


def test_other_data_are_not_taken_for_samples() -> None:
    chance = random.Random(1)
    text = b" ".join(chance.choice((b"table", b"of", b"some", b"words", b"and")) for _ in range(3000))
    for other in (b"", b"a", text, chance.randbytes(9000), bytes(9000), b"ab" * 5000, b"\xff" * 4000):
        assert samples.find(other) == []
    assert [v[0] for v in Learner().variants(SOUND, text=True, effort=Effort.FULL)] == [0]


@given(st.binary(max_size=40), st.sampled_from(KINDS))
def test_what_is_coded_comes_back(data: bytes, kind: int) -> None:
    assert samples.original(samples.content(data, kind), kind) == data


def test_the_example_of_the_specification() -> None:
    text = (ROOT / "formats" / "archive-v1.md").read_text("utf-8")
    content, *coded = re.findall(r"`((?:[0-9a-f]{2} ){4}05)`", text)
    assert [samples.content(bytes.fromhex(content), kind).hex(" ") for kind in range(4, 8)] == coded


@pytest.mark.parametrize("kind", KINDS)
def test_a_payload_of_samples_decodes(kind: int) -> None:
    data, found = SOUND[:61], Samples(kind, 1 if kind < WORDS else 2, 20)
    payload = Learner().encode(data, (SAMPLES, table_bits(len(data)), *found))
    assert payload[1:5] == bytes([kind, found.step, 20, 0])
    assert CODECS.decode(Learner.kind, payload, len(data)) == data == decode_learner(payload, len(data))


def test_parameters_that_do_not_exist_are_corrupt() -> None:
    first = bytes([SAMPLES << 5 | 16])
    wrong = [
        b"",
        bytes(3),
        bytes([2, 1, 9, 0]),
        bytes([8, 2, 0, 0]),
        bytes([WORDS, 3, 0, 0]),
        bytes([BITMAP, 1, 0, 0]),
    ]
    for parameters in wrong:
        with pytest.raises(CorruptError, match="samples"):
            CODECS.decode(Learner.kind, first + parameters, 9)


@needs_library
@pytest.mark.parametrize("name", FOUND)
def test_the_writer_chooses_samples_where_they_pay(name: str) -> None:
    data, _ = FOUND[name]
    made = CODECS.encode(data)
    assert (made.kind, made.payload[0] >> 5) == (Learner.kind, SAMPLES)
    assert len(made.payload) < 0.95 * len(Learner().encode(data, (DATA, table_bits(len(data)))))
    assert CODECS.decode(made.kind, made.payload, len(data)) == data
