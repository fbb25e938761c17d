"""The native engine equals the numpy engine, whatever the kernels, threads, shapes and cuts.

Where the library is not built these tests are skipped, with the reason; conftest.py knows where it must be
there.
"""

from __future__ import annotations

import ctypes
import re
from functools import cache, partial

import engine_checks as checks
import numpy as np
import pytest
from engine_checks import GOLDEN, golden_tokens, shapes
from hypothesis import given, settings
from hypothesis import strategies as st
from native_library import each_kernels, needs_library
from paths import ROOT
from small_models import engine, feed, random_model, tiny, tokens

from nacrith import native
from nacrith.errors import ModelError
from nacrith.models.exact.modelfile import ModelFile
from nacrith.models.exact.native_engine import NativeEngine, NativeSession
from nacrith.models.exact.numpy_engine import NumpyEngine
from nacrith.native import abi
from nacrith.native import engine as calls

HEADER = (ROOT / "codecs" / "nacrith.h").read_text()


@cache
def native_engine(kernels: str, threads: int = 1) -> NativeEngine:
    """The native engine of the tiny model."""
    return NativeEngine(tiny(), threads, kernels)


def rows_of(file: ModelFile, ids: list[int], window: int, kernels: str, threads: int = 1) -> np.ndarray:
    return NativeEngine(file, threads, kernels).session(1, window).extend([ids])[0]


@needs_library
@each_kernels
@given(shapes, st.integers(1, 3), st.integers(8, 24), st.sampled_from([1, 2, 3]), st.data())
@settings(max_examples=40, deadline=None)
def test_random_models_give_the_rows_of_the_numpy_engine(kernels, shape, group, window, threads, data):
    file = random_model(**shape, heads=shape["kv_heads"] * group)
    lanes = data.draw(st.integers(1, 3))
    ids = [tokens(data.draw(st.integers(1, 70)), vocab=file.config.vocab, seed=n) for n in range(lanes)]
    want = NumpyEngine(file).session(lanes, window).extend(ids)
    batch = data.draw(st.sampled_from([1, 2, 5, 16, 256]))
    rollback = data.draw(st.sampled_from([0, 3, 40]))
    session = NativeSession(
        NativeEngine(file, threads, kernels), lanes, window, rollback=rollback, batch=batch
    )
    done = [0] * lanes
    turns = 0
    while any(n < len(lane) for n, lane in zip(done, ids, strict=True)):
        sizes = [data.draw(st.integers(0, 70)) for _ in range(lanes)]
        turns += 1
        if turns > 5 or not any(sizes):
            sizes = [70] * lanes
        rows = session.extend([x[n : n + s] for x, n, s in zip(ids, done, sizes, strict=True)])
        for i, part in enumerate(rows):
            assert np.array_equal(part, want[i][done[i] : done[i] + len(part)])
            done[i] += len(part)
        lane = data.draw(st.integers(0, lanes - 1))
        back = data.draw(st.integers(0, min(rollback, done[lane]))) if turns < 6 else 0
        session.rollback(lane, done[lane] - back)
        done[lane] -= back
        assert session.lengths == tuple(done)
        if data.draw(st.booleans()) and back:  # at once, or with what comes next
            again = session.extend(
                [x[n : n + back * (i == lane)] for i, (x, n) in enumerate(zip(ids, done, strict=True))]
            )
            assert np.array_equal(again[lane], want[lane][done[lane] : done[lane] + back])
            done[lane] += back
    assert session.lengths == tuple(map(len, ids))


@needs_library
@each_kernels
@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("shape", checks.ODD_SHAPES)
def test_odd_shapes_and_numbers_of_rows(kernels, threads, shape):
    file = random_model(**shape)
    ids = tokens(150, vocab=file.config.vocab)
    want = NumpyEngine(file).session(1, 64).extend([ids])[0]
    session = NativeEngine(file, threads, kernels).session(1, 64)
    assert np.array_equal(feed(session, 0, ids, [1, 3, 6, 10, 15, 21, 28, 36, 37, 49, 62, 90]), want)


