"""Conversion: a Hugging Face directory and a GGUF of the same weights give the same exact model."""

from __future__ import annotations

import importlib.util
import json
import shutil
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
from paths import TINY_HF
from small_models import TINY, tiny
from tiny_source import CONFIG, weights, write_gguf

from nacrith.errors import ModelError
from nacrith.models.exact import modelfile
from nacrith.models.exact.conversion import LlamaSource, convert
from nacrith.models.exact.rope import llama3_factors
from nacrith.models.sources import gguf_blocks
from nacrith.models.sources.gguf import read_gguf
from nacrith.models.sources.safetensors import read_safetensors

POSITIONS = 1 << 16


# --- safetensors ---


def write_safetensors(path: Path, tensors: Mapping[str, np.ndarray], metadata: Any = None) -> None:
    """F32 or F16 by the arrays' type."""
    table: dict[str, Any] = {} if metadata is None else {"__metadata__": metadata}
    data = b""
    for name, array in tensors.items():
        raw = array.astype(array.dtype.newbyteorder("<")).tobytes()
        kind = {"float32": "F32", "float16": "F16"}[array.dtype.name]
        offsets = [len(data), len(data) + len(raw)]
        table[name] = {"dtype": kind, "shape": list(array.shape), "data_offsets": offsets}
        data += raw
    header = json.dumps(table).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header + data)


def directory(tmp_path: Path, changes: Mapping[str, Any] | None = None) -> Path:
    """A copy of the tiny directory with a changed configuration; None removes a field."""
    target = tmp_path / "model"
    shutil.copytree(TINY_HF, target)
    fields = {**CONFIG, **(changes or {})}
    fields = {k: v for k, v in fields.items() if v is not None}
    (target / "config.json").write_text(json.dumps(fields))
    return target


def test_the_committed_directory_gives_the_committed_model(tmp_path):
    digest = convert(read_safetensors(TINY_HF), tmp_path / "t.nacm", name="tiny", positions=POSITIONS)
    assert digest == tiny().fingerprint
    assert (tmp_path / "t.nacm").read_bytes() == TINY.read_bytes()


def test_shards_names_and_types_do_not_matter(tmp_path):
    """Two shards, one in F32 without the prefix, one with, and values that F16 holds in F16."""
    target = directory(tmp_path)
    (target / "model.safetensors").unlink()
    first: dict[str, np.ndarray] = {}
    second: dict[str, np.ndarray] = {}
    for i, (name, array) in enumerate(weights().items()):
        half = array.astype(np.float16)
        if i % 2:
            first[f"{name}.weight"] = array
        else:
            fits = np.array_equal(half.astype(np.float32), array)
            second[f"model.{name}.weight"] = half if fits else array
    assert any(a.dtype == np.float16 for a in second.values())
    write_safetensors(target / "a.safetensors", first, {"format": "pt"})
    write_safetensors(target / "b.safetensors", second)
    index = {"weight_map": {**dict.fromkeys(first, "a.safetensors"), "x": "b.safetensors"}}
    (target / "model.safetensors.index.json").write_text(json.dumps(index))
    source = read_safetensors(target)
    assert convert(source, tmp_path / "t", positions=POSITIONS) == tiny().fingerprint


