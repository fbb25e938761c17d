"""Trees behind the ends of lanes: every row equals the one of its path alone, and so does what follows.

What is wanted comes from `extend` and `rollback` of the numpy engine, one path at a time; every engine
has to give it for trees, whatever their shape, the cut into passes, the window and the cache.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from engine_checks import shapes
from hypothesis import given, settings
from hypothesis import strategies as st
from native_library import KERNELS, WHY
from small_models import engine, random_model, tiny, tokens
from small_trees import Reference, path_to, trees

from nacrith.models.exact import numpy_engine
from nacrith.models.exact.modelfile import ModelFile
from nacrith.models.exact.native_engine import NativeEngine, NativeSession
from nacrith.models.exact.numpy_engine import NumpyEngine
from nacrith.models.exact.tree import Tree
from nacrith.models.protocol import Session
from nacrith.native import engine as calls

try:
    import torch
except ImportError:
    NO_TORCH, DEVICES = True, ["cpu"]
else:
    from nacrith.models.exact.torch_engine import TorchEngine, TorchSession

    NO_TORCH, DEVICES = False, ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]

native = pytest.mark.skipif(bool(WHY), reason=WHY or "-")
with_torch = pytest.mark.skipif(NO_TORCH, reason="torch is not installed: pip install '.[torch]'")
BACKENDS = ["numpy", *([] if WHY else KERNELS), *([] if NO_TORCH else [f"torch {d}" for d in DEVICES])]
each_backend = pytest.mark.parametrize(
    "backend",
    [
        "numpy",
        *(pytest.param(k, marks=native) for k in KERNELS),
        *(pytest.param(f"torch {device}", marks=with_torch) for device in DEVICES),
    ],
)


def session_of(
    backend: str,
    file: ModelFile,
    lanes: int,
    window: int,
    *,
    threads: int = 1,
    batch: int = 64,
    back: int = 64,
) -> Session:
    """Lanes with a small cache: passes of `batch` rows, `back` tokens that can always be taken back."""
    if backend.startswith("torch"):
        made = TorchEngine(file, 1, backend.split()[1])  # threads of torch wait busily, which takes minutes
        return TorchSession(made, lanes, window, rollback=back, batch=batch)
    if backend != "numpy":
        return NativeSession(NativeEngine(file, threads, backend), lanes, window, rollback=back, batch=batch)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(numpy_engine, "BATCH", batch)
        patch.setattr(numpy_engine, "ROLLBACK", back)
        return NumpyEngine(file, threads).session(lanes, window)


def asked(sessions: dict[str, Session], batch: int, what: str, *arguments: Any) -> Iterator[tuple[str, Any]]:
    """What every backend answers when a method is called, in passes of `batch` rows."""
    for backend, session in sessions.items():
        with pytest.MonkeyPatch.context() as patch:
            if backend == "numpy":
                patch.setattr(numpy_engine, "BATCH", batch)
            yield backend, getattr(session, what)(*arguments)


@given(shapes, st.integers(1, 3), st.integers(8, 24), st.sampled_from([1, 2, 3]), st.data())
@settings(max_examples=20, deadline=None)
def test_rows_and_lanes_equal_those_of_the_paths(shape, group, window, threads, data):
    """All backends side by side, so that what is wanted is computed once."""
    file = random_model(**shape, heads=shape["kv_heads"] * group)
    vocab = file.config.vocab
    lanes = data.draw(st.integers(1, 3))
    batch = data.draw(st.sampled_from([1, 3, 7, 64]))
    sessions = {
        backend: session_of(backend, file, lanes, window, threads=threads, batch=batch, back=3)
        for backend in BACKENDS
    }
    want = [Reference(file, window) for _ in range(lanes)]

    def every(what: str, *arguments: Any, wanted: list[np.ndarray] | None = None) -> None:
        for backend, rows in asked(sessions, batch, what, *arguments):
            for n, found in enumerate(wanted or []):
                assert np.array_equal(rows[n], found), f"{backend}, lane {n}"

    def lengths() -> set[tuple[int, ...]]:
        return {tuple(session.lengths) for session in sessions.values()}

    for turn in range(data.draw(st.integers(1, 4))):
        more = [tokens(data.draw(st.integers(0, 40)), vocab=vocab, seed=turn + n) for n in range(lanes)]
        every("extend", more, wanted=[w.extend(part) for w, part in zip(want, more, strict=True)])
        parents = [data.draw(trees()) for _ in range(lanes)]
        ids = [tokens(len(p), vocab=vocab, seed=50 + turn + n) for n, p in enumerate(parents)]
        before = lengths()
        wanted = [want[n].tree(ids[n], parents[n]) for n in range(lanes)]
        every("extend_tree", ids, parents, wanted=wanted)
        assert lengths() == before
        for n in data.draw(st.permutations(range(lanes))):
            if data.draw(st.booleans()):
                path = path_to(data.draw(st.integers(-1, len(ids[n]) - 1)), parents[n])
                every("keep", n, path)
                want[n].extend([ids[n][node] for node in path])
            if data.draw(st.booleans()):
                length = max(0, want[n].session.lengths[0] - data.draw(st.integers(0, 3)))
                every("rollback", n, length)
                want[n].session.rollback(0, length)
        assert lengths() == {tuple(w.session.lengths[0] for w in want)}
    more = [tokens(window + 5, vocab=vocab, seed=90 + n) for n in range(lanes)]
    every("extend", more, wanted=[w.extend(part) for w, part in zip(want, more, strict=True)])


@each_backend
@pytest.mark.parametrize("length", range(6))
def test_trees_at_the_start_of_a_lane_deeper_than_its_window(backend, length):
    """Several rows for each of the first positions, which all later rows see from the window's edge."""
    file = random_model(head_dim=6, heads=4, kv_heads=2, layers=2, seed=1)
    want = Reference(file, 8)
    session = session_of(backend, file, 1, 8)
    parents = [n - 1 for n in range(14)] + [-1, 14, 15, *range(16, 26), 2, 27, *range(28, 40), 5, 5, 9]
    ids, more = tokens(len(parents), vocab=20, seed=3), tokens(30, vocab=20)
    session.extend([more[:length]])
    want.extend(more[:length])
    assert np.array_equal(session.extend_tree([ids], [parents])[0], want.tree(ids, parents))
    path = path_to(38, parents)
    session.keep(0, path)
    want.extend([ids[n] for n in path])
    assert np.array_equal(session.extend([more])[0], want.extend(more))


