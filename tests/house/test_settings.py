"""Environment variables: one table, typed values, an error of ours for every bad one."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from nacrith import settings
from nacrith.errors import ModelError
from nacrith.settings import VARIABLES, Resources

PACKAGE = Path(settings.__file__).parent


@pytest.fixture(autouse=True)
def unset(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


def test_the_table_has_every_variable_that_is_named_and_no_other() -> None:
    sources = {path: path.read_text() for path in PACKAGE.rglob("*.py")}
    ours = {name for text in sources.values() for name in re.findall(r"\bNACRITH_[A-Z_]+\b", text)}
    assert ours == {name for name in VARIABLES if name.startswith("NACRITH_")}
    del sources[PACKAGE / "settings.py"]
    used = "".join(sources.values()) + Path(settings.__file__).read_text().split("_ON =")[1]
    prefixes = {"SLURM_ARRAY_TASK_"}  # the names are put together
    for name in VARIABLES:
        assert name in used or any(name.startswith(p) and p in used for p in prefixes), name


def test_every_meaning_is_one_line() -> None:
    for meaning in VARIABLES.values():
        assert meaning.endswith(".")
        assert "\n" not in meaning


@pytest.mark.parametrize("value", [None, ""])
def test_what_holds_where_nothing_is_set(value: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    if value is not None:
        for name in VARIABLES:
            monkeypatch.setenv(name, value)
    assert settings.model() is settings.native_library() is settings.llama_cpp_libraries() is None
    assert settings.engine() == (None, None)
    assert (settings.device(), settings.dtype(), settings.kv_cache()) == ("", "float32", "dynamic")
    assert (settings.gpu_layers(), settings.lanes()) == (None, 1)
    assert settings.offline() == settings.hub_token() == settings.ray_address() == ""
    assert settings.hub_endpoint("otherwise") == "otherwise"
    assert settings.model_directory() == Path.home() / ".cache" / "nacrith" / "models"


@pytest.mark.parametrize(
    ("name", "text", "read", "value"),
    [
        ("NACRITH_ENGINE", "numpy", settings.engine, ("numpy", None)),
        ("NACRITH_ENGINE", "native:avx2", settings.engine, ("native", "avx2")),
        ("NACRITH_ENGINE", "native:", settings.engine, ("native", "")),
        ("NACRITH_DEVICE", "cuda:3", settings.device, "cuda:3"),
        ("NACRITH_DTYPE", "float16", settings.dtype, "float16"),
        ("NACRITH_KV_CACHE", "static", settings.kv_cache, "static"),
        ("NACRITH_GPU_LAYERS", "0", settings.gpu_layers, 0),
        ("NACRITH_LANES", "8", settings.lanes, 8),
        ("NACRITH_OFFLINE", "True", settings.offline, "NACRITH_OFFLINE"),
        ("HF_HUB_OFFLINE", "1", settings.offline, "HF_HUB_OFFLINE"),
        ("HF_HUB_OFFLINE", "0", settings.offline, ""),
        ("HF_TOKEN", " hf_x ", settings.hub_token, "hf_x"),
        ("XDG_CACHE_HOME", "/c", settings.model_directory, Path("/c/nacrith/models")),
        ("NACRITH_MODEL_DIR", "/m", settings.model_directory, Path("/m")),
    ],
)
def test_values(
    name: str, text: str, read: Callable[[], object], value: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, text)
    assert read() == value


@pytest.mark.parametrize(
    ("name", "texts", "read"),
    [
        ("NACRITH_ENGINE", ["abacus", "numpy:portable", ":portable"], settings.engine),
        ("NACRITH_DEVICE", ["gpu", "cuda:", "cuda:-1", "cuda:100", "cuda:٣"], settings.device),
        ("NACRITH_DTYPE", ["float8"], settings.dtype),
        ("NACRITH_KV_CACHE", ["elastic"], settings.kv_cache),
        ("NACRITH_GPU_LAYERS", ["all", "-1", "10000", "٣", "9" * 5000], settings.gpu_layers),
        ("NACRITH_LANES", ["many", "1.5"], settings.lanes),
        ("HF_TOKEN", ["hf_\u00e9", "a\nb"], settings.hub_token),
    ],
)
def test_bad_values(
    name: str, texts: list[str], read: Callable[[], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    for text in texts:
        monkeypatch.setenv(name, text)
        with pytest.raises(ModelError, match=f"^{name}"):
            read()


def test_resources_change_only_what_they_name(monkeypatch: pytest.MonkeyPatch) -> None:
    before = {"NACRITH_ENGINE": "numpy", "NACRITH_DEVICE": "cpu", "CUDA_VISIBLE_DEVICES": "0,1"}
    for name, text in before.items():
        monkeypatch.setenv(name, text)
    Resources(1).claim()
    assert before.items() <= os.environ.items()
    Resources(1, device="cuda:0", visible_gpus="").claim()
    assert os.environ["NACRITH_ENGINE"] == "numpy"
    assert os.environ["NACRITH_DEVICE"] == "cuda:0"
    assert os.environ["CUDA_VISIBLE_DEVICES"] == ""
