"""Where the weights themselves are found, for the backends that run them as they are."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from fake_hub import REPO, FakeHub
from paths import TINY_HF

from nacrith.errors import ModelError, ModelMissingError
from nacrith.models import store
from nacrith.models.floats import binding as bound
from nacrith.models.hub.pull import pull


@pytest.fixture(autouse=True)
def no_carriers(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only what a test puts into the cache is there."""
    for name in list(store.CARRIERS):
        monkeypatch.delitem(store.CARRIERS, name)


def test_a_path_is_itself(tmp_path: Path) -> None:
    assert store.find_source(str(TINY_HF)) == TINY_HF


@pytest.mark.parametrize(
    ("name", "words"), [("none.gguf", "give a file"), ("a/b", "nacrith models pull --no-convert a/b")]
)
def test_what_is_not_here(name: str, words: str) -> None:
    with pytest.raises(ModelMissingError, match=words):
        store.find_source(name)


def test_what_was_pulled_and_kept(fake: FakeHub) -> None:
    folder, _ = pull(REPO, keep_source=True)
    assert store.find_source(REPO) == folder
    digest = bound.fingerprint(folder)
    assert store.find_source_by_fingerprint(digest, "") == folder
    assert store.find_source_by_fingerprint(digest[:4], "") == folder
    with pytest.raises(ModelMissingError, match=r"weights x with hash 0{16}: give"):
        store.find_source_by_fingerprint(bytes(8), "x")


def test_what_the_environment_names(monkeypatch: pytest.MonkeyPatch) -> None:
    digest = bound.fingerprint(TINY_HF)
    with pytest.raises(ModelMissingError):
        store.find_source_by_fingerprint(digest, "tiny")
    monkeypatch.setenv("NACRITH_MODEL", str(TINY_HF))
    assert store.find_source_by_fingerprint(digest, "tiny") == TINY_HF


def test_fingerprints_cover_every_file(tmp_path: Path) -> None:
    before = bound.fingerprint(TINY_HF)
    for name in ("config.json", "tokenizer.json", "model.safetensors"):
        copy = tmp_path / name
        shutil.copytree(TINY_HF, copy)
        assert bound.fingerprint(copy) == before
        with (copy / name).open("ab") as file:
            file.write(b" ")
        assert bound.fingerprint(copy) != before
    with pytest.raises(ModelError):
        bound.fingerprint(tmp_path / "none")
