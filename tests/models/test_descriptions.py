"""Descriptions of models from anywhere: hostile numbers are refused at once, before anything is made of them.

A description is config.json, tokenizer.json and the header of safetensors; the metadata of a GGUF; the header
of a model file. The first tests are inputs that took gigabytes or never ended.
"""

from __future__ import annotations

import json
import os
import shutil
import struct
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from model_bytes import CONTENT, DATA, header_with, sealed, with_tokenizer
from paths import TINY_HF
from small_models import TINY, random_model
from tiny_source import write_gguf

from nacrith.errors import ModelError
from nacrith.models import store
from nacrith.models.exact import modelfile
from nacrith.models.sources import gguf_metadata
from nacrith.models.sources.gguf import read_gguf
from nacrith.models.sources.safetensors import check_supported, read_safetensors
from nacrith.models.store import records
from nacrith.models.tokenizer.byte_bpe import ByteTokenizer
from nacrith.models.tokenizer.importers import from_gguf_fields, from_tokenizer_json

F32 = gguf.GGMLQuantizationType.F32
CONFIG = json.loads((TINY_HF / "config.json").read_text())
TOKENIZER = json.loads((TINY_HF / "tokenizer.json").read_text())


MOST = 32 << 20  # bytes; the greediest of these takes 9 million