@pytest.mark.parametrize(
    "changes",
    [
        {"bos_token_id": [0, 1]},
        {"bos_token_id": None, "eos_token_id": [0]},
        {"architectures": ["MistralForCausalLM"], "model_type": "mistral"},
        {"architectures": None},
        {"head_dim": None, "attention_bias": None, "mlp_bias": None, "hidden_act": None},
        {"rope_theta": None},
        {"rope_theta": None, "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0}},
        {"rope_scaling": {"type": "linear", "factor": 1.0}},
        {"rms_norm_eps": 9.999999747378752e-06},
    ],
)
def test_other_spellings_of_the_same_model(tmp_path, changes):
    source = read_safetensors(directory(tmp_path, changes))
    assert convert(source, tmp_path / "t", positions=POSITIONS) == tiny().fingerprint


def test_an_own_head_is_kept_and_a_repeated_embedding_is_not(tmp_path):
    target = directory(tmp_path, {"tie_word_embeddings": False})
    own = {f"model.{k}.weight": v for k, v in weights().items()}
    own["lm_head.weight"] = own["model.embed_tokens.weight"]
    write_safetensors(target / "model.safetensors", own)
    digest = convert(read_safetensors(target), tmp_path / "same", positions=POSITIONS)
    assert digest == tiny().fingerprint
    own["lm_head.weight"] = own["lm_head.weight"][::-1]
    write_safetensors(target / "model.safetensors", own)
    convert(read_safetensors(target), tmp_path / "other", positions=POSITIONS)
    file = modelfile.read(tmp_path / "other")
    assert not file.config.tied_head
    assert np.array_equal(file.tensors["head.q"], file.tensors["embed.q"][::-1])


def test_linear_scaling_divides_all_frequencies(tmp_path):
    scaling = {"rope_scaling": {"rope_type": "linear", "factor": 4.0}}
    convert(read_safetensors(directory(tmp_path, scaling)), tmp_path / "t", positions=POSITIONS)
    fine = modelfile.read(tmp_path / "t").tensors["rope.fine"]
    assert np.allclose(fine[:, ::4], tiny().tensors["rope.fine"][:, :64], rtol=0, atol=1e-15)


def test_llama3_scaling(tmp_path):
    """Factors of Llama 3.2's published parameters against an evaluation with libm."""
    factors = llama3_factors(32, 500000.0, 32.0, 1.0, 4.0, 8192.0)
    for i, got in enumerate(factors):
        wave = 2 * np.pi * 500000.0 ** (i / 32)
        keep = np.clip((8192.0 / wave - 1.0) / 3.0, 0.0, 1.0)
        assert got == pytest.approx(1 / ((1 - keep) / 32.0 + keep), rel=1e-6)
    assert factors[0] == 1.0
    assert factors[-1] == 32.0
    assert 1.0 < factors[16] < 32.0
    scaling = {
        "rope_type": "llama3",
        "factor": 32.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192,
    }
    target = directory(tmp_path, {"rope_scaling": scaling})
    want = llama3_factors(8, 10000.0, 32.0, 1.0, 4.0, 8192.0)
    assert read_safetensors(target).rope_factors == want


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"architectures": ["GPT2LMHeadModel"]}, "GPT2LMHeadModel"),
        ({"architectures": None, "model_type": "gemma"}, "gemma"),
        ({"architectures": "LlamaForCausalLM", "model_type": None}, "architectures"),
        ({"attention_bias": True}, "attention_bias"),
        ({"mlp_bias": True}, "mlp_bias"),
        ({"hidden_act": "gelu"}, "hidden_act: 'gelu'"),
        ({"sliding_window": 4096}, "sliding_window"),
        ({"quantization_config": {}}, "quantization_config"),
        ({"rope_interleaved": True}, "rope_interleaved"),
        ({"partial_rotary_factor": 0.5}, "partial_rotary_factor"),
        ({"rope_scaling": {"type": "yarn", "factor": 2.0}}, "'yarn'"),
        ({"rope_scaling": {"type": "linear"}}, "factor: None"),
        ({"rope_scaling": {"type": "linear", "factor": 0}}, "factor: 0"),
        ({"rope_scaling": [1]}, "rope_scaling: not an object"),
        ({"rope_scaling": {"rope_type": "llama3", "factor": 8.0}}, "low_freq_factor"),
        ({"hidden_size": None}, "hidden_size: None"),
        ({"hidden_size": "64"}, "hidden_size: '64'"),
        ({"num_hidden_layers": 0}, "num_hidden_layers: 0"),
        ({"rms_norm_eps": float("nan")}, "NaN is no finite number"),
        ({"rope_theta": True}, "rope_theta: True"),
        ({"tie_word_embeddings": "yes"}, "tie_word_embeddings: 'yes'"),
        ({"tie_word_embeddings": False}, "lm_head"),
        ({"bos_token_id": None, "eos_token_id": None}, "bos_token_id: not set"),
        ({"bos_token_id": -1}, "bos_token_id: -1"),
    ],
)
def test_configurations_that_are_not_supported(tmp_path, changes, message):
    with pytest.raises(ModelError, match=message) as caught:
        read_safetensors(directory(tmp_path, changes))
    assert "config.json" in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"hidden_size": 32}, "shape"),
        ({"num_hidden_layers": 4}, "no tensor layers.3"),
        ({"intermediate_size": 100}, "shape"),
        ({"head_dim": 32}, "shape"),
        ({"num_attention_heads": 3, "head_dim": 16}, "attention shape"),
        ({"bos_token_id": 512}, "start token"),
        ({"max_position_embeddings": 8}, "out of range"),
    ],
)
def test_configurations_that_do_not_fit_the_weights(tmp_path, changes, message):
    with pytest.raises(ModelError, match=message):
        convert(read_safetensors(directory(tmp_path, changes)), tmp_path / "t.nacm", positions=256)
    assert not (tmp_path / "t.nacm").exists()


def test_a_tokenizer_larger_than_the_model(tmp_path):
    target = directory(tmp_path)
    fields = json.loads((target / "tokenizer.json").read_text())
    fields["added_tokens"].append({**fields["added_tokens"][0], "id": 512, "content": "<|x|>"})
    (target / "tokenizer.json").write_text(json.dumps(fields))
    with pytest.raises(ModelError, match="513 tokens"):
        convert(read_safetensors(target), tmp_path / "t.nacm", positions=256)