@needs_library
@each_kernels
@pytest.mark.parametrize(("count", "window", "digest"), GOLDEN)
def test_golden_rows(kernels, count, window, digest):
    rows = native_engine(kernels, 2).session(1, window).extend([golden_tokens(count)])[0]
    assert checks.digest(rows) == digest


@needs_library
@each_kernels
@pytest.mark.parametrize("window", [8, 16, 512])
def test_long_lanes_beyond_the_cache(kernels, window):
    checks.long_lane(native_engine(kernels, 2).session(2, window), window)


@needs_library
@each_kernels
@given(st.integers(8, 20), st.integers(0, 40), st.integers(1, 9), st.lists(st.integers(0, 400), max_size=30))
@settings(max_examples=15, deadline=None)
def test_a_cache_that_is_compacted_all_the_time(kernels, window, rollback, batch, cuts):
    file = random_model(seed=2, head_dim=6, heads=4, kv_heads=2)
    ids = tokens(400, vocab=20)
    want = NumpyEngine(file).session(1, window).extend([ids])[0]
    made = NativeEngine(file, 1, kernels)
    session = NativeSession(made, 1, window, rollback=rollback, batch=batch)
    assert np.array_equal(feed(session, 0, ids, cuts), want)
    session.rollback(0, 400 - rollback)
    assert np.array_equal(session.extend([ids[400 - rollback :]])[0], want[400 - rollback :])
    with pytest.raises(ValueError, match="the window has moved on"):
        session.rollback(0, 30)
    session.rollback(0, 0)
    assert np.array_equal(session.extend([ids[:100]])[0], want[:100])


@needs_library
@each_kernels
@given(st.data())
@settings(max_examples=5, deadline=None)
def test_rollback_and_replay_equal_the_straight_run(kernels, data):
    window = data.draw(st.sampled_from([8, 32, 512]))
    ids = tokens(700)
    want = engine().session(1, window).extend([ids])[0]
    session = native_engine(kernels, 2).session(2, window)
    checks.rollback_and_replay(session, ids, want, data.draw(st.integers(1, 4)), 300, data)


@needs_library
@each_kernels
def test_more_lanes_than_rows_of_a_pass(kernels):
    checks.more_lanes_than_rows_of_a_pass(native_engine(kernels, 3).session(300, 8))


@needs_library
@each_kernels
@pytest.mark.parametrize("token", [0, 3, 19])
def test_rows_of_zeros_and_outliers(kernels, token):
    checks.rows_of_zeros_and_outliers(partial(rows_of, kernels=kernels), token)


@needs_library
@each_kernels
@pytest.mark.parametrize("gain", [40.0, 1e6])
def test_large_logits_are_rounded_once_and_saturate_at_2_to_the_30(kernels, gain):
    checks.large_logits(partial(rows_of, kernels=kernels), gain)


@needs_library
@each_kernels
@pytest.mark.parametrize("sign", [-1, 1])
def test_sums_beyond_32_bits(kernels, sign):
    checks.sums_beyond_32_bits(partial(rows_of, kernels=kernels, threads=2), sign)


@needs_library
@each_kernels
def test_sessions_of_one_engine_in_several_threads(kernels):
    checks.sessions_in_several_threads(lambda: native_engine(kernels, 2).session(1, 16), 60)


@needs_library
def test_wrong_arguments_change_nothing():
    checks.wrong_arguments(NativeEngine(random_model()).session(2, 16))
    with pytest.raises(ValueError, match="threads"):
        NativeEngine(random_model(), 0)
    with pytest.raises(ValueError, match="no kernels called abacus"):
        NativeEngine(random_model(), 1, "abacus")


