"""A model file that changes while its model is in use: what was loaded stays, and who asks is told."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from small_models import TINY, tokens

from nacrith.errors import ModelError
from nacrith.models.exact import modelfile
from nacrith.models.exact.model import ExactModel

OLD = (1e9, 1e9)


@pytest.fixture(params=["file", "parts"])
def path(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The tiny model in a file, or in parts."""
    monkeypatch.setattr(modelfile, "PART_BYTES", 50_000)
    target = tmp_path / "m.nacm"
    if request.param == "file":
        shutil.copy(TINY, target)
    else:
        modelfile.split(TINY, target)
    return target


def first_part(path: Path) -> Path:
    return path / "part00" if path.is_dir() else path


@pytest.mark.parametrize("engine", ["numpy", "native"])
@pytest.mark.parametrize("before", [True, False], ids=["engine made before", "engine made after"])
def test_what_was_loaded_does_not_change(
    path: Path, before: bool, engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if engine == "native" and not os.environ.get("NACRITH_NATIVE_LIB"):
        pytest.skip("no native engine is named")
    monkeypatch.setenv("NACRITH_ENGINE", engine)
    ids = tokens(50)
    (want,) = ExactModel(TINY, threads=1).session().extend([ids])
    model = ExactModel(path, threads=1)
    if before:
        model.prepare()
    for part in sorted(path.iterdir()) if path.is_dir() else [path]:
        with part.open("r+b") as file:  # in place
            file.write(b"\x55" * part.stat().st_size)
            file.truncate(4096)
    (rows,) = model.session().extend([ids])
    assert np.array_equal(rows, want)
    with pytest.raises(ModelError, match=r"m\.nacm"):
        model.verify_source()


def test_a_source_as_it_was(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = ExactModel(path, threads=1)
    model.prepare()  # which lets go of the weights
    model.verify_source()
    os.utime(first_part(path), OLD)
    model.verify_source()  # is read again


def test_nothing_is_read_again_without_need(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(modelfile, "_SETTLED", -60.0)  # the copies were made just now
    model = ExactModel(path, threads=1)
    monkeypatch.setattr(modelfile, "_describe", None)
    model.verify_source()


@pytest.mark.parametrize("change", ["bit", "other", "cut", "gone", "replaced"])
def test_a_source_that_changed(path: Path, change: str, tmp_path: Path) -> None:
    part = first_part(path)
    model = ExactModel(path, threads=1)
    data = bytearray(part.read_bytes())
    if change == "gone":
        part.unlink()
    elif change == "cut":
        os.truncate(part, len(data) - 1)
    elif change == "other":
        part.write_bytes(b"")
    else:
        data[-1] ^= 1
        if change == "replaced":
            part.unlink()
        part.write_bytes(data)
        os.utime(part, OLD)
    with pytest.raises(ModelError, match=r"m\.nacm"):
        model.verify_source()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no FIFOs")
def test_a_fifo_is_no_model_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "m.nacm")
    with pytest.raises(ModelError, match="not a regular file"):
        modelfile.read(tmp_path / "m.nacm")
    assert modelfile.fingerprint(tmp_path / "m.nacm") == b""