def test_weights_that_are_not_finite(tmp_path):
    target = directory(tmp_path)
    broken = {f"model.{k}.weight": v.copy() for k, v in weights().items()}
    broken["model.norm.weight"][3] = np.inf
    write_safetensors(target / "model.safetensors", broken)
    with pytest.raises(ModelError, match="norm holds values that are not finite"):
        convert(read_safetensors(target), tmp_path / "t.nacm", positions=256)


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "model.safetensors"])
def test_a_missing_file_and_one_of_nonsense(tmp_path, name):
    target = directory(tmp_path)
    for content in (b"", b"nonsense", b"[]", b"\xff" * 300, b"[" * 100_000):
        (target / name).write_bytes(content)
        with pytest.raises(ModelError):
            read_safetensors(target)
    (target / name).unlink()
    with pytest.raises(ModelError, match=r"model"):
        read_safetensors(target)


def test_every_kind_of_bad_weight_file(tmp_path):
    target = directory(tmp_path)
    path = target / "model.safetensors"
    good = path.read_bytes()
    size = struct.unpack("<Q", good[:8])[0]
    for length in (0, 7, 8, 100, 8 + size - 1, 8 + size, len(good) - 1):
        path.write_bytes(good[:length])
        with pytest.raises(ModelError, match=r"model\.safetensors"):
            read_safetensors(target)
    table = json.loads(good[8 : 8 + size])
    name = "model.norm.weight"
    for change in (
        {"shape": [65]},
        {"shape": [-64]},
        {"shape": "x"},
        {"shape": [1 << 40, 1 << 40]},
        {"data_offsets": [0]},
        {"data_offsets": [128, 0]},
        {"data_offsets": [-128, 0]},
        {"data_offsets": [1 << 40, (1 << 40) + 128]},
    ):
        header = json.dumps({**table, name: {**table[name], **change}}).encode()
        path.write_bytes(struct.pack("<Q", len(header)) + header + good[8 + size :])
        with pytest.raises(ModelError, match="damaged header"):
            read_safetensors(target)
    for extra, message in (
        ("model.layers.0.self_attn.q_proj.bias", "q_proj.bias: not part"),
        ("norm.weight", "two"),
    ):
        header = json.dumps({**table, extra: table[name]}).encode()
        path.write_bytes(struct.pack("<Q", len(header)) + header + good[8 + size :])
        with pytest.raises(ModelError, match=message):
            read_safetensors(target)
    header = json.dumps({**table, name: {**table[name], "dtype": "I8"}}).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header + good[8 + size :])
    with pytest.raises(ModelError, match="'I8' is not supported"):
        convert(read_safetensors(target), tmp_path / "t.nacm", positions=256)


def test_indexes_that_lead_astray(tmp_path):
    target = directory(tmp_path)
    index = target / "model.safetensors.index.json"
    for content in ({}, {"weight_map": []}, {"weight_map": {"a": "../x"}}, {"weight_map": {"a": 1}}):
        index.write_text(json.dumps(content))
        with pytest.raises(ModelError):
            read_safetensors(target)
    index.unlink()
    shutil.copy(target / "model.safetensors", target / "second.safetensors")
    with pytest.raises(ModelError, match=r"2 \.safetensors files"):
        read_safetensors(target)


# --- GGUF ---

F32 = gguf.GGMLQuantizationType.F32


@pytest.mark.parametrize("kind", ["F32", "BF16"])
def test_gguf_gives_the_same_model_as_the_directory(tmp_path, kind):
    path = tmp_path / "tiny.gguf"
    write_gguf(path, gguf.GGMLQuantizationType[kind])
    source = read_gguf(path)
    for name, array in weights().items():
        assert np.array_equal(source.tensor(name), array), name
    assert convert(source, tmp_path / "t", positions=POSITIONS) == tiny().fingerprint


@pytest.mark.parametrize("kind", ["F16", "Q8_0", "Q4_0", "Q4_1", "Q5_0"])
def test_gguf_quantisations_are_undone(tmp_path, kind):
    """Each row is what the quantisation keeps of it, and lies where it belongs."""
    path, quantisation = tmp_path / "tiny.gguf", gguf.GGMLQuantizationType[kind]
    write_gguf(path, quantisation)
    source = read_gguf(path)
    for name, array in weights().items():
        want = array
        if array.ndim == 2:
            want = gguf.dequantize(gguf.quantize(array, quantisation), quantisation)
            want = want.reshape(array.shape)
        assert np.array_equal(source.tensor(name), want), name
    assert convert(source, tmp_path / "t", positions=256) != tiny().fingerprint