@needs_library
def test_arrays_are_checked_before_a_call():
    library, counts = native.load(), np.array([2])
    session = NativeEngine(random_model()).session(1, 16)
    ids, rows = np.zeros(2, np.int32), np.zeros((2, 20), np.int32)
    for wrong in [
        (counts, ids.astype(np.int64), rows),
        (counts.astype(np.int32), ids, rows),
        (counts, ids, rows.astype(np.float32)),
        (counts, ids, rows[:1]),
        (counts, ids, rows.T),
        (counts, ids[:1], rows),
    ]:
        with pytest.raises(ValueError, match="array"):
            calls.extend(library, session._handle, *wrong)
    assert session.lengths == (0,)


@needs_library
def test_objects_are_told_apart():
    """What C's types cannot: there is one type of handle."""
    library, made = native.load(), NativeEngine(random_model())
    session = made.session(1, 16)
    ids, rows = np.zeros(1, np.int32), np.zeros((1, 20), np.int32)
    with pytest.raises(ValueError, match="another kind"):
        calls.extend(library, made.handle, np.array([1]), ids, rows)
    with pytest.raises(ValueError, match="another kind"):
        calls.create_session(library, session._handle, 1, 16, 0, 1)
    library.destroy(0)


@needs_library
@pytest.mark.parametrize("name", ["layers.0.o.q", "layers.0.o.s", "final_norm", "embed.s", "rope.coarse"])
def test_tensors_that_do_not_fit_are_model_errors(name):
    file = random_model()
    whole = file.tensors.pop(name)
    with pytest.raises(ModelError, match=re.escape(name)):
        NativeEngine(file)
    file.tensors[name] = whole.reshape(-1)[:-1].copy()
    with pytest.raises(ModelError, match=re.escape(name)):
        NativeEngine(file)


_C_TYPES = {
    "int32_t": ctypes.c_int32,
    "int64_t": ctypes.c_int64,
    "const char *": ctypes.c_char_p,
    "void": None,
    "const nacrith_config *": ctypes.POINTER(abi.Config),
    "const nacrith_tensor *": ctypes.POINTER(abi.Tensor),
    "nacrith_engine **": ctypes.POINTER(ctypes.c_void_p),
    "nacrith_session **": ctypes.POINTER(ctypes.c_void_p),
    "nacrith_vocabulary **": ctypes.POINTER(ctypes.c_void_p),
    "nacrith_group **": ctypes.POINTER(ctypes.c_void_p),
    "nacrith_learner **": ctypes.POINTER(ctypes.c_void_p),
}


def test_argument_types_are_those_of_the_header():
    """A wrong one would be silent corruption of memory."""
    text = re.sub(r"/\*.*?\*/", "", HEADER, flags=re.S)
    declared = re.findall(r"NACRITH_API ([^;(]*?)(nacrith_\w+)\(([^)]*)\);", text)
    found = {}
    for result, name, arguments in declared:
        types = [" ".join(re.sub(r"\w+$", "", a.strip()).split()) for a in arguments.split(",")]
        found[name] = (
            _C_TYPES[result.strip()],
            [] if arguments == "void" else [_C_TYPES.get(t, ctypes.c_void_p) for t in types],
        )
    assert found == abi.SIGNATURES
    assert list(found) == list(abi.SIGNATURES)


@pytest.mark.parametrize(("name", "structure"), [("config", abi.Config), ("tensor", abi.Tensor)])
def test_structures_are_those_of_the_header(name, structure):
    body = re.search(rf"typedef struct nacrith_{name} {{(.*?)}}", HEADER, re.S)
    assert body
    fields = []
    for kind, names in re.findall(r"(int64_t|double|const char \*|const void \*)([^;]*);", body[1]):
        types = {"int64_t": ctypes.c_int64, "double": ctypes.c_double, "const char *": ctypes.c_char_p}
        fields += [(n.strip(), types.get(kind, ctypes.c_void_p)) for n in names.split(",")]
    assert fields == structure._fields_
