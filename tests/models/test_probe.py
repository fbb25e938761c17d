"""A backend that crashes: a child process dies in our place, and what is left is a message."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import gguf
import pytest
from clirunner import ROOT, TEXT, nacrith, names
from tiny_source import write_gguf

from nacrith.cli.console import ERROR
from nacrith.errors import ModelError
from nacrith.models.floats import binding as bound
from nacrith.models.floats import trial as probe
from nacrith.models.store import records

KILLED = (
    "import os, signal, sys; print('GGML_ASSERT(x) failed', file=sys.stderr); os.kill(os.getpid(), signal.{})"
)
SETTINGS = bound.Settings(1, "cpu")

LLAMA_CPP = """\
import os, signal
def llama_log_callback(function): return function
def llama_log_set(callback, data): pass
def __getattr__(name): return lambda *_: os.kill(os.getpid(), signal.SIGSEGV)
"""  # a package llama_cpp that has every function there is, and crashes in each


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NACRITH_MODEL_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


def child(monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    """Have the child run `code` in place of a backend."""
    monkeypatch.setattr(probe, "_command", lambda *_: [sys.executable, "-c", code])


def check(facts: str = "a") -> None:
    probe.check("llama.cpp", Path("x.gguf"), SETTINGS, [facts])


@pytest.mark.parametrize("name", ["SIGSEGV", "SIGILL", "SIGABRT", "SIGKILL"])
def test_a_crash_is_an_error_that_says_what_to_do(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    child(monkeypatch, KILLED.format(name))
    for _ in range(2):  # it is not remembered as good
        with pytest.raises(ModelError) as caught:
            check()
        words = ["llama.cpp crashed", name, "GGML_ASSERT(x) failed", "--backend exact", "GGML_NATIVE=OFF"]
        assert all(word in str(caught.value) for word in words)


def test_what_went_well_is_remembered(monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    child(monkeypatch, "pass")
    check()
    child(monkeypatch, KILLED.format("SIGSEGV"))
    check()
    with pytest.raises(ModelError, match="crashed"):
        check("other facts")
    assert len(list((cache / ".records").glob("tried-*"))) == 1


def test_an_exception_is_left_to_this_process(monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    child(monkeypatch, "raise SystemExit('an error that is none of the probe')")
    check()
    assert not cache.exists()


def test_a_child_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "PATIENCE", 0.2)
    child(monkeypatch, "import time; time.sleep(60)")
    with pytest.raises(ModelError, match="did not end"):
        check()


def test_a_cache_that_cannot_be_written(monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    cache.write_text("not a directory")
    child(monkeypatch, "pass")
    check()
    assert not records.is_tried(cache, "0")


def test_the_command_line_survives_a_backend_that_crashes(tmp_path: Path) -> None:
    package = tmp_path / "packages" / "llama_cpp"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(LLAMA_CPP)
    write_gguf(tmp_path / "m.gguf", gguf.GGMLQuantizationType.F32)
    (tmp_path / "f.txt").write_bytes(TEXT)
    before = names(tmp_path)
    done = nacrith(
        *("compress", "-m", "m.gguf", "--backend", "llama.cpp", "--rm", "f.txt"),
        cwd=tmp_path,
        PYTHONPATH=f"{package.parent}{os.pathsep}{ROOT}",
        NACRITH_MODEL_DIR=str(tmp_path / "cache"),
    )
    assert done.code == ERROR
    assert done.said("f.txt", "llama.cpp crashed (SIGSEGV)", "--backend exact", "GGML_NATIVE=OFF")
    assert sorted({*names(tmp_path)} - {"cache"}) == before
    assert (tmp_path / "f.txt").read_bytes() == TEXT
