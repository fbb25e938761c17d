"""Which engine runs, and which kernels of the native one; test_engines.py has the choice of torch."""

from __future__ import annotations

import _ctypes
import logging
import platform
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from native_library import KERNELS, each_kernels, needs_library
from small_models import TINY, engine, tokens

import nacrith
from nacrith import native
from nacrith.errors import ModelError
from nacrith.models.exact import engines
from nacrith.models.exact.model import ExactModel
from nacrith.models.exact.native_engine import NativeEngine
from nacrith.models.exact.numpy_engine import NumpyEngine
from nacrith.native import abi
from nacrith.native import engine as calls
from nacrith.native import group as group_calls


@pytest.fixture
def fresh_engine(monkeypatch):
    """Nothing asked for, nothing loaded, nothing warned about."""
    monkeypatch.delenv("NACRITH_ENGINE", raising=False)
    native.load.cache_clear()
    engines._warn_once.cache_clear()
    yield monkeypatch
    native.load.cache_clear()
    engines._warn_once.cache_clear()


def test_numpy_runs_where_there_is_no_library_and_says_so_once(fresh_engine, caplog, tmp_path):
    fresh_engine.setenv("NACRITH_NATIVE_LIB", str(tmp_path / "none.so"))
    with caplog.at_level(logging.WARNING, "nacrith"):
        assert nacrith.engine == "numpy"
        model = ExactModel(TINY, threads=1)
        assert type(model.engine) is NumpyEngine
    assert [r.getMessage() for r in caplog.records if "slower" in r.getMessage()] == [
        f"running on numpy, which is several times slower: {tmp_path / 'none.so'}: there is no native"
        " engine, though NACRITH_NATIVE_LIB names it; correct or unset that, or use NACRITH_ENGINE=numpy"
    ]


def test_numpy_by_choice_is_no_reason_to_warn(fresh_engine, caplog):
    fresh_engine.setenv("NACRITH_ENGINE", "numpy")
    assert nacrith.engine == "numpy"
    assert type(ExactModel(TINY, threads=1).engine) is NumpyEngine
    assert caplog.records == []


@needs_library
@pytest.mark.parametrize("asked", [None, "native"])
def test_native_runs_where_it_is(fresh_engine, caplog, asked):
    if asked:
        fresh_engine.setenv("NACRITH_ENGINE", asked)
    assert nacrith.engine == "native"
    model = ExactModel(TINY, threads=2)
    assert type(model.engine) is NativeEngine
    ids = tokens(20)
    want = engine().session(1, model.max_context).extend([ids])[0]
    assert np.array_equal(model.session().extend([ids])[0], want)
    assert caplog.records == []


@pytest.mark.parametrize(
    ("file", "why"),
    [("none", "there is no native engine"), ("text", "cannot load"), (_ctypes.__file__, "not nacrith's")],
)
def test_asking_for_native_without_it_is_an_error(fresh_engine, tmp_path, file, why):
    (tmp_path / "text").write_text("no library")
    fresh_engine.setenv("NACRITH_ENGINE", "native")
    fresh_engine.setenv("NACRITH_NATIVE_LIB", str(tmp_path / file))
    with pytest.raises(ModelError, match=why):
        ExactModel(TINY, threads=1).session()


@needs_library
def test_a_library_of_another_version_is_refused(fresh_engine):
    there = abi.VERSION
    fresh_engine.setattr(abi, "VERSION", there + 1)
    with pytest.raises(ModelError, match=f"interface version {there}, not {there + 1}"):
        native.load()


@pytest.mark.parametrize("asked", ["abacus", "numpy:portable", ":portable"])
def test_another_engine_is_an_error(fresh_engine, asked):
    fresh_engine.setenv("NACRITH_ENGINE", asked)
    with pytest.raises(ModelError, match=f"NACRITH_ENGINE={asked}: there is no such engine"):
        engines.engine()


@needs_library
@each_kernels
def test_the_environment_chooses_kernels(fresh_engine, kernels):
    fresh_engine.setenv("NACRITH_ENGINE", f"native:{kernels}")
    used = []
    for part, place in ((calls, 5), (group_calls, 8)):
        create = part.create
        noted = lambda *a, place=place, create=create: used.append(a[place]) or create(*a)  # noqa: E731
        fresh_engine.setattr(part, "create", noted)
    assert nacrith.engine == "native"
    small = nacrith.compress(b"some text", model=str(TINY))
    assert nacrith.decompress(small, model=str(TINY)) == b"some text"
    assert set(used) == {kernels}


@needs_library
@pytest.mark.parametrize("name", ["abacus", ""])
def test_kernels_that_this_processor_lacks_are_an_error(fresh_engine, name):
    fresh_engine.setenv("NACRITH_ENGINE", f"native:{name}")
    with pytest.raises(ModelError, match=f"native:{name}: there are no such kernels.* or native:portable"):
        nacrith.engine  # noqa: B018


def processor_flags() -> set[str]:
    """What the operating system lets programs use, on Linux."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return set(next(x for x in lines if x.startswith(("flags", "Features"))).split(":")[1].split())


def apple_has(feature: str) -> bool:
    """Whether macOS names this instruction of Arm."""
    asked = ["sysctl", "-n", f"hw.optional.arm.{feature}"]
    return subprocess.run(asked, capture_output=True, check=False).stdout.strip() == b"1"


@needs_library
def test_all_kernels_for_this_processor_are_there():
    """Neither left out by the compiler nor found wrong at load; so the tests above run with all."""
    machine = platform.machine().lower()
    want = ["portable"]
    if machine in ("arm64", "aarch64"):
        want.insert(0, "neon")
        has = apple_has if sys.platform == "darwin" else processor_flags().__contains__
        if sys.platform == "darwin" or has("asimddp"):  # all of Apple's have it
            want.insert(0, "neon-dot")
        if has("FEAT_I8MM" if sys.platform == "darwin" else "i8mm"):
            want.insert(0, "neon-i8mm")
    elif sys.platform == "linux" and machine == "x86_64":
        flags = processor_flags()
        if "avx2" in flags:
            want.insert(0, "avx2")
        if "avx_vnni" in flags:
            want.insert(0, "avxvnni")
        if {"avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512_vnni"} <= flags:
            want.insert(0, "avx512")
            if {"amx_tile", "amx_int8"} <= flags:
                want.insert(0, "amx")
    else:
        pytest.skip(f"no list of the instructions of {machine} on {sys.platform}")
    assert want == KERNELS