@contextmanager
def modestly() -> Iterator[None]:
    """What is done here takes little memory, and so, in pieces of Python, little time."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < MOST
    finally:
        tracemalloc.stop()


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return Path(shutil.copytree(TINY_HF, tmp_path / "model"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"head_dim": (1 << 31) - 2}, "head_dim"),
        ({"head_dim": 1042}, "head_dim"),
        ({"head_dim": 15}, "attention shape"),
        ({"hidden_size": 1 << 20, "num_attention_heads": 1, "head_dim": None}, "head_dim"),
        ({"num_hidden_layers": 1 << 30}, "num_hidden_layers"),
        ({"num_hidden_layers": 10**400}, "num_hidden_layers"),
        ({"intermediate_size": 1 << 21}, "intermediate_size"),
        ({"rope_theta": 1e-320}, "rope_theta"),
        ({"rope_theta": 0.5}, "rope_theta"),
        ({"rope_scaling": {"type": "linear", "factor": 1e-9}}, "factor"),
        ({"rope_scaling": {"type": "linear", "factor": 1e9}}, "factor"),
        (
            {
                "rope_scaling": {
                    "rope_type": "llama3",
                    "factor": 1e-300,
                    "low_freq_factor": 1.0,
                    "high_freq_factor": 4.0,
                    "original_max_position_embeddings": 8192,
                }
            },
            "factor",
        ),
        ({"rms_norm_eps": 2.0}, "out of range"),
        ({"architectures": [{}]}, "architectures"),
        ({"architectures": [["LlamaForCausalLM"]]}, "architectures"),
        ({"model_type": {}, "architectures": None}, "architectures"),
        ({"bos_token_id": 10**30}, "bos_token_id"),
        ({"bos_token_id": [[]]}, "bos_token_id"),
        ({"hidden_act": {}}, "hidden_act"),
    ],
)
def test_configurations_are_bounded(source: Path, changes: dict[str, Any], message: str) -> None:
    (source / "config.json").write_text(json.dumps({**CONFIG, **changes}))
    with modestly(), pytest.raises(ModelError, match=message) as caught:
        read_safetensors(source)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize(
    "text", ["[" * 100_000, '{"a": 1e999}', '{"hidden_size": NaN}', "[]", '{"a": "\\ud800"}']
)
@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "model.safetensors.index.json"])
def test_json_of_no_use(source: Path, name: str, text: str) -> None:
    (source / name).write_text(text)
    with modestly(), pytest.raises(ModelError, match=name):
        read_safetensors(source)


@pytest.mark.parametrize(
    "shape", [[10**18] * 100_000, [1] * 9, [True, 64], [64.0], ["64"], [[64]], "64", {"64": 1}, None]
)
def test_shapes_of_safetensors(source: Path, shape: object) -> None:
    path = source / "model.safetensors"
    good = path.read_bytes()
    size = struct.unpack("<Q", good[:8])[0]
    table = json.loads(good[8 : 8 + size])
    table["model.norm.weight"]["shape"] = shape
    header = json.dumps(table).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header + good[8 + size :])
    with modestly(), pytest.raises(ModelError, match=r"model\.safetensors"):
        read_safetensors(source)


@pytest.mark.parametrize("bad", [1e999, 1.0, "1", None, [], -1, 1 << 40, True])
def test_token_ids(bad: object) -> None:
    for change in ("added", "vocab"):
        fields = json.loads(json.dumps(TOKENIZER))
        if change == "added":
            fields["added_tokens"][0]["id"] = bad
        else:
            fields["model"]["vocab"]["a"] = bad
        with pytest.raises(ModelError):
            from_tokenizer_json(json.dumps(fields).encode())
    metadata = {"tokenizer.ggml.model": "gpt2", "tokenizer.ggml.tokens": ["a"], "tokenizer.ggml.merges": []}
    with pytest.raises(ModelError, match="is not a token's id"):
        from_gguf_fields({**metadata, "tokenizer.ggml.eos_token_id": bad})


def test_a_regular_expression_that_backtracks_without_end() -> None:
    """The library panics, which is no Exception."""
    fields = json.loads(TINY_TOKENIZER)
    fields["patterns"] = ["(a|a|aa)+(?=b)c"]
    tokenizer = ByteTokenizer.from_definition(json.dumps(fields).encode())
    with pytest.raises(ModelError, match="regular expressions"):
        tokenizer.encode(b"a" * 5000 + b"b")


TINY_TOKENIZER = modelfile.read(TINY).tokenizer_definition


def test_more_layers_than_the_file_could_hold(tmp_path: Path) -> None:
    """The table of what should be there took 2.7 GB."""
    path = tmp_path / "m.nacm"
    path.write_bytes(sealed(header_with(layers=1 << 20), data=CONTENT[DATA:]))
    for act in (modelfile.read, modelfile.describe):
        with modestly(), pytest.raises(ModelError, match=r"m\.nacm: .*no tensor layers\.3"):
            act(path)


@pytest.mark.parametrize("value", [np.nan, np.inf, 3e38, -3e38])
@pytest.mark.parametrize("name", ["embed.s", "layers.0.qkv.s", "layers.0.mlp_norm", "final_norm"])
def test_floats_with_which_no_engine_computes(tmp_path: Path, name: str, value: float) -> None:
    model = random_model()
    tensors = with_tokenizer()
    tensors[name] = tensors[name].copy()
    tensors[name][-1] = value
    with pytest.raises(ModelError, match=r"tensor (embed|layers\.0\.(qkv|mlp(_norm)?)|final_norm)"):
        modelfile.write(tmp_path / "m.nacm", model.config, tensors, {})
    assert not (tmp_path / "m.nacm").exists()
    header = header_with()
    entry = header["tensors"][name if name in header["tensors"] else "final_norm"]  # type: ignore[index]
    data = bytearray(CONTENT[DATA:])
    data[entry["offset"] : entry["offset"] + 4] = struct.pack("<f", value)
    (tmp_path / "m.nacm").write_bytes(sealed(json.dumps(header).encode(), data=bytes(data)))
    with pytest.raises(ModelError, match=r"m\.nacm: tensor"):
        modelfile.read(tmp_path / "m.nacm")


def test_rotation_tables_hold_cosines(tmp_path: Path) -> None:
    tensors = with_tokenizer()
    tensors["rope.coarse"] = tensors["rope.coarse"] * 2
    with pytest.raises(ModelError, match="rotation tables"):
        modelfile.write(tmp_path / "m.nacm", random_model().config, tensors, {})


def test_weights_so_large_that_the_model_could_not_be_computed(source: Path, cache: Path) -> None:
    path = source / "model.safetensors"
    good = path.read_bytes()
    size = struct.unpack("<Q", good[:8])[0]
    kind = json.loads(good[8 : 8 + size])["model.norm.weight"]["dtype"]
    assert kind == "BF16"
    begin = 8 + size + json.loads(good[8 : 8 + size])["model.norm.weight"]["data_offsets"][0]
    huge = struct.pack("<f", 3e38)[2:]
    path.write_bytes(good[:begin] + huge + good[begin + 2 :])
    with pytest.raises(ModelError, match="so large"):
        store.convert(source)
    assert list(cache.glob("*.nacm")) == []


# --- GGUF ---


def swapped(path: Path) -> None:
    """The file as a big-endian machine begins it: what tells is the version."""
    data = path.read_bytes()
    path.write_bytes(data[:4] + data[7:3:-1] + data[15:7:-1] + data[23:15:-1] + data[24:])


def test_big_endian_gguf_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    write_gguf(path, F32)
    swapped(path)
    for act in (read_gguf, gguf_metadata.read_metadata):
        with pytest.raises(ModelError, match=r"m\.gguf: .*big-endian"):
            act(path)


def test_big_endian_gguf_of_the_real_writer(tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    writer = gguf.GGUFWriter(path, "llama", endianess=gguf.GGUFEndian.BIG)
    writer.add_tensor("x", np.zeros(4, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with pytest.raises(ModelError, match="big-endian"):
        read_gguf(path)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"llama.attention.key_length": (1 << 31) - 2}, "key_length"),
        ({"llama.rope.scaling.type": "linear", "llama.rope.scaling.factor": 1e-9}, "factor"),
        ({"tokenizer.ggml.eos_token_id": (1 << 32) - 1}, "token's id"),
        ({"general.alignment": 0}, "alignment"),
    ],
)
def test_metadata_is_bounded(tmp_path: Path, fields: dict[str, Any], message: str) -> None:
    path = tmp_path / "m.gguf"
    write_gguf(path, F32, fields=fields)
    with modestly(), pytest.raises(ModelError, match=message):
        read_gguf(path)


@pytest.mark.parametrize("rest", [b"", bytes(1000)])
@pytest.mark.parametrize("counts", [(0, 1 << 62), (1 << 62, 0), (1 << 62, 1 << 62)])
def test_counts_of_gguf(tmp_path: Path, counts: tuple[int, int], rest: bytes) -> None:
    path = tmp_path / "m.gguf"
    path.write_bytes(b"GGUF" + struct.pack("<IQQ", 3, *counts) + rest)
    with modestly(), pytest.raises(ModelError, match=r"m\.gguf"):
        read_gguf(path)


# --- whatever else ---


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no FIFOs")
@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "model.safetensors"])
def test_a_directory_with_a_fifo(source: Path, cache: Path, name: str) -> None:
    (source / name).unlink()
    os.mkfifo(source / name)
    with modestly(), pytest.raises(ModelError, match="not a regular file"):
        store.convert(source)
    with modestly(), pytest.raises(ModelError, match="not a regular file"):
        read_safetensors(source)
    with modestly(), pytest.raises(OSError, match="not a regular file"):
        records.digest(cache, source)


VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**12), 10**40),
    st.floats(),
    st.text(max_size=20),
    st.sampled_from([[], {}, [{}], [1], "llama3", "linear", "BPE", 1e999, -1, 1 << 31]),
)


def paths(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where something stands in nested JSON; of a long object or list the first few."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in list(items)[:12]:
        yield (*at, key)
        yield from paths(inner, (*at, key))


def changed(document: Any, path: tuple[Any, ...], value: Any) -> Any:
    """A copy with another value at a place."""
    copy = json.loads(json.dumps(document))
    inner = copy
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    return copy


CONFIG_PATHS = [*paths(CONFIG), ("rope_scaling",), ("rope_parameters",), ("head_dim",), ("model_type",)]
HEADER = json.loads(CONTENT[56 : 56 + struct.unpack("<I", CONTENT[48:52])[0]])
FUZZ = settings(
    max_examples=80,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    derandomize=True,
)


@given(st.sampled_from(CONFIG_PATHS), VALUES)
@FUZZ
def test_any_value_anywhere_in_a_configuration(source: Path, path: tuple[Any, ...], value: Any) -> None:
    (source / "config.json").write_text(json.dumps(changed(CONFIG, path, value)))
    with modestly(), suppress(ModelError):
        check_supported(source)
        read_safetensors(source)


@given(st.sampled_from(list(paths(TOKENIZER))), VALUES)
@FUZZ
def test_any_value_anywhere_in_a_tokenizer(path: tuple[Any, ...], value: Any) -> None:
    with modestly(), suppress(ModelError):
        from_tokenizer_json(json.dumps(changed(TOKENIZER, path, value)).encode(), [0])


@given(st.sampled_from(list(paths(HEADER))), VALUES)
@FUZZ
def test_any_value_anywhere_in_a_model_file(tmp_path: Path, path: tuple[Any, ...], value: Any) -> None:
    file = tmp_path / "m.nacm"
    file.write_bytes(sealed(json.dumps(changed(HEADER, path, value)).encode(), data=CONTENT[DATA:]))
    with modestly(), suppress(ModelError):
        modelfile.read(file)


@given(st.integers(0, 3000), st.binary(min_size=1, max_size=8))
@FUZZ
def test_any_bytes_anywhere_in_a_gguf(tmp_path_factory: pytest.TempPathFactory, at: int, new: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzz.gguf"
    if not path.exists():
        write_gguf(path, F32)
    good = path.read_bytes()
    changed = path.with_name("changed.gguf")
    changed.write_bytes(good[:at] + new + good[at + len(new) :])
    with modestly(), suppress(ModelError):
        read_gguf(changed)
