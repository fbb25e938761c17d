"""The torch engine equals the numpy engine on every device, whatever the shapes, lanes and cuts.

It is run on the CPU, on the CPU with the int8 products of CUDA devices imitated under cuBLAS's rules for
shapes, and on CUDA if there is a device.
"""

from __future__ import annotations

from functools import cache, partial

import engine_checks as checks
import numpy as np
import pytest
from engine_checks import GOLDEN, golden_tokens, shapes
from hypothesis import given, settings
from hypothesis import strategies as st
from small_models import TINY, engine, feed, random_model, tiny, tokens
from small_trees import Reference, path_to, trees

import nacrith
from nacrith.errors import ModelError
from nacrith.models.exact.model import ExactModel
from nacrith.models.exact.modelfile import ModelFile
from nacrith.models.exact.numpy_engine import NumpyEngine

torch = pytest.importorskip("torch", reason="torch is not installed: pip install '.[torch]'")

from nacrith.models.exact import torch_attention, torch_engine, torch_ops  # noqa: E402
from nacrith.models.exact.torch_engine import TorchEngine, TorchSession  # noqa: E402
from nacrith.models.exact.torch_ops import Int8Product  # noqa: E402

CPU = torch.device("cpu")
KINDS = ["cpu", "cpu int8", *(["cuda"] if torch.cuda.is_available() else [])]

each_kind = pytest.mark.parametrize("kind", KINDS)


class StrictInt8(Int8Product):
    """Multiplies in int64, and only what cuBLAS takes, and only if int32 holds the sums."""

    @staticmethod
    def multiply(a, b):
        assert a.dtype == b.dtype == torch.int8
        assert len(a) > 16
        assert a.is_contiguous()
        assert b.T.is_contiguous()
        assert not [n for n in (*a.shape, *b.shape) if n % 8]
        sums = a.long() @ b.long()
        assert sums.abs().max() < 1 << 31
        return sums.int()


def make(file: ModelFile, kind: str, threads: int = 1) -> TorchEngine:
    device, _, int8 = kind.partition(" ")
    with pytest.MonkeyPatch.context() as patch:
        if int8:
            patch.setattr(torch_engine, "product_type", lambda device: StrictInt8)
        made = TorchEngine(file, threads, device)
    assert (type(made.head.product) is StrictInt8) == bool(int8)
    return made


@cache
def torch_tiny(kind: str) -> TorchEngine:
    return make(tiny(), kind)


def rows_of(file: ModelFile, ids: list[int], window: int, kind: str) -> np.ndarray:
    return make(file, kind).session(1, window).extend([ids])[0]


@each_kind
@given(shapes, st.integers(1, 3), st.integers(8, 24), st.data())
@settings(max_examples=25, deadline=None)
def test_random_models_give_the_rows_of_the_numpy_engine(kind, shape, group, window, data):
    file = random_model(**shape, heads=shape["kv_heads"] * group)
    lanes = data.draw(st.integers(1, 4))
    ids = [tokens(data.draw(st.integers(1, 70)), vocab=file.config.vocab, seed=n) for n in range(lanes)]
    want = NumpyEngine(file).session(lanes, window).extend(ids)
    batch = data.draw(st.sampled_from([1, 2, 5, 16, 256]))
    rollback = data.draw(st.sampled_from([0, 3, 40]))
    with pytest.MonkeyPatch.context() as patch:  # attention and products cut into pieces, too
        patch.setitem(torch_attention._SCORES, "cpu", data.draw(st.sampled_from([1, 300, 1 << 20])))
        patch.setattr(torch_ops, "_COLUMNS", data.draw(st.sampled_from([4, 1 << 16])))
        session = TorchSession(make(file, kind), lanes, window, rollback=rollback, batch=batch)
        done = [0] * lanes
        newest = [0] * lanes  # the most that each lane ever held; rollbacks are counted from there
        turns = 0
        while any(n < len(lane) for n, lane in zip(done, ids, strict=True)):
            sizes = data.draw(st.sampled_from([[1] * lanes, [7] * lanes, None]))
            if sizes is None:
                sizes = [data.draw(st.integers(0, 70)) for _ in range(lanes)]
            turns += 1
            if turns > 6:
                sizes = [70] * lanes
            rows = session.extend([x[n : n + s] for x, n, s in zip(ids, done, sizes, strict=True)])
            for i, part in enumerate(rows):
                assert part.dtype == np.int32
                assert np.array_equal(part, want[i][done[i] : done[i] + len(part)])
                done[i] += len(part)
            newest = list(map(max, newest, done))
            lane = data.draw(st.integers(0, lanes - 1))
            most = done[lane] - max(0, newest[lane] - rollback) if turns < 6 else 0
            back = data.draw(st.integers(0, most))
            session.rollback(lane, done[lane] - back)
            done[lane] -= back
            assert session.lengths == tuple(done)