@pytest.mark.parametrize("kind", ["F16", "Q8_0", "Q4_0", "Q4_1"])
def test_values_are_those_of_the_gguf_package(kind: str) -> None:
    """Any scale, and bytes that no writer chooses."""
    number = gguf.GGMLQuantizationType[kind]
    shape = gguf_blocks.byte_shape((50, 64), number)
    assert shape == gguf.quant_shape_to_byte_shape((50, 64), number)
    data = np.random.default_rng(5).integers(0, 256, shape, np.uint8)
    ours = gguf_blocks.dequantise(data, number)  # no warnings, either
    with np.errstate(invalid="ignore"):
        theirs = gguf.dequantize(data, number).astype(np.float32)
    assert ours.shape == theirs.shape == (50, 64)
    assert np.array_equal(ours, theirs, equal_nan=True)
    if kind != "F16":
        with pytest.raises(ValueError, match="blocks of 32"):
            gguf_blocks.byte_shape((2, 33), number)


def test_other_types_need_the_gguf_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_gguf(tmp_path / "tiny.gguf", gguf.GGMLQuantizationType.BF16)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ModelError, match=r"tensor .*: its type 30 takes the package gguf .*nacrith\[gguf\]"):
        read_gguf(tmp_path / "tiny.gguf")


def gguf_of(tmp_path: Path, **options: Any) -> LlamaSource:
    write_gguf(tmp_path / "x.gguf", F32, **options)
    return read_gguf(tmp_path / "x.gguf")


def test_gguf_rotary_scaling(tmp_path):
    factors = np.linspace(1, 8, 8, dtype=np.float32)
    assert gguf_of(tmp_path, extra={"rope_freqs": factors}).rope_factors == factors.tolist()
    linear = {"llama.rope.scaling.type": "linear", "llama.rope.scaling.factor": 4.0}
    assert gguf_of(tmp_path, fields=linear).rope_factors == [4.0] * 8


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"architecture": "gemma"}, "architecture 'gemma'"),
        ({"skip": ("embedding_length",)}, "llama.embedding_length"),
        ({"fields": {"llama.rope.scaling.type": "yarn"}}, "'yarn'"),
        ({"fields": {"llama.rope.scaling.type": "linear"}}, "llama.rope.scaling.factor"),
        ({"fields": {"llama.attention.key_length": 32}}, "partial rotation"),
        ({"fields": {"llama.attention.key_length": "x"}}, "attention.key_length"),
        ({"extra": {"rope_freqs": np.ones(5)}}, "rope_freqs"),
        ({"extra": {"blk.0.attn_q_norm": np.ones(16)}}, "blk.0.attn_q_norm"),
        ({"extra": {"blk.0.ffn_gate_exps": np.ones((8, 8))}}, "blk.0.ffn_gate_exps"),
    ],
)
def test_gguf_files_that_are_not_supported(tmp_path, options, message):
    with pytest.raises(ModelError, match=message) as caught:
        gguf_of(tmp_path, **options)
    assert "x.gguf" in str(caught.value)


def test_gguf_without_a_tensor(tmp_path):
    source = gguf_of(tmp_path, skip=("blk.1.ffn_up",))
    with pytest.raises(ModelError, match=r"layers\.1\.mlp\.up_proj"):
        convert(source, tmp_path / "t", positions=256)


def test_damaged_gguf(tmp_path):
    path = tmp_path / "tiny.gguf"
    write_gguf(path, F32)
    good = path.read_bytes()
    sizes = [0, 1, 3, 4, 7, 8, 23, 24, 25, 60, 200, 1000, 5000, 12000, len(good) // 2, len(good) - 1]
    for size in sizes:
        path.write_bytes(good[:size])
        with pytest.raises(ModelError, match=r"tiny\.gguf"):
            read_gguf(path)
        path.unlink()
    path.write_bytes(np.random.default_rng(0).bytes(3000))
    with pytest.raises(ModelError, match=r"tiny\.gguf"):
        read_gguf(path)
    rng = np.random.default_rng(1)
    complaints = []
    for _ in range(60):  # bits of the metadata: our error, or some model
        damaged = bytearray(good)
        damaged[rng.integers(0, 3000)] ^= 1 << int(rng.integers(8))
        path.unlink()
        path.write_bytes(damaged)
        try:
            read_gguf(path)
        except ModelError as error:
            complaints.append(str(error))
    assert complaints
    assert all("tiny.gguf" in text for text in complaints)
    with pytest.raises(ModelError, match=r"none\.gguf"):
        read_gguf(tmp_path / "none.gguf")
