"""Models whose activations fit bytes: all limits are 127.

Sets of kernels with byte products compute them in another way than other models; every engine, set, number of
lanes and split gives the same rows.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from engine_checks import ODD_SHAPES
from native_library import each_kernels, needs_library
from slow_reference import SlowModel
from small_models import LIMITS, feed, random_model, tiny, tokens

import nacrith
from nacrith.models.exact import modelfile
from nacrith.models.exact.model import ExactModel
from nacrith.models.exact.modelfile import ModelFile
from nacrith.models.exact.native_engine import NativeEngine, NativeSession
from nacrith.models.exact.numpy_engine import NumpyEngine

BYTES = dict.fromkeys(LIMITS, 127)
LANES = [1, 2, 4, 8, 9, 13, 16, 17, 33, 64]  # around the rows of a block in every set


@cache
def small() -> ModelFile:
    """The committed model with other limits; its weights are the same."""
    return replace(tiny(), config=replace(tiny().config, act_limits=BYTES))


@cache
def wanted(lanes: int, window: int) -> list[np.ndarray]:
    """The numpy engine's rows for `lanes` lanes of 40 tokens."""
    ids = [tokens(40, seed=n) for n in range(lanes)]
    return NumpyEngine(small()).session(lanes, window).extend(ids)


def test_the_numpy_engine_gives_the_rows_of_the_slow_reference():
    slow = SlowModel(small(), 16)
    want = np.array([slow.step(t) for t in tokens(24)])
    assert np.array_equal(NumpyEngine(small()).session(1, 16).extend([tokens(24)])[0], want)
    other = NumpyEngine(tiny()).session(1, 16).extend([tokens(24)])[0]
    assert not np.array_equal(other, want), "the limits change nothing: the test shows nothing"


@needs_library
@each_kernels
@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("lanes", LANES)
def test_native_lanes_of_one_token_a_step(kernels, threads, lanes):
    ids = [tokens(40, seed=n) for n in range(lanes)]
    session = NativeEngine(small(), threads, kernels).session(lanes, 16)
    first = session.extend([lane[:37] for lane in ids])  # all lanes at once, cut into passes
    steps = [session.extend([[lane[n]] for lane in ids]) for n in range(37, 40)]
    for lane, want in enumerate(wanted(lanes, 16)):
        assert np.array_equal(np.concatenate([first[lane], *(s[lane] for s in steps)]), want)


@needs_library
@each_kernels
@pytest.mark.parametrize("batch", [1, 5, 16, 96, 256])
def test_native_splits_of_a_text(kernels, batch):
    ids = tokens(300)
    want = NumpyEngine(small()).session(1, 64).extend([ids])[0]
    session = NativeSession(NativeEngine(small(), 2, kernels), 1, 64, batch=batch)
    assert np.array_equal(feed(session, 0, ids, [1, 3, 6, 14, 22, 54, 118, 246]), want)


@needs_library
@each_kernels
@pytest.mark.parametrize("shape", ODD_SHAPES)
def test_native_odd_shapes(kernels, shape):
    file = random_model(**shape, limits=BYTES)
    ids = tokens(60, vocab=file.config.vocab)
    want = NumpyEngine(file).session(1, 24).extend([ids])[0]
    session = NativeEngine(file, 1, kernels).session(1, 24)
    assert np.array_equal(feed(session, 0, ids, [1, 3, 15, 32]), want)


@needs_library
@each_kernels
@pytest.mark.parametrize("kind", list(LIMITS))
def test_native_with_one_product_of_bytes_among_others(kernels, kind):
    file = replace(tiny(), config=replace(tiny().config, act_limits=LIMITS | {kind: 127}))
    ids = tokens(50)
    want = NumpyEngine(file).session(1, 16).extend([ids])[0]
    assert np.array_equal(NativeEngine(file, 2, kernels).session(1, 16).extend([ids])[0], want)


def test_torch_gives_the_rows_of_numpy():
    pytest.importorskip("torch", reason="torch is not installed: pip install '.[torch]'")
    from nacrith.models.exact.torch_engine import TorchEngine

    for lanes in (1, 9):
        ids = [tokens(40, seed=n) for n in range(lanes)]
        session = TorchEngine(small(), 1, "cpu").session(lanes, 16)
        rows = session.extend(ids)
        assert all(np.array_equal(a, b) for a, b in zip(rows, wanted(lanes, 16), strict=True))


def test_archives_of_such_a_model_are_read_back(tmp_path: Path):
    path = tmp_path / "bytes.nacm"
    modelfile.write(path, small().config, dict(small().tensors), {"name": "bytes"})
    text = b"It was late in the autumn when the old doctor came back."
    made = ExactModel(path, threads=2)
    assert nacrith.decompress(nacrith.compress(text, model=made), model=made) == text
