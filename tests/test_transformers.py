"""The transformers backend, on the CPU: the tiny model's directory, and one of an architecture that the
exact engine does not run."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
from pathlib import Path

import backend_checks as checks
import pytest
from small_models import TINY_HF

from nacrith.errors import ModelError
from nacrith.models import bound, floats, load_model, probe

WHY = "torch and transformers are not installed: pip install '.[hf]'"
torch = pytest.importorskip("torch", reason=WHY, exc_type=ImportError)
transformers = pytest.importorskip("transformers", reason=WHY, exc_type=ImportError)

TRIED: list[Path] = []
"""What the probe was asked about; a child that imports torch takes many seconds, so only one is started."""


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def surroundings(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NACRITH_MODEL_DIR", str(cache))
    monkeypatch.setenv("NACRITH_DEVICE", "cpu")
    monkeypatch.delenv("NACRITH_DTYPE", raising=False)
    monkeypatch.setattr(probe, "check", lambda backend, path, *_: TRIED.append(path))


@pytest.fixture(scope="module")
def gpt2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random GPT-2: learnt positions, biases, LayerNorm."""
    path = tmp_path_factory.mktemp("gpt2")
    config = transformers.GPT2Config(
        vocab_size=512, n_positions=64, n_embd=32, n_layer=2, n_head=2, bos_token_id=0, eos_token_id=0
    )
    torch.manual_seed(0)
    transformers.GPT2LMHeadModel(config).save_pretrained(path)
    shutil.copy(TINY_HF / "tokenizer.json", path)
    return path


def model(path: Path = TINY_HF) -> bound.BoundModel:
    return load_model(str(path), threads=1, backend="transformers")


def test_what_it_is() -> None:
    tiny = model()
    assert (tiny.name, tiny.vocab_size, tiny.max_context, tiny.bos_id) == ("tiny_hf", 512, 512, 0)
    assert tiny.binding["dtype"] == "float32"
    assert tiny.binding["torch"] == torch.__version__
    assert TRIED[-1] == TINY_HF
    checks.as_good_as_exact(tiny)


@pytest.mark.parametrize(("window", "size"), [(16, 90), (300, 700)])
def test_rows_do_not_depend_on_the_calls(window: int, size: int) -> None:
    checks.rows_do_not_depend_on_the_calls(model(), 512, window, size)


def test_rollback() -> None:
    checks.rollback(model(), 32, 150)


def test_blocks_come_back(gpt2: Path) -> None:
    for path in (TINY_HF, gpt2):
        checks.blocks_come_back(model(path), [checks.TEXT[:300], b"", bytes(range(256))])


def test_archives(gpt2: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checks.archives(TINY_HF, "transformers", str(gpt2), monkeypatch)


def test_another_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NACRITH_DTYPE", "bfloat16")
    half = model()
    assert half.binding["dtype"] == "bfloat16"
    checks.blocks_come_back(half, [checks.TEXT[:100]])
    monkeypatch.setenv("NACRITH_DTYPE", "float8")
    with pytest.raises(ModelError, match="NACRITH_DTYPE=float8"):
        model()


def test_threads_of_torch_are_left_as_they_were() -> None:
    before = torch.get_num_threads()
    load_model(str(TINY_HF), threads=before + 1, backend="transformers").session(1, 16).extend([[1]])
    assert torch.get_num_threads() == before


def test_a_device_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NACRITH_DEVICE", "cuda:99")
    with pytest.raises(ModelError, match="cuda:99"):
        model()


def changed(tmp_path: Path, file: str, **fields: object) -> Path:
    """A copy of the tiny directory with other fields in a file of JSON."""
    target = tmp_path / "changed"
    shutil.copytree(TINY_HF, target)
    content = json.loads((target / file).read_text())
    (target / file).write_text(json.dumps(content | fields))
    return target


@pytest.mark.parametrize(
    ("file", "fields", "words"),
    [
        ("tokenizer.json", {"pre_tokenizer": None, "decoder": None}, "byte-level BPE"),
        ("config.json", {"model_type": "no-such-thing"}, "cannot load it"),
        ("config.json", {"bos_token_id": None, "eos_token_id": None}, "bos_token_id"),
        ("config.json", {"max_position_embeddings": 8}, "made for 8 tokens"),
    ],
)
def test_directories_that_cannot_be_used(tmp_path: Path, file: str, fields: dict, words: str) -> None:
    with pytest.raises(ModelError, match=words):
        model(changed(tmp_path, file, **fields))


def test_weights_that_are_missing(tmp_path: Path) -> None:
    path = changed(tmp_path, "config.json")
    os.unlink(path / "model.safetensors")
    with pytest.raises(ModelError, match="transformers cannot load it"):
        model(path)


def test_an_architecture_without_keys_and_values(tmp_path: Path) -> None:
    config = transformers.MambaConfig(vocab_size=512, hidden_size=32, num_hidden_layers=1, bos_token_id=0)
    transformers.MambaForCausalLM(config).save_pretrained(tmp_path)
    shutil.copy(TINY_HF / "tokenizer.json", tmp_path)
    with pytest.raises(ModelError, match=tmp_path.name):
        model(tmp_path).session(1, 16).extend([[1, 2]])


def test_the_probe_runs_it(monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    monkeypatch.undo()
    monkeypatch.setenv("NACRITH_MODEL_DIR", str(cache))
    before = set((cache / ".records").glob("tried-*"))
    probe.check("transformers", TINY_HF, bound.Settings(1, "cpu"), ["test"])
    assert len(set((cache / ".records").glob("tried-*")) - before) == 1


def test_a_file_is_not_what_it_runs(tmp_path: Path) -> None:
    (tmp_path / "x.gguf").write_bytes(b"")
    with pytest.raises(ModelError, match="not what transformers runs"):
        model(tmp_path / "x.gguf")


def test_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    missing = {"transformers"}
    monkeypatch.setattr(importlib.util, "find_spec", lambda n: None if n in missing else find(n))
    with pytest.raises(ModelError, match=r'pip install "nacrith\[hf\]"'):
        floats.open_model("transformers", TINY_HF, bound.Settings(1))