@given(st.integers(8, 20), st.integers(0, 5), st.sampled_from([1, 4]), st.data())
@settings(max_examples=8, deadline=None)
def test_a_cache_that_is_compacted_all_the_time(window, back, batch, data):
    file = random_model(seed=2, head_dim=6, heads=4, kv_heads=2)
    want = Reference(file, window)
    sessions = {b: session_of(b, file, 1, window, batch=batch, back=back) for b in BACKENDS}
    for turn in range(20):
        parents = data.draw(trees(9))
        ids, more = tokens(len(parents), vocab=20, seed=turn), tokens(6, vocab=20, seed=turn)
        path = path_to(len(ids) - 1, parents)
        wanted = [want.tree(ids, parents), want.extend([ids[n] for n in path]), want.extend(more)]
        for backend, session in sessions.items():
            assert np.array_equal(session.extend_tree([ids], [parents])[0], wanted[0]), backend
            session.keep(0, path)
            assert np.array_equal(session.extend([more])[0], wanted[2]), backend
            assert session.lengths == want.session.lengths, backend


@each_backend
def test_a_tree_larger_than_the_cache_and_all_passes(backend):
    rng = np.random.default_rng(0)
    parents = [int(rng.integers(max(-1, n - 9), n)) for n in range(700)]
    ids = tokens(700)
    want = Reference(tiny(), 8)
    session = session_of(backend, tiny(), 2, 8, threads=2, batch=16, back=0)
    session.extend([[], ids[:300]])
    want.extend(ids[:300])
    rows = session.extend_tree([[], ids], [[], parents])[1]
    chosen = [0, 1, 15, 16, 17, 350, 698, 699]
    for node in chosen:
        path = path_to(node, parents)
        assert np.array_equal(rows[node], want.extend([ids[n] for n in path])[-1])
        want.session.rollback(0, 300)
    path = path_to(699, parents)
    session.keep(1, path)
    want.extend([ids[n] for n in path])
    assert np.array_equal(session.extend([[], ids])[1], want.extend(ids))
    assert session.lengths == (0, 1000 + len(path))


@each_backend
@pytest.mark.parametrize("window", [16, 512])
def test_the_rows_of_a_chain_are_those_of_extend(backend, window):
    ids = tokens(400)
    want = engine().session(1, window).extend([ids])[0]
    session = session_of(backend, tiny(), 1, window, batch=16)
    done = 0
    while done < 400:
        chain = ids[done : done + 37]
        rows = session.extend_tree([chain], [range(-1, len(chain) - 1)])[0]
        assert np.array_equal(rows, want[done : done + 37])
        kept = len(chain) // 2 + 1
        session.keep(0, range(kept))
        done += kept
        assert session.lengths == (done,)


@each_backend
@pytest.mark.parametrize("undo", ["rollback", "extend", "keep", "tree"])
def test_a_tree_waits_until_its_own_lane_changes(backend, undo):
    session = session_of(backend, random_model(), 2, 16)
    first = session.extend([[1, 2, 3], [4]])
    session.extend_tree([[5, 6, 7], []], [[-1, 0, 0], []])
    session.extend([[], [1, 2, 3, 4, 5]])
    session.extend_tree([[], [5]], [[], [-1]])
    session.rollback(1, 0)
    if undo == "rollback":
        session.rollback(0, 3)
    elif undo == "extend":
        session.extend([[9], []])
    elif undo == "tree":
        session.extend_tree([[9], []], [[-1], []])
    else:
        session.keep(0, [0, 2])
        assert session.lengths == (5, 0)
        assert np.array_equal(session.extend([[8], []])[0][0], rows_of([1, 2, 3, 5, 7, 8])[5])
    with pytest.raises(ValueError, match="lane 0"):
        session.keep(0, [0, 2])
    session.keep(0, [])
    session.rollback(0, 3)
    assert np.array_equal(np.concatenate([first[0], session.extend([[8], []])[0]]), rows_of([1, 2, 3, 8]))


