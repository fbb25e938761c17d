"""What every exact engine must do, written once: the tests of each engine call these with its own.

`rows(file, ids, window)` are the rows of a fresh lane of the engine under test for a model in memory; the
numpy engine, or the slow reference, says what they must be.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable

import numpy as np
from hypothesis import strategies as st
from slow_reference import SlowModel
from small_models import LIMITS, engine, feed, random_model, tokens

from nacrith.models.exact.modelfile import ModelFile
from nacrith.models.exact.numpy_engine import ROLLBACK, NumpyEngine
from nacrith.models.protocol import Session

Rows = Callable[[ModelFile, list[int], int], np.ndarray]

ODD_SHAPES = [
    {"width": 31, "ffn": 15, "vocab": 17, "head_dim": 2},
    {"width": 17, "ffn": 33, "vocab": 1025, "head_dim": 34, "heads": 6, "kv_heads": 2},
    {"width": 64, "ffn": 96, "vocab": 333, "head_dim": 64, "heads": 9, "kv_heads": 3, "layers": 2},
    {"width": 1, "ffn": 1, "vocab": 2, "head_dim": 1040, "heads": 1},
]


GOLDEN = [
    (1, 512, "46de42dea281245c98ed68c95d1e9654f5faaf7a547cea27b9e75d310d190465"),
    (512, 512, "c7a1fc6ab6475d3798f6615163f54614313677c3f9cdf5509b4e4aa3e2f2e751"),
    (700, 512, "714ad81392c33292a0e62054291a15ce5b00782f0061f2625c456ac7321c02f5"),
    (200, 16, "de98178af909d9ce450b16ae22006ba4bc12ba2eac5208d134b301727d7a0420"),
    (3000, 64, "62b48b0c6e6aecd86a1dc1beb8440b99ca648c3d7f71e88d0d56c6f3de159272"),
]
"""(tokens, window, SHA-256 of the rows as little-endian int32), for the tiny model."""

shapes = st.builds(
    dict,
    layers=st.integers(1, 2),
    kv_heads=st.integers(1, 2),
    head_dim=st.sampled_from([2, 4, 6, 16]),
    width=st.sampled_from([1, 5, 16, 33]),
    ffn=st.sampled_from([1, 7, 40]),
    vocab=st.sampled_from([2, 19, 130]),
    tied=st.booleans(),
    seed=st.integers(0, 9),
    scale=st.sampled_from([0.02, 1.0, 100.0]),
    limits=st.fixed_dictionaries({k: st.sampled_from([1, 127, 511, 16383]) for k in LIMITS}),
)


def golden_tokens(count: int) -> list[int]:
    """The sequence of the golden vectors in formats/arithmetic-v1.md."""
    return [(7 * i * i + 3 * (i // 8)) % 512 for i in range(count)]


def digest(rows: np.ndarray) -> str:
    """As the golden rows of formats/arithmetic-v1.md are given."""
    return hashlib.sha256(rows.astype("<i4").tobytes()).hexdigest()


def rollback_and_replay(
    session: Session, ids: list[int], want: np.ndarray, turns: int, step: int, data: st.DataObject
) -> None:
    """session: two empty lanes. want: the rows of `ids` in one go. step: most tokens of a turn."""
    length = 0
    for _ in range(turns):
        size = data.draw(st.integers(1, step))
        rows = session.extend([ids[length : length + size], [1] * size])[0]
        assert np.array_equal(rows, want[length : length + len(rows)])
        length += len(rows)
        back = data.draw(st.integers(0, min(length, ROLLBACK)))
        session.rollback(0, length - back)
        length -= back
        session.extend([[7] * min(back, 3), []])  # something else, taken back again
        session.rollback(0, length)
        assert session.lengths[0] == length
    assert np.array_equal(session.extend([ids[length:], []])[0], want[length:])


def more_lanes_than_rows_of_a_pass(session: Session) -> None:
    """session: many empty lanes of the tiny model, window 8."""
    ids = tokens(len(session.lengths))
    rows = session.extend([[t] for t in ids])
    want = engine().session(len(ids), 8).extend([[t] for t in ids])
    assert np.array_equal(np.array(rows), np.array(want))


def long_lane(session: Session, window: int) -> None:
    """session: two empty lanes of the tiny model; the second grows far beyond its cache."""
    ids = tokens(1500)
    want = engine().session(1, window).extend([ids])[0]
    assert np.array_equal(feed(session, 1, ids, [1, 5, 700, *range(800, 1400, 133)]), want)
    assert session.lengths == (0, 1500)


def rows_of_zeros_and_outliers(rows: Rows, token: int) -> None:
    file = random_model(vocab=20, layers=2, seed=5)
    scales = file.tensors["embed.s"].copy()
    scales[0], scales[3], scales[19] = 0.0, 1e30, 1e-30
    file.tensors["embed.s"] = scales
    ids = [1, token, 2, token, token, *range(20)]
    slow = SlowModel(file, 8)
    want = np.array([slow.step(t) for t in ids])
    assert np.array_equal(rows(file, ids, 8), want)


def large_logits(rows: Rows, gain: float) -> None:
    """Rounded once between 2^22 and 2^24 (gain 40), saturated at 2^30 (gain 10^6)."""
    file = random_model(vocab=200, seed=1)
    file.tensors["final_norm"] = np.full(8, gain, np.float32)
    ids = tokens(20, vocab=200)
    got = rows(file, ids, 8)
    assert np.array_equal(got, NumpyEngine(file).session(1, 8).extend([ids])[0])
    if gain == 1e6:
        assert {int(got.min()), int(got.max())} == {-(1 << 30), 1 << 30}
    else:
        assert ((abs(got) > 1 << 22) & (abs(got) < 1 << 24)).sum() > 100


def sums_beyond_32_bits(rows: Rows, sign: int) -> None:
    """1100 products of 127 * 16383 in one sum: the weights are such that every input is the same."""
    file = random_model(ffn=1100, vocab=20, limits=LIMITS | {"down": 16383})
    t = file.tensors
    t["layers.0.mlp.q"] = np.repeat(t["layers.0.mlp.q"][[0, -1]], 1100, axis=0)
    t["layers.0.mlp.s"] = np.repeat(t["layers.0.mlp.s"][[0, -1]], 1100)
    t["layers.0.down.q"] = np.full((8, 1100), 127 * sign, np.int8)
    ids = list(range(20))
    assert 1100 * 127 * 16383 > 1 << 31
    want = NumpyEngine(file).session(1, 8).extend([ids])[0]
    assert np.array_equal(rows(file, ids, 8), want)


def sessions_in_several_threads(start: Callable[[], Session], count: int) -> None:
    """start: a lane of the tiny model with window 16."""
    ids = tokens(count)
    want = engine().session(1, 16).extend([ids])[0]
    got: list[np.ndarray] = []

    def run() -> None:
        got.append(feed(start(), 0, ids, list(range(1, count))))

    threads = [threading.Thread(target=run) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(got) == 3
    assert all(np.array_equal(rows, want) for rows in got)
