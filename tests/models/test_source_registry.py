"""A new kind of foreign model is one module and one line in the registry: a toy kind goes the whole way."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from paths import TINY_HF

from nacrith.errors import ModelError
from nacrith.models import load_model, store
from nacrith.models.exact import modelfile
from nacrith.models.exact.conversion import LlamaSource
from nacrith.models.sources import registry
from nacrith.models.sources.kind import SourceKind
from nacrith.models.sources.safetensors import read_safetensors


def _read(path: Path) -> LlamaSource:
    return read_safetensors(Path(path.read_text()))


TOY = SourceKind(
    name=".toy",
    suffix=".toy",
    matches=lambda path: path.suffix == ".toy" and path.is_file(),
    files=lambda path: [path, Path(path.read_text()) / "config.json"],
    read=_read,
)
"""A file that names a safetensors directory."""


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NACRITH_MODEL_DIR", str(tmp_path / "cache"))
    monkeypatch.delenv("NACRITH_MODEL", raising=False)
    shutil.copytree(TINY_HF, tmp_path / "weights")
    path = tmp_path / "small.toy"
    path.write_text(str(tmp_path / "weights"))
    return path


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "KINDS", [*registry.KINDS, TOY])


def test_a_kind_that_is_not_registered_is_no_model(toy: Path) -> None:
    with pytest.raises(ModelError, match=r"not a model; supported are \.nacm, \.gguf and safetensors dir"):
        store.convert(toy)
    with pytest.raises(ModelError, match=r"not a model; supported are \.gguf and safetensors directories"):
        registry.read(toy)


def test_looking_up_does_not_convert(toy: Path, registered: None) -> None:
    found = store.look_up(str(toy))
    assert found == store.Weights(toy)
    assert not store.cache_directory().exists()


def test_a_registered_kind_is_found_converted_once_and_runs(toy: Path, registered: None) -> None:
    path = store.find(str(toy))
    assert path.parent == store.cache_directory()
    assert path.stem.startswith("small-")
    assert modelfile.fingerprint(path) == modelfile.fingerprint(store.convert(TINY_HF))
    before = path.stat().st_mtime_ns
    assert store.find(str(toy)) == path
    assert path.stat().st_mtime_ns == before
    model = load_model(str(toy))
    assert model.tokenizer.decode(model.tokenizer.encode(b"toy")) == b"toy"


def test_its_files_decide_which_model_it_is(toy: Path, registered: None) -> None:
    first = store.find(str(toy))
    config = Path(toy.read_text()) / "config.json"
    config.write_bytes(config.read_bytes().replace(b'"rope_theta": 1', b'"rope_theta": 2'))
    assert store.find(str(toy)) != first


def test_messages_list_it_and_its_suffix_makes_a_path(toy: Path, registered: None, tmp_path: Path) -> None:
    other = tmp_path / "model.zip"
    other.write_bytes(b"")
    with pytest.raises(ModelError, match=r"supported are \.nacm, \.gguf, safetensors directories and \.toy"):
        store.convert(other)
    with pytest.raises(ModelError, match=r"none\.toy: no such model file"):
        store.look_up("none.toy")