def rows_of(ids: list[int]) -> np.ndarray:
    return NumpyEngine(random_model()).session(1, 16).extend([ids])[0]


@each_backend
def test_wrong_trees_and_paths_change_nothing(backend):
    session = session_of(backend, random_model(), 2, 16)
    session.extend([[1] * 4094, [1]])
    for ids, parents, why in [
        ([[1], []], [[0], []], "lane 0: the parent of row 0 is 0, not in -1..-1"),
        ([[], [1, 2]], [[], [-1, 1]], "lane 1: the parent of row 1 is 1, not in -1..0"),
        ([[1, 2], []], [[-1, -2], []], "lane 0: the parent of row 1 is -2, not in -1..0"),
        ([[1, 2], []], [[-1], []], "lane 0: 2 tokens, but 1 parents"),
        ([[1]], [[-1]], "tokens for 1 lanes and parents for 1, not 2"),
        ([[1], []], [[-1]], "tokens for 2 lanes and parents for 1, not 2"),
        ([[1, 2, 3], []], [[-1, 0, 1], []], "at most 4096 tokens"),
    ]:
        with pytest.raises(ValueError, match=why):
            session.extend_tree(ids, parents)
    with pytest.raises(ValueError, match=r"lane 1: \[0\] is not a path of its tree of 0 rows: 0 does not"):
        session.keep(1, [0])
    session.extend_tree([[1, 2, 3, 4], [1, 2]], [[-1, 0, 0, -1], [-1, 0]])  # two levels fit
    for path in ([1], [0, 3], [0, 1, 2], [2, 0], [0, 0], [4], [-1], [0, -1]):
        with pytest.raises(ValueError, match="is not a path of its tree of 4 rows"):
            session.keep(0, path)
    assert session.lengths == (4094, 1)
    session.keep(0, [0, 2])
    session.keep(1, [0])
    assert session.lengths == (4096, 2)


@pytest.mark.skipif(bool(WHY), reason=WHY or "-")
def test_the_library_refuses_what_would_lead_beyond_its_arrays():
    made = NativeEngine(random_model()).session(1, 16)
    library, handle = made._library, made._handle
    ids, rows = np.zeros(2, np.int32), np.zeros((2, 20), np.int32)
    counts = np.array([2])
    for depths in ([1, 0], [0, 2], [0, -1]):
        with pytest.raises(ValueError, match="the depths of lane 0 are those of no tree"):
            calls.extend(library, handle, counts, ids, rows, np.array(depths))
    for wrong in (np.zeros(3, np.int64), np.zeros(2, np.int32), np.zeros(4, np.int64)[::2]):
        with pytest.raises(ValueError, match="array"):
            calls.extend(library, handle, counts, ids, rows, wrong)
    with pytest.raises(ValueError, match="a path of 1 tokens in a tree of depth 0"):
        calls.keep(library, handle, 0, np.array([0]))
    calls.extend(library, handle, counts, ids, rows, np.array([0, 0]))
    for path, why in [([0, 1], "a path of 2 tokens"), ([2], "no row 2"), ([-1], "no row -1")]:
        with pytest.raises(ValueError, match=why):
            calls.keep(library, handle, 0, np.array(path))
    with pytest.raises(ValueError, match="array"):
        calls.keep(library, handle, 0, np.zeros(1, np.int32))
    for lane in (-1, 1):
        with pytest.raises(ValueError, match=f"no lane {lane}"):
            calls.keep(library, handle, lane, np.array([0]))
        with pytest.raises(ValueError, match=f"no lane {lane}"):
            made.keep(lane, [])
    assert made.lengths == (0,)


@settings(deadline=None)
@given(trees(40))
def test_preorder(parents):
    tree = Tree.of(0, len(parents), parents)
    assert sorted(tree.order) == list(range(len(parents)))
    assert tree.order[tree.places].tolist() == list(range(len(parents)))
    latest = {-1: -1}  # of each depth
    for row, depth in zip(tree.order.tolist(), tree.depths.tolist(), strict=True):
        assert parents[row] == latest[depth - 1]
        latest[depth] = row
    for place, row in enumerate(tree.order.tolist()):
        above = tree.above[place]
        assert parents[row] == (tree.order[above] if above >= 0 else -1)
        below = {n for n in range(len(parents)) if row in path_to(n, parents)}
        assert below == set(tree.order[place : tree.ends[place]].tolist())
    assert tree.levels == len({len(path_to(n, parents)) for n in range(len(parents))})
    assert tree.is_chain == (parents == list(range(-1, len(parents) - 1)))
