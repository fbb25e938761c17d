"""nacrith inside numcodecs and fsspec."""

from __future__ import annotations

import importlib
import tomllib
from pathlib import Path

import numpy as np
import pytest
from clirunner import MODEL, ROOT, TEXT

import nacrith
from nacrith.errors import NacrithError


def entry_point(group: str, name: str) -> object:
    """What an entry point of ours names; it need not be installed."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    module, _, attribute = project["entry-points"][group][name].partition(":")
    return getattr(importlib.import_module(module), attribute)


@pytest.fixture(scope="module")
def numcodecs():
    package = pytest.importorskip(
        "numcodecs", reason="numcodecs is not installed: pip install '.[numcodecs]'"
    )
    package.register_codec(entry_point("numcodecs.codecs", "nacrith"))
    return package


def test_numcodecs_by_configuration(numcodecs) -> None:
    config = {"id": "nacrith", "level": 2, "model": str(MODEL)}
    codec = numcodecs.get_codec(config)
    assert codec.get_config() == config
    assert numcodecs.get_codec({"id": "nacrith"}).level == nacrith.COMPRESSION_LEVEL_DEFAULT
    assert eval(repr(codec), {"Nacrith": type(codec)}) == codec


@pytest.mark.parametrize(
    "data",
    [
        TEXT,
        bytearray(TEXT),
        memoryview(TEXT),
        b"",
        np.frombuffer(TEXT, "u1"),
        np.arange(12.0).reshape(3, 4),
    ],
    ids=["bytes", "bytearray", "memoryview", "empty", "array", "matrix"],
)
def test_numcodecs_round_trips(numcodecs, data) -> None:
    codec = numcodecs.get_codec({"id": "nacrith", "model": str(MODEL)})
    plain = data.tobytes() if isinstance(data, np.ndarray) else bytes(data)
    coded = codec.encode(data)
    assert nacrith.decompress(coded, model=str(MODEL)) == plain
    assert bytes(codec.decode(coded)) == plain
    out = np.empty(len(plain), "u1")
    assert codec.decode(np.frombuffer(coded, "u1"), out=out) is out
    assert out.tobytes() == plain


def test_numcodecs_damage(numcodecs) -> None:
    codec = numcodecs.get_codec({"id": "nacrith", "model": str(MODEL)})
    with pytest.raises(NacrithError):
        codec.decode(codec.encode(TEXT)[:-1])


def test_fsspec(tmp_path: Path) -> None:
    fsspec = pytest.importorskip("fsspec", reason="fsspec is not installed: pip install '.[fsspec]'")
    from nacrith.integrations.fsspec import register

    register(model=str(MODEL), level=1, force=True)
    path = tmp_path / "a.txt.nac"
    with fsspec.open(path, "wb", compression="nacrith") as file:
        file.write(TEXT)
    assert nacrith.decompress(path.read_bytes(), model=str(MODEL)) == TEXT
    with fsspec.open(path, "rt", compression="infer", encoding="utf-8", newline="") as file:
        assert file.read().encode() == TEXT
    with fsspec.open(f"memory://{path}", "wb", compression="infer") as file:
        file.write(TEXT)
    with fsspec.open(f"memory://{path}", "rb", compression="infer") as file:
        file.seek(5)
        assert file.read(10) == TEXT[5:15]


def test_fsspec_registers_again_but_not_in_place_of_others() -> None:
    compression = pytest.importorskip(
        "fsspec.compression", reason="fsspec is not installed: pip install '.[fsspec]'"
    )
    from nacrith.integrations.fsspec import register

    register()
    register(level=2)
    with pytest.raises(ValueError, match="level 77"):
        register(level=77)
    compression.register_compression("nacrith", lambda file, **_: file, ["nac"], force=True)
    with pytest.raises(ValueError, match="nacrith"):
        register()
    register(force=True)


def test_numcodecs_refuses_what_it_could_not_encode_with(numcodecs) -> None:
    with pytest.raises(ValueError, match="level 77"):
        numcodecs.get_codec({"id": "nacrith", "level": 77})
    with pytest.raises(TypeError, match="level"):
        numcodecs.get_codec({"id": "nacrith", "level": "6"})
    with pytest.raises(TypeError, match="model"):
        numcodecs.get_codec({"id": "nacrith", "model": 5})