@each_kind
@pytest.mark.parametrize("shape", checks.ODD_SHAPES)
def test_odd_shapes_and_numbers_of_rows(kind, shape):
    file = random_model(**shape)
    ids = tokens(90, vocab=file.config.vocab)
    want = NumpyEngine(file).session(1, 64).extend([ids])[0]
    session = make(file, kind).session(1, 64)
    assert np.array_equal(feed(session, 0, ids, [1, 3, 6, 10, 15, 32, 49, 66]), want)


@each_kind
@pytest.mark.parametrize(("count", "window", "digest"), GOLDEN)
def test_golden_rows(kind, count, window, digest):
    assert checks.digest(torch_tiny(kind).session(1, window).extend([golden_tokens(count)])[0]) == digest


@each_kind
@pytest.mark.parametrize("window", [8, 512])
def test_long_lanes_beyond_the_cache(kind, window):
    session = torch_tiny(kind).session(2, window)
    checks.long_lane(session, window)
    assert session.cache.ends[1] > session.cache.ring, "the ring never closed: the test is too short"


@each_kind
@given(st.integers(8, 20), st.integers(0, 40), st.integers(1, 9), st.lists(st.integers(0, 400), max_size=30))
@settings(max_examples=8, deadline=None)
def test_a_ring_that_closes_all_the_time(kind, window, rollback, batch, cuts):
    file = random_model(seed=2, head_dim=6, heads=4, kv_heads=2)
    ids = tokens(400, vocab=20)
    want = NumpyEngine(file).session(1, window).extend([ids])[0]
    session = TorchSession(make(file, kind), 1, window, rollback=rollback, batch=batch)
    assert np.array_equal(feed(session, 0, ids, cuts), want)
    session.rollback(0, 400 - rollback)
    assert np.array_equal(session.extend([ids[400 - rollback :]])[0], want[400 - rollback :])
    with pytest.raises(ValueError, match="the window has moved on"):
        session.rollback(0, 30)
    session.rollback(0, 3)  # no position beyond the sinks is needed
    assert np.array_equal(session.extend([ids[3:100]])[0], want[3:100])
    session.rollback(0, 0)
    assert np.array_equal(session.extend([ids[:50]])[0], want[:50])


@given(st.integers(8, 16), st.integers(0, 6), st.integers(1, 4), st.data())
@settings(max_examples=15, deadline=None)
def test_a_rollback_is_refused_or_right(window, rollback, batch, data):
    file = random_model(seed=4)
    ids = tokens(90, vocab=20)
    want = NumpyEngine(file).session(1, window).extend([ids])[0]
    session = TorchSession(make(file, "cpu"), 1, window, rollback=rollback, batch=batch)
    length = 0
    for _ in range(8):
        step = data.draw(st.integers(0, 30))
        rows = session.extend([ids[length : length + step]])[0]
        assert np.array_equal(rows, want[length : length + len(rows)])
        length = newest = length + len(rows)
        back = data.draw(st.integers(0, length))
        try:
            session.rollback(0, length - back)
        except ValueError:
            assert back > rollback
            assert session.lengths == (newest,)
        else:
            length -= back
    rows = session.extend([ids[length:]])[0]
    assert np.array_equal(rows, want[length:])


