"""The transformers backend, on the CPU: the tiny model's directory, and one of an architecture that the
exact engine does not run."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
from pathlib import Path

import backend_checks as checks
import byte_checks
import numpy as np
import pytest
from paths import TINY_HF
from small_models import tokens

import nacrith
from nacrith import loaded
from nacrith.errors import ModelError, ModelMismatchError
from nacrith.models import load_model
from nacrith.models.floats import binding as bound
from nacrith.models.floats import opening as floats
from nacrith.models.floats import trial as probe
from nacrith.models.floats.session import Plan
from nacrith.models.protocol import LOGIT_BITS
from nacrith.settings import CACHES, STATIC

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
    for name in ("NACRITH_DTYPE", "NACRITH_KV_CACHE"):
        monkeypatch.delenv(name, raising=False)
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


@pytest.fixture(scope="module")
def mistral(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random Mistral, of which each layer attends to the latest 8 tokens."""
    path = tmp_path_factory.mktemp("mistral")
    config = transformers.MistralConfig(
        vocab_size=512, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=64, sliding_window=8, bos_token_id=0,
    )  # fmt: skip
    torch.manual_seed(0)
    transformers.MistralForCausalLM(config).save_pretrained(path)
    shutil.copy(TINY_HF / "tokenizer.json", path)
    return path


@pytest.fixture(params=CACHES)
def cache_kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("NACRITH_KV_CACHE", request.param)
    return request.param


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
def test_rows_do_not_depend_on_the_calls(window: int, size: int, cache_kind: str) -> None:
    checks.rows_do_not_depend_on_the_calls(model(), 512, window, size)


def test_rollback(mistral: Path, cache_kind: str) -> None:
    checks.rollback(model(), 32, 150)
    checks.rollback(model(mistral), 32, 150)  # past what a layer attends to


def test_blocks_come_back(gpt2: Path, mistral: Path, cache_kind: str) -> None:
    for path in (mistral,) if cache_kind == STATIC else (TINY_HF, gpt2):
        checks.blocks_come_back(model(path), [checks.TEXT[:300], b"", bytes(range(256))])


def test_archives(gpt2: Path, cache_kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    checks.archives(TINY_HF, "transformers", str(gpt2), monkeypatch)


def test_caches_agree_but_for_rounding(gpt2: Path, mistral: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = tokens(150, vocab=512)
    for path in (TINY_HF, gpt2, mistral):
        rows = []
        for kind in CACHES:
            monkeypatch.setenv("NACRITH_KV_CACHE", kind)
            rows.append(model(path).session(1, 32).extend([ids])[0])
        assert np.abs(rows[0] - rows[1]).max() < 0.02 * (1 << LOGIT_BITS)


def test_a_static_cache_has_the_size_of_a_context(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NACRITH_KV_CACHE", STATIC)
    plan = Plan.of(32, 512)
    context = model()._context(plan)
    for tokens_held in (1, plan.capacity):
        context.prime(0, [3] * tokens_held)
        assert {layer.keys.shape[2] for layer in context._cache.layers} == {plan.capacity}


def test_the_kind_of_cache_is_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    grown = model()
    monkeypatch.setenv("NACRITH_KV_CACHE", STATIC)
    static = model()
    assert "cache" not in grown.binding
    assert static.binding["cache"] == "static"
    small = nacrith.compress(checks.TEXT, level=1, model=static)
    with pytest.raises(ModelMismatchError, match=r"cache static, here \(none\)"):
        nacrith.decompress(small, model=grown)
    monkeypatch.delenv("NACRITH_KV_CACHE")
    loaded.forget()
    assert nacrith.decompress(small, model=str(TINY_HF)) == checks.TEXT  # with the one that is recorded
    monkeypatch.setenv("NACRITH_KV_CACHE", "elastic")
    with pytest.raises(ModelError, match="NACRITH_KV_CACHE=elastic: use one of dynamic, static"):
        model()


def test_a_version_with_other_static_caches(monkeypatch: pytest.MonkeyPatch) -> None:
    class Other:
        def __init__(self, max_cache_len: int) -> None: ...

    monkeypatch.setattr("nacrith.models.floats.transformers_backend.StaticLayer", Other)
    monkeypatch.setenv("NACRITH_KV_CACHE", STATIC)
    with pytest.raises(ModelError, match="NACRITH_KV_CACHE=dynamic"):
        model()


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


def test_probabilities_of_bytes(gpt2: Path) -> None:
    for path in (TINY_HF, gpt2):
        byte_checks.properties(model(path))
