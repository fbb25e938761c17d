"""The learner's codec: native code and reference write the same bytes and read each other's."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from learner_texts import ENGINES, PROSE, REFERENCE, TABLE, TEXTS, noise, payload, records, using
from native_library import KERNELS, needs_library

from nacrith import native
from nacrith.errors import CorruptError, ModelError
from nacrith.learner import MOST_SIZE, NO_LAYOUT, Shape, codec, decode, encode
from nacrith.native import learner as calls

SHAPES = [shape for shape in Shape if shape < Shape.BITMAP]  # others: test_learner_grid
each_engine = pytest.mark.parametrize("engine", ENGINES)
each_shape = pytest.mark.parametrize("shape", SHAPES)


@needs_library
@each_shape
@pytest.mark.parametrize("name", TEXTS)
def test_native_payloads_are_those_of_the_reference(name: str, shape: Shape) -> None:
    want = payload(REFERENCE, TEXTS[name], shape)
    for kernels in KERNELS:
        assert payload(kernels, TEXTS[name], shape) == want
        with using(kernels):
            assert decode(want, shape, 16, len(TEXTS[name])) == TEXTS[name]


@needs_library
def test_a_long_repetition_and_larger_tables_give_the_same() -> None:
    """Long matches, widths of records that are found and lost, a table that does not fill."""
    line = b"2026-01-02 key=17 value=ok\n"
    data = line * 30
    assert payload(REFERENCE, data, Shape.FAST, 20) == payload(KERNELS[0], data, Shape.FAST, 20)
    data = records(64)
    assert payload(REFERENCE, data, Shape.DATA, 20) == payload(KERNELS[0], data, Shape.DATA, 20)


@needs_library
@settings(max_examples=3, deadline=None)
@given(st.integers(3, 9), st.integers(8, 20), st.integers(0, 9))
def test_rows_of_records_give_the_same(width: int, columns: int, seed: int) -> None:
    """Long enough for lengths of records and rows to be found, with a cell of another length now and then."""
    random = noise(2000, seed)
    cells = [
        bytes([5, row, column + 64]) + random[column : column + width] * (1 + (random[row] == column))
        for row in range(700 // (columns * (width + 3)) + 1)
        for column in range(columns)
    ]
    data = b"".join(cells)[:1100]
    want = payload(REFERENCE, data, Shape.DATA, 18)
    assert {payload(kernels, data, Shape.DATA, 18) for kernels in KERNELS} == {want}


@needs_library
@settings(max_examples=15, deadline=None)
@given(
    st.lists(
        st.sampled_from([b"a", b"the ", b"\n", b"\0\0", b"\xff", b"7", b",", b"'s"]) | st.binary(max_size=9)
    )
    .map(b"".join)
    .map(lambda b: b[:80]),
    st.sampled_from(SHAPES),
    st.integers(16, 18),
)
def test_any_text_gives_the_same(data: bytes, shape: Shape, bits: int) -> None:
    want = payload(REFERENCE, data, shape, bits)
    assert {payload(kernels, data, shape, bits) for kernels in KERNELS} == {want}


@needs_library
@each_shape
def test_kernels_agree_on_longer_texts(shape: Shape) -> None:
    data = TABLE * 5 + noise(3000) + PROSE * 9 + records(900) + noise(3000) + bytes(1000)
    payloads = {payload(kernels, data, shape, 17) for kernels in KERNELS}
    assert len(payloads) == 1
    for kernels in KERNELS:
        with using(kernels):
            assert decode(*payloads, shape, 17, len(data)) == data


@each_shape
def test_the_reference_reads_what_was_written(shape: Shape) -> None:
    data = PROSE[:90] + records(5)
    with using(REFERENCE):
        assert decode(payload(ENGINES[-1], data, shape), shape, 16, len(data)) == data


@each_engine
@each_shape
def test_pieces_change_nothing(engine: str, shape: Shape) -> None:
    data, parts = TEXTS["prose"][:100], [0, 1, 1, 40, 77, 77, 100]
    with using(engine):
        coding, _ = codec._coding(shape, 16, len(data), NO_LAYOUT, None)
        least = [coding.encode(data[a:b]) for a, b in pairwise(parts)]
        found = coding.finish()
        assert found == payload(engine, data, shape)
        assert least == sorted(least)
        assert least[-1] <= len(found)
        coding, _ = codec._coding(shape, 16, len(data), NO_LAYOUT, found)
        assert [coding.decode(b - a) for a, b in pairwise(parts)] == [data[a:b] for a, b in pairwise(parts)]


@each_engine
def test_a_limit_is_the_length_that_is_allowed(engine: str) -> None:
    data = TEXTS["noise"]
    found = payload(engine, data, Shape.FAST)
    with using(engine):
        assert encode(data, Shape.FAST, 16, limit=len(found)) == found
        assert encode(data, Shape.FAST, 16, limit=len(found) - 1) is None
        assert encode(b"", Shape.FAST, 16, limit=0) == b""


@each_engine
def test_zero_bytes_that_the_end_drops_do_not_count_for_the_limit(engine: str) -> None:
    """Ones are the lower part of every interval: the number is 0, whose shortest form is empty."""
    size = 120 if engine == REFERENCE else 70_000
    with using(engine):
        assert encode(b"\xff" * size, Shape.FAST, 16, limit=0) == b""
        assert decode(b"", Shape.FAST, 16, 90) == b"\xff" * 90


@each_engine
def test_a_limit_stops_the_work_and_progress_is_told_of_every_byte(engine: str) -> None:
    size = 300 if engine == REFERENCE else 140_000
    data, told = noise(size), []
    with using(engine):
        assert encode(data, Shape.FAST, 16, limit=10, progress=told.append) is None
        assert told == []
        found = encode(data, Shape.FAST, 16, progress=told.append)
        assert sum(told) == size
        assert len(told) > 1
        told.clear()
        size = min(size, 70_000) // (3 if engine == REFERENCE else 1)
        assert decode(found or b"", Shape.FAST, 16, size, progress=told.append) == data[:size]
        assert sum(told) == size


@each_engine
@each_shape
def test_damage_gives_other_bytes_or_our_error(engine: str, shape: Shape) -> None:
    data = PROSE[:24] if engine == REFERENCE else PROSE[:120]
    good = payload(ENGINES[-1], data, shape)
    number = int.from_bytes(good, "big")
    # Without the last byte no number is in the interval, so another byte before it is another text.
    flipped = [number ^ 1 << bit for bit in range(8, 8 * len(good), 23)]
    wrong = [n.to_bytes(len(good), "big") for n in flipped] + [good[:-1], good[: len(good) // 2], b""]
    other = [good + b"\1", good + noise(50), b"\xff" * len(good), b"\xff" * 3, noise(len(good))]
    for damaged in [*wrong, *other]:
        with using(engine):
            try:
                found = decode(damaged, shape, 16, len(data))
            except CorruptError:
                continue
        assert len(found) == len(data)
        assert found != data or damaged in other
    with using(engine):
        assert decode(good + bytes(9), shape, 16, len(data)) == data


@each_engine
@pytest.mark.parametrize(
    ("shape", "bits", "size"),
    [(6, 16, 0), (-1, 16, 0), (0, 15, 0), (0, 29, 0), (0, 16, -1), (0, 16, MOST_SIZE + 1)],
)
def test_arguments_out_of_range(engine: str, shape: int, bits: int, size: int) -> None:
    with using(engine), pytest.raises(ValueError, match=r"Shape|bytes"):
        decode(b"", shape, bits, size)  # type: ignore[arg-type]


@needs_library
def test_the_library_checks_its_arguments_itself() -> None:
    library = native.load()
    for shape, bits, length in [(6, 16, 0), (0, 15, 0), (0, 29, 0), (0, 16, -1), (0, 16, MOST_SIZE + 1)]:
        with pytest.raises(ValueError, match="out of range"):
            calls.encoder(library, shape, bits, length, NO_LAYOUT, None)
    with pytest.raises(ValueError, match="kernels"):
        calls.encoder(library, 0, 16, 9, NO_LAYOUT, "none")
    library.destroy(calls.encoder(library, 0, 16, MOST_SIZE, NO_LAYOUT, None))
    handle = calls.encoder(library, 0, 16, 9, NO_LAYOUT, None)
    try:
        for wrong in (
            lambda: calls.encode(library, handle, b"0123456789"),
            lambda: calls.decode(library, handle, 1),
            lambda: calls.finish(library, handle),
        ):
            with pytest.raises(ValueError, match="text"):
                wrong()
    finally:
        library.destroy(handle)


@each_engine
def test_progress_can_stop_the_work(engine: str) -> None:
    def stop(size: int) -> None:
        raise KeyboardInterrupt

    with using(engine), pytest.raises(KeyboardInterrupt):
        encode(b"abc", Shape.TEXT, 16, progress=stop)
    with using(engine), pytest.raises(KeyboardInterrupt):
        decode(b"abc", Shape.TEXT, 16, 3, progress=stop)


class TestChoice:
    """Of the engine, by NACRITH_ENGINE and by what is there."""

    @pytest.fixture(autouse=True)
    def fresh(self, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.delenv("NACRITH_ENGINE", raising=False)
        native.load.cache_clear()
        yield
        native.load.cache_clear()

    @needs_library
    def test_native_where_it_is(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert codec.engine() == (native.load(), None)
        monkeypatch.setenv("NACRITH_ENGINE", "native:portable")
        assert codec.engine() == (native.load(), "portable")
        monkeypatch.setenv("NACRITH_ENGINE", "torch")
        assert codec.engine() == (native.load(), None)
        for wrong in ("native:none", "native:"):
            monkeypatch.setenv("NACRITH_ENGINE", wrong)
            with pytest.raises(ModelError, match="no such kernels"):
                codec.engine()

    def test_the_reference_where_it_is_asked_for_or_alone(self, monkeypatch, tmp_path) -> None:
        monkeypatch.setenv("NACRITH_ENGINE", "numpy")
        assert codec.engine() is None
        assert encode(b"ab", Shape.TEXT, 16) == payload(REFERENCE, b"ab", Shape.TEXT)
        monkeypatch.delenv("NACRITH_ENGINE")
        monkeypatch.setenv("NACRITH_NATIVE_LIB", str(tmp_path / "none.so"))
        assert codec.engine() is None
        monkeypatch.setenv("NACRITH_ENGINE", "native")
        with pytest.raises(ModelError, match=r"none\.so"):
            codec.engine()

    def test_a_name_that_does_not_exist(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("NACRITH_ENGINE", "cuda")
        with pytest.raises(ModelError, match="no such engine"):
            codec.engine()