@each_kind
@given(st.integers(8, 16), st.sampled_from([1, 300, 1 << 20]), st.integers(1, 30), st.data())
@settings(max_examples=15, deadline=None)
def test_trees_wait_while_the_cache_grows(kind, window, scores, batch, data):
    """Sinks of one lane beside later positions of another, attention in pieces, homes that move."""
    file = random_model(seed=4, heads=4, kv_heads=2)
    parents = [data.draw(trees()) for _ in range(3)]
    ids = [tokens(len(p), vocab=20, seed=n) for n, p in enumerate(parents)]
    want = [Reference(file, window) for _ in range(3)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(torch_attention._SCORES, "cpu", scores)
        patch.setattr(torch_attention, "_FIRST_SLOTS", 1)
        session = TorchSession(make(file, kind), 3, window, rollback=3, batch=batch)
        more = [tokens(data.draw(st.integers(0, 9)), vocab=20, seed=9) for _ in range(3)]
        session.extend(more)
        for n in range(3):
            want[n].extend(more[n])
        for n, rows in enumerate(session.extend_tree(ids, parents)):
            assert np.array_equal(rows, want[n].tree(ids[n], parents[n]))
        others = tokens(data.draw(st.integers(1, 60)), vocab=20)
        assert np.array_equal(session.extend([[], [], others])[2], want[2].extend(others))
        for n in range(2):
            path = path_to(data.draw(st.integers(-1, len(ids[n]) - 1)), parents[n])
            session.keep(n, path)
            want[n].extend([ids[n][node] for node in path])
        for n, rows in enumerate(session.extend([others] * 3)):
            assert np.array_equal(rows, want[n].extend(others))


@each_kind
@given(st.data())
@settings(max_examples=3, deadline=None)
def test_rollback_and_replay_equal_the_straight_run(kind, data):
    window = data.draw(st.sampled_from([8, 32, 512]))
    ids = tokens(500)
    want = engine().session(1, window).extend([ids])[0]
    checks.rollback_and_replay(torch_tiny(kind).session(2, window), ids, want, 3, 200, data)


@each_kind
def test_more_lanes_than_rows_of_a_pass(kind):
    checks.more_lanes_than_rows_of_a_pass(torch_tiny(kind).session(520, 8))


@each_kind
@pytest.mark.parametrize("token", [0, 3, 19])
def test_rows_of_zeros_and_outliers(kind, token):
    checks.rows_of_zeros_and_outliers(partial(rows_of, kind=kind), token)


@each_kind
@pytest.mark.parametrize("gain", [40.0, 1e6])
def test_large_logits_are_rounded_once_and_saturate_at_2_to_the_30(kind, gain):
    checks.large_logits(partial(rows_of, kind=kind), gain)


@each_kind
@pytest.mark.parametrize("sign", [-1, 1])
def test_sums_beyond_32_bits(kind, sign):
    checks.sums_beyond_32_bits(partial(rows_of, kind=kind), sign)


@pytest.mark.parametrize("limit", [1, 127, 128, 511, 16383])
def test_int8_planes_of_every_input(limit):
    q = np.arange(-limit, limit + 1, dtype=np.float32)[:, None]
    weights = np.array([[1], [-128], [127]], np.int8)
    sums = StrictInt8(weights, limit, CPU)(torch.tensor(q))
    assert np.array_equal(sums.numpy(), q.astype(np.int64) * weights.T.astype(np.int64))


def test_widest_int8_product():
    """Each of 2^17 columns has -128 in the low plane and in the weights."""
    weights, q = np.full((1, 1 << 17), -128, np.int8), torch.full((1, 1 << 17), 16000.0)
    assert 16000 % 256 == 128
    assert int(StrictInt8(weights, 16383, CPU)(q)) == -128 * 16000 << 17


def _wrong(a, b):
    return torch.clamp(a.long() @ b.long(), -32768, 32767).int()  # saturates, as some CPUs do


def _none(a, b):
    raise RuntimeError("CUBLAS_STATUS_NOT_SUPPORTED")


@pytest.mark.parametrize(
    ("multiply", "exact"), [(StrictInt8.multiply, True), (_wrong, False), (_none, False)]
)
def test_int8_products_are_tried_before_they_are_used(monkeypatch, multiply, exact):
    monkeypatch.setattr(Int8Product, "multiply", staticmethod(multiply))
    assert torch_ops.int8_is_exact(CPU) is exact


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("by", lambda x, value: x * (1.0 / value)),  # how CUDA divides by a number
        ("divide", lambda value, x: x.reciprocal() * value),  # and how a number is divided everywhere
        ("exp2", lambda t: t.exp2()),
        ("rms_norm", lambda x, gain, eps: torch.nn.functional.rms_norm(x, x.shape[-1:], gain, eps)),
    ],
)
def test_a_device_that_rounds_otherwise_is_refused(monkeypatch, name, wrong):
    torch_ops.check(CPU)
    monkeypatch.setattr(torch_ops, name, wrong)
    with pytest.raises(ModelError, match="NACRITH_DEVICE=cpu: torch does not round"):
        TorchEngine(tiny(), 1, "cpu")


def test_square_roots_are_rounded_correctly():
    x = np.random.default_rng(0).uniform(0, 1e9, 100_000)
    assert np.array_equal(torch_ops.sqrt(torch.tensor(x)).numpy(), np.sqrt(x))


