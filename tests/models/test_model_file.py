"""The model file: what was written comes back, damage is found, a failed write leaves nothing."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from model_bytes import CONTENT, DATA, HEADER_SIZE, INFO_END, header_with, sealed, with_tokenizer
from small_models import TINY, random_model, tiny

from nacrith.errors import ModelError
from nacrith.models.exact import modelfile
from nacrith.models.exact.config import ExactConfig
from nacrith.models.exact.model import ExactModel


def test_the_tiny_file_is_laid_out_as_documented():
    """Read with nothing but the layout of formats/model-v1.md."""
    assert CONTENT[:8] == b"\x89NACM\r\n\x1a"
    assert struct.unpack("<II", CONTENT[8:16]) == (1, 0)
    header = json.loads(CONTENT[56 : 56 + HEADER_SIZE])
    assert not any(CONTENT[INFO_END:DATA])
    assert len(CONTENT) == DATA + header["data_bytes"]
    digest = hashlib.sha256(CONTENT[56 : 56 + HEADER_SIZE] + CONTENT[DATA:]).digest()
    assert CONTENT[16:48] == digest == tiny().fingerprint
    entry = header["tensors"]["final_norm"]
    begin = DATA + entry["offset"]
    values = struct.unpack("<64f", CONTENT[begin : begin + 256])
    assert np.array_equal(tiny().tensors["final_norm"], np.float32(values))


def test_what_is_written_comes_back(tmp_path):
    tensors = with_tokenizer()
    config = random_model().config
    path = tmp_path / "new" / "m.nacm"
    digest = modelfile.write(path, config, tensors, {"name": "größe"})
    file = modelfile.read(path)
    assert (file.config, file.name, file.fingerprint) == (config, "größe", digest)
    assert file.tensors.keys() == tensors.keys()
    for name, array in tensors.items():
        assert np.array_equal(file.tensors[name], array)
        assert not file.tensors[name].flags.writeable
    again = tmp_path / "again.nacm"
    modelfile.write(again, config, dict(reversed(tensors.items())), {"name": "größe"})
    assert again.read_bytes() == path.read_bytes()
    assert os.listdir(tmp_path / "new") == ["m.nacm"]


def test_the_info_is_not_part_of_the_fingerprint(tmp_path):
    model = random_model()
    digests = {
        modelfile.write(tmp_path / "a", model.config, with_tokenizer(), info)
        for info in ({}, {"name": "x"}, {"name": "y", "licence": "z"})
    }
    assert len(digests) == 1
    assert modelfile.fingerprint(tmp_path / "a") in digests


@given(st.integers(0, len(CONTENT) * 8 - 1))
@settings(max_examples=150, deadline=None)
def test_one_flipped_bit_is_found_unless_it_changes_no_result(tmp_path_factory, bit):
    check_flip(tmp_path_factory.getbasetemp() / "flip.nacm", bit)


def test_every_byte_before_the_data_with_one_flipped_bit(tmp_path):
    for byte in range(DATA):
        check_flip(tmp_path / "flip.nacm", 8 * byte + byte % 8)


def check_flip(path: Path, bit: int) -> None:
    damaged = bytearray(CONTENT)
    damaged[bit // 8] ^= 1 << bit % 8
    path.write_bytes(damaged)
    if 56 + HEADER_SIZE <= bit // 8 < DATA:  # the info and the padding
        with contextlib.suppress(ModelError):
            assert modelfile.read(path).fingerprint == tiny().fingerprint
    else:
        with pytest.raises(ModelError, match=r"flip\.nacm"):
            modelfile.read(path)


@pytest.mark.parametrize("size", [0, 1, 8, 15, 16, 55, 56, 100, INFO_END, DATA, -65, -1])
def test_cut_short(tmp_path, size):
    path = tmp_path / "cut.nacm"
    path.write_bytes(CONTENT[:size])
    with pytest.raises(ModelError, match=r"cut\.nacm"):
        modelfile.read(path)


def test_trailing_bytes(tmp_path):
    path = tmp_path / "long.nacm"
    path.write_bytes(CONTENT + b"\0")
    with pytest.raises(ModelError, match="bytes long"):
        modelfile.read(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty model file"),
        (b"GGUF" + bytes(100), "not a nacrith model file"),
        (CONTENT[:8] + b"\2" + CONTENT[9:], "not a nacrith model file of version 1"),
        (sealed(b"[]"), "damaged header"),
        (sealed(b"nonsense"), "damaged header"),
        (sealed(b"[" * 100_000), "damaged header"),
        (sealed({"data_bytes": 0}), "damaged header"),
        (sealed({"config": {}, "tensors": {}, "data_bytes": 0}), "do not fit"),
        (sealed({"config": 1, "tensors": {}, "data_bytes": 1e999}), "damaged header"),
        (sealed({"config": {}, "tensors": {}, "data_bytes": 64}), "bytes long"),
        (sealed(header_with(), b"[]", CONTENT[DATA:]), "damaged header"),
        (sealed(header_with(arithmetic=2), data=CONTENT[DATA:]), "arithmetic version 2"),
        (sealed(header_with(layers=4), data=CONTENT[DATA:]), "layers.3"),
        (sealed(header_with(layers=10**15), data=CONTENT[DATA:]), "out of range"),
        (sealed(header_with(layers=2.0), data=CONTENT[DATA:]), "wrong type"),
        (sealed(header_with(width=32), data=CONTENT[DATA:]), "another type or shape"),
        (sealed(header_with(heads=3), data=CONTENT[DATA:]), "attention shape"),
        (sealed(header_with(bos_id=512), data=CONTENT[DATA:]), "start token"),
        (sealed(header_with(act_limits={}), data=CONTENT[DATA:]), "activation limits"),
        (sealed(header_with(layers=2), data=CONTENT[DATA:]), "tensors that no model has"),
    ],
)
def test_files_that_are_no_models(tmp_path, content, message):
    path = tmp_path / "bad.nacm"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=message) as caught:
        modelfile.read(path)
    assert "bad.nacm" in str(caught.value)


@pytest.mark.parametrize(
    "entry",
    [
        {"dtype": "f32", "shape": [64], "offset": 1 << 40},
        {"dtype": "f32", "shape": [64], "offset": -64},
        {"dtype": "f32", "shape": [-64], "offset": 0},
        {"dtype": "f32", "shape": [1 << 32, 1 << 32], "offset": 0},
        {"dtype": "f32", "shape": [10**30], "offset": 0},
        {"dtype": "f32", "shape": [64], "offset": 4},
        {"dtype": "f32", "shape": "64", "offset": 0},
        {"dtype": "f16", "shape": [64], "offset": 0},
        {"dtype": "f32", "shape": [64]},
        [],
        None,
    ],
)
def test_tensors_that_lie_nowhere(tmp_path, entry):
    header = header_with()
    header["tensors"]["final_norm"] = entry
    path = tmp_path / "bad.nacm"
    path.write_bytes(sealed(header, data=CONTENT[DATA:]))
    with pytest.raises(ModelError, match=r"bad\.nacm"):
        modelfile.read(path)


def test_missing_directory_and_unreadable_file(tmp_path):
    with pytest.raises(ModelError, match="No such file"):
        modelfile.read(tmp_path / "none.nacm")
    with pytest.raises(ModelError, match="directory"):
        modelfile.read(tmp_path)
    assert modelfile.fingerprint(tmp_path / "none.nacm") == b""


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "m.nacm"
    path.write_bytes(b"old")

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        modelfile.write(path, random_model().config, with_tokenizer(), {})
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["m.nacm"]


def test_config_survives_json():
    config = tiny().config
    assert ExactConfig.from_json(json.loads(json.dumps(config.to_json()))) == config


def test_the_model_states_what_it_is():
    model = ExactModel(TINY, threads=1)
    assert (model.name, model.vocab_size, model.bos_id, model.max_context) == ("tiny", 512, 0, 512)
    assert model.portable
    assert model.fingerprint == tiny().fingerprint
    assert model.tokenizer.vocab_size == 512
    for window in (7, 513):
        with pytest.raises(ValueError, match=f"window {window}"):
            model.session(1, window)


def test_parts_are_as_good_as_one_file(tmp_path, monkeypatch):
    monkeypatch.setattr(modelfile, "PART_BYTES", 50_000)
    directory = tmp_path / "tiny.nacm"
    modelfile.split(TINY, directory)
    parts = sorted(directory.iterdir())
    assert len(parts) > 2
    assert b"".join(p.read_bytes() for p in parts) == CONTENT
    assert max(p.stat().st_size for p in parts) <= 50_000
    assert modelfile.size(directory) == len(CONTENT)
    assert modelfile.fingerprint(directory) == tiny().fingerprint
    (directory / "README.md").write_text("not a part")
    found = modelfile.read(directory)
    assert found.config == tiny().config
    for name, tensor in tiny().tensors.items():
        assert np.array_equal(found.tensors[name], tensor)
        assert not found.tensors[name].flags.writeable
    parts[1].write_bytes(parts[1].read_bytes()[:-1])
    with pytest.raises(ModelError, match=f"bytes long, not {len(CONTENT)}"):
        modelfile.read(directory)


def test_a_directory_without_parts_is_no_model(tmp_path):
    assert modelfile.fingerprint(tmp_path) == b""
    with pytest.raises(ModelError, match="empty model file"):
        modelfile.read(tmp_path)
