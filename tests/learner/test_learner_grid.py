"""The learner's shapes for samples: native code, reference and plain decoder agree; and what they gain."""

from __future__ import annotations

import math
import random
import re
from itertools import pairwise

import learner_plain
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from learner_texts import ENGINES, REFERENCE, noise, using
from native_library import KERNELS, needs_library
from paths import ROOT

from nacrith import native
from nacrith.learner import Layout, Shape, decode, encode
from nacrith.learner.cursor import Cursor, Followers
from nacrith.learner.grid import Linear, form, scale
from nacrith.learner.tables import MOST_STRETCH
from nacrith.native import learner as calls

LAYOUTS = [
    (Shape.BITMAP, Layout(1, 1)),
    (Shape.BITMAP, Layout(1, 9)),
    (Shape.BYTES, Layout(1, 0)),
    (Shape.BYTES, Layout(3, 30)),
    (Shape.BYTES, Layout(255, 0)),
    (Shape.WORDS, Layout(4, 0)),
    (Shape.WORDS, Layout(2, 24)),
]
each_layout = pytest.mark.parametrize(("shape", "layout"), LAYOUTS)


def payload(engine: str, data: bytes, shape: Shape, layout: Layout) -> bytes:
    with using(engine):
        found = encode(data, shape, 16, layout)
    assert found is not None
    return found


def waves(size: int, seed: int = 1) -> bytes:
    """Numbers of 16 bits, the high byte first, that change slowly."""
    chance = random.Random(seed)
    heights = (int(32768 + 30000 * math.sin(i / 9) + chance.gauss(0, 20)) for i in range(size // 2))
    return b"".join(height.to_bytes(2, "big") for height in heights)


def rings(width: int, height: int) -> bytes:
    """A picture of 1 bit a pixel, `width` bytes to the row."""
    out = bytearray(width * height)
    for y in range(height):
        for x in range(8 * width):
            if math.hypot(x - 4 * width, y - height / 2) % 20 < 7:
                out[y * width + x // 8] |= 128 >> x % 8
    return bytes(out)


@needs_library
@each_layout
def test_native_reference_and_plain_decoder_agree(shape: Shape, layout: Layout) -> None:
    data = waves(40) + noise(11) + rings(9, 3) + bytes(9) + b"\xff" * 9
    want = payload(REFERENCE, data, shape, layout)
    assert {payload(kernels, data, shape, layout) for kernels in KERNELS} == {want}
    assert learner_plain.decode(want, shape, 16, len(data), layout) == data
    for engine in KERNELS:  # the reference decodes below
        with using(engine):
            assert decode(want, shape, 16, len(data), layout) == data


@each_layout
def test_the_reference_reads_what_was_written(shape: Shape, layout: Layout) -> None:
    data = waves(12) + rings(9, 1)
    with using(REFERENCE):
        assert decode(payload(ENGINES[-1], data, shape, layout), shape, 16, len(data), layout) == data


def test_the_examples_of_the_specification() -> None:
    text = (ROOT / "formats" / "learner-v1.md").read_text("utf-8")
    found = re.findall(r"^\| (\w+) \| (\d+) \| (\d+) \| (\d+) \| `(\w*)` \| `(\w*)` \|$", text, re.MULTILINE)
    assert {shape for shape, *_ in found} == {"bitmap", "bytes", "words"}
    for name, step, row, bits, content, coded in found:
        shape, layout, data = Shape[name.upper()], Layout(int(step), int(row)), bytes.fromhex(content)
        assert learner_plain.decode(bytes.fromhex(coded), shape, int(bits), len(data), layout) == data
        for engine in ENGINES:
            with using(engine):
                made = encode(data, shape, int(bits), layout)
            assert made is not None
            assert made.hex() == coded


@needs_library
@settings(max_examples=8, deadline=None)
@given(st.binary(max_size=30), st.sampled_from(LAYOUTS))
def test_any_bytes_give_the_same(data: bytes, given: tuple[Shape, Layout]) -> None:
    want = payload(REFERENCE, data, *given)
    assert {payload(kernels, data, *given) for kernels in KERNELS} == {want}


@needs_library
@each_layout
def test_kernels_agree_on_longer_texts(shape: Shape, layout: Layout) -> None:
    data = waves(6000) + noise(2000) + rings(9, 300) + bytes(1000) + waves(3000, 2)
    made = {payload(kernels, data, shape, layout) for kernels in KERNELS}
    assert len(made) == 1
    for kernels in KERNELS:
        with using(kernels):
            assert decode(*made, shape, 16, len(data), layout) == data


@needs_library
@pytest.mark.parametrize(
    ("shape", "layout", "data", "share"),
    [
        (Shape.BITMAP, Layout(1, 30), rings(30, 240), 0.8),
        (Shape.WORDS, Layout(2, 0), waves(12_000), 0.85),
    ],
)
def test_samples_cost_less_than_as_data(shape: Shape, layout: Layout, data: bytes, share: float) -> None:
    with using(KERNELS[0]):
        plain = encode(data, Shape.DATA, 20)
        made = encode(data, shape, 20, layout)
    assert made is not None
    assert plain is not None
    assert len(made) < share * len(plain)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    ("shape", "layout"),
    [
        (Shape.TEXT, (1, 4)), (Shape.DATA, (2, 0)), (Shape.BITMAP, (1, 0)), (Shape.BITMAP, (2, 8)),
        (Shape.BITMAP, (1, 65_536)), (Shape.BYTES, (0, 0)), (Shape.BYTES, (256, 0)), (Shape.BYTES, (3, 6)),
        (Shape.WORDS, (3, 0)), (Shape.WORDS, (2, 9)), (Shape.BYTES, (1, -1)), (Shape.BYTES, (1, 65_536)),
    ],
)  # fmt: skip
def test_layouts_that_do_not_exist(engine: str, shape: Shape, layout: tuple[int, int]) -> None:
    with using(engine), pytest.raises(ValueError, match=r"layout|Layout"):
        encode(b"", shape, 16, Layout(*layout))
    if engine != REFERENCE:
        with pytest.raises(ValueError, match="layout"):
            calls.encoder(native.load(), shape, 16, 0, layout, engine)


@each_layout
def test_a_form_fits_its_tables(shape: Shape, layout: Layout) -> None:
    made = form(shape, layout)
    assert made.inputs * MOST_STRETCH << 13 < 1 << 31
    assert len(made.contexts(Cursor(), Followers())) == made.size


def test_a_scale_rises_by_steps_of_one() -> None:
    for part in (1, 2):
        steps = [scale(m, part) for m in range(1 << 12)]
        assert {b - a for a, b in pairwise(steps)} == {0, 1}
        assert scale(1 << 11, part) - scale(1 << 10, part) == 1 << part


def test_a_linear_prediction_learns_what_follows() -> None:
    linear, chance = Linear(5), random.Random(1)
    errors = []
    for _ in range(1000):
        x = [chance.randrange(-500, 500) for _ in range(16)]
        errors.append(x[0] - x[3] // 2 - linear.predict(x))
        linear.learn(errors[-1])
    assert sum(map(abs, errors[-50:])) < 0.2 * sum(map(abs, errors[:50]))