@each_kind
def test_settings_of_torch_change_nothing(kind):
    ids = tokens(40)
    want = engine().session(1, 16).extend([ids])[0]
    threads, precision = torch.get_num_threads(), torch.get_float32_matmul_precision()
    device = kind.partition(" ")[0]
    try:
        torch.set_float32_matmul_precision("medium")
        torch.set_default_dtype(torch.float64)
        torch.use_deterministic_algorithms(True)
        with torch.autocast(device, torch.bfloat16):
            made = make(tiny(), kind, threads + 1)
            assert np.array_equal(made.session(1, 16).extend([ids])[0], want)
        assert torch.get_num_threads() == threads
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.use_deterministic_algorithms(False)
        torch.set_default_dtype(torch.float32)
        torch.set_float32_matmul_precision(precision)


@each_kind
def test_sessions_of_one_engine_in_several_threads(kind):
    checks.sessions_in_several_threads(lambda: torch_tiny(kind).session(1, 16), 30)


@each_kind
def test_wrong_arguments_change_nothing(kind):
    session = make(random_model(), kind).session(2, 16)
    session.extend([[1] * 4095, [1]])
    for bad, why in [
        ([[1, 1], [1]], "at most 4096 tokens"),
        ([[1]], "tokens for 1 lanes, not 2"),
        ([[20], []], "token 20 is outside the vocabulary"),
        ([[], [-1]], "token -1 is outside the vocabulary"),
    ]:
        with pytest.raises(ValueError, match=why):
            session.extend(bad)
        assert session.lengths == (4095, 1)
    with pytest.raises(ValueError, match="token 20 is outside the vocabulary"):
        session.extend_tree([[], [1, 20]], [[], [-1, -1]])
    for lane in (-1, 2):
        with pytest.raises(ValueError, match=f"no lane {lane}"):
            session.keep(lane, [])
    for lane, length, why in [(0, 4096, "holds 4095 tokens"), (2, 0, "no lane 2"), (1, -1, "holds 1 tokens")]:
        with pytest.raises(ValueError, match=why):
            session.rollback(lane, length)
    assert [r.shape for r in session.extend([[1], []])] == [(1, 20), (0, 20)]
    assert [r.shape for r in session.extend([[], []])] == [(0, 20)] * 2


def test_memory_that_runs_out_is_a_memory_error(monkeypatch):
    session = torch_tiny("cpu").session(1, 16)
    monkeypatch.setattr(
        TorchEngine, "layers", lambda *_: (_ for _ in ()).throw(torch.cuda.OutOfMemoryError("2 GiB"))
    )
    with pytest.raises(MemoryError, match="2 GiB"):
        session.extend([[1]])
    assert session.lengths == (0,)


def test_archives_are_those_of_the_other_engines(monkeypatch):
    text = b"It was late in the autumn when the old doctor came back to the village." * 2
    monkeypatch.setenv("NACRITH_ENGINE", "numpy")
    want = nacrith.compress(text, model=ExactModel(TINY, threads=1))
    monkeypatch.setenv("NACRITH_ENGINE", "torch")
    monkeypatch.setenv("NACRITH_DEVICE", "cpu")
    assert nacrith.engine == "torch"
    model = ExactModel(TINY, threads=1)
    assert type(model.engine) is TorchEngine
    assert model.engine.device == CPU
    assert nacrith.compress(text, model=model) == want
    assert nacrith.decompress(want, model=model) == text


@pytest.mark.parametrize(
    ("count", "name", "found"),
    [
        (0, None, "cpu"),
        (0, "", "cpu"),
        (0, "cpu", "cpu"),
        (2, None, "cuda"),
        (2, "cpu", "cpu"),
        (2, "cuda", "cuda"),
        (2, "cuda:1", "cuda:1"),
    ],
)
def test_devices(monkeypatch, count, name, found):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    assert torch_engine.find_device(name) == torch.device(found)


@pytest.mark.parametrize(
    ("count", "name", "why"),
    [
        (0, "cuda", "torch sees no CUDA device; use NACRITH_DEVICE=cpu"),
        (0, "cuda:0", "torch sees no CUDA device"),
        (2, "cuda:2", "of CUDA devices, torch sees 0 to 1"),
        (2, "abacus", "no such device; use cpu, cuda or cuda:N"),
        (2, "cuda:-1", "no such device"),
    ],
)
def test_devices_that_are_not_there(monkeypatch, count, name, why):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    monkeypatch.setenv("NACRITH_DEVICE", name)
    with pytest.raises(ModelError, match=f"NACRITH_DEVICE={name}: .*{why}"):
        TorchEngine(tiny())
