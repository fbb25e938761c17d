"""A job for a machine without network: packed, carried in loads, run there without us, and brought back."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from clirunner import PATIENCE, nacrith
from lm_texts import TEXTS
from paths import ROOT

from nacrith.cli.console import OK
from nacrith.errors import NacrithError
from nacrith.models.exact import modelfile

torch = pytest.importorskip("torch", reason="torch is not installed: pip install '.[train]'")
pytest.importorskip("safetensors", reason="safetensors is not installed: pip install '.[train]'")

from nacrith.training.lm import away, loads  # noqa: E402
from nacrith.training.lm.job import Job, Prepared  # noqa: E402
from nacrith.training.lm.llama import Llama, Shape  # noqa: E402
from nacrith.training.lm.loop import Recipe  # noqa: E402
from nacrith.training.lm.tokens import Sample  # noqa: E402
from nacrith.training.lm.vocabulary import train_vocabulary  # noqa: E402

RECIPE = Recipe(steps=1, length=32, count=4)
MISSING = ("click", "constriction", "zstandard", "brotli", "threadpoolctl", "gguf", "safetensors")


@pytest.fixture(scope="module")
def prepared() -> Prepared:
    tokenizer = train_vocabulary(TEXTS, 400)
    model = Llama(Shape(2, 96, 400, width=64, heads=4, kv_heads=2, head_dim=16, max_context=64))
    model.initialise(1)
    ids = np.array(tokenizer.encode(b"".join(TEXTS)), np.uint16)
    sample = tuple(tokenizer.encode(TEXTS[0])[:60])
    return Prepared(model, tokenizer, None, ids, [Sample(sample, 200, "py")], RECIPE)


def job(tmp_path: Path, **options: object) -> Job:
    return Job([tmp_path], None, tmp_path, "far", recipe=replace(RECIPE, **options))  # type: ignore[arg-type]


def silent(line: str) -> None:
    pass


def unpack(packed: list[Path], folder: Path) -> Path:
    for load in packed:
        with tarfile.open(load) as tar:
            tar.extractall(folder, filter="data")
    return folder


def test_loads_are_small_and_hold_everything(
    prepared: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loads, "_PART_TOKENS", 1000)
    monkeypatch.setattr(loads, "_LEAST", 0)
    monkeypatch.setattr(modelfile, "PART_BYTES", 100_000)
    most = 600_000
    packed = loads.pack(prepared, job(tmp_path), tmp_path / "loads", silent, most)
    assert len(packed) > 1
    assert [p.name for p in packed] == sorted(os.listdir(tmp_path / "loads"))
    assert all(p.stat().st_size <= most for p in packed), [p.stat().st_size for p in packed]
    folder = unpack(packed[::-1], tmp_path / "job")  # in any order
    found = away.read_job(folder)
    assert np.array_equal(away._tokens(folder, found["tokens"]), prepared.ids)
    assert not list(folder.rglob("*.npz"))
    assert not list((folder / "nacrith").rglob("*.nacm"))
    (folder / loads.START / "part00").unlink()
    (folder / "tokens-0001.xz").write_bytes(b"")
    with pytest.raises(NacrithError, match=r"load-\d\d\.tar \(start.nacm/part00\).*send and unpack"):
        away.read_job(folder)
    with pytest.raises(NacrithError, match="not here yet; unpack the last load"):
        away.read_job(unpack(packed[:-1], tmp_path / "less"))


def test_what_cannot_be_packed(prepared: Prepared, tmp_path: Path) -> None:
    (tmp_path / "x").touch()
    for of, folder, size, words in (
        (job(tmp_path, distil=0.5), "new", loads.LOAD_BYTES, "leave out --distil"),
        (job(tmp_path), "new", 1000, "parts need 16,000,000 at least"),
        (job(tmp_path), ".", loads.LOAD_BYTES, "is not empty"),
    ):
        with pytest.raises(NacrithError, match=words):
            loads.pack(prepared, of, tmp_path / folder, silent, size)
    assert not (tmp_path / "new").exists()


def test_the_fastest_number_at_a_time_and_the_steps_that_fit(
    prepared: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    speeds = {1: 100.0, 2: 190.0, 4: 300.0, 8: 301.0, 16: 900.0}
    monkeypatch.setattr(away, "_speed", lambda model, ids, length, count, half: speeds.get(count, 0.0))
    recipe = Recipe(steps=1, length=10, count=32)
    plan = away._planned(tmp_path, prepared.model, prepared.ids, recipe, False, seconds=1000)
    assert (plan.at_once, plan.steps) == (4, int(0.95 * 1000 * 300 / 320))
    monkeypatch.setattr(away, "_speed", lambda *_: 0.0)
    assert away._planned(tmp_path, prepared.model, prepared.ids, recipe, False, seconds=5) == plan
    (tmp_path / "plan.json").unlink()
    with pytest.raises(NacrithError, match="does not fit into the memory"):
        away._planned(tmp_path, prepared.model, prepared.ids, recipe, False, seconds=5)


def test_the_whole_way(tmp_path: Path) -> None:
    """By command; over there is nothing of ours, and no library but torch, numpy and tokenizers."""
    data = tmp_path / "data"
    data.mkdir()
    for name, text in zip("abc", TEXTS, strict=True):
        (data / f"{name}.py").write_bytes(text)
    sizes = [
        "--scratch",
        "--layers",
        "1",
        "--vocab",
        "300",
        "--width",
        "64",
        "--length",
        "32",
        "--count",
        "4",
    ]
    command = ["train", data, "-o", tmp_path / "far.nacm", *sizes, "--export", tmp_path / "loads", "-T", "1"]
    done = nacrith(*command)
    assert done.code == OK, done.err
    packed = [Path(line) for line in done.out.decode().split()]
    assert not (tmp_path / "far.nacm").exists()
    folder = unpack(packed, tmp_path / "job")
    script = (
        f"import sys\nfor name in {MISSING}: sys.modules[name] = None\n"
        "sys.path.insert(0, '.')\nfrom nacrith.training.lm.away import main\n"
        "import nacrith\nassert nacrith.__file__.startswith(sys.argv[1])\n"
        "sys.exit(main(['--minutes', '0.05', '--device', 'cpu']))"
    )
    env = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "NACRITH"))} | {
        "OMP_NUM_THREADS": "1"
    }
    ran = subprocess.run(
        [sys.executable, "-I", "-c", script, str(folder)],
        cwd=folder,
        env=env,
        capture_output=True,
        text=True,
        timeout=2 * PATIENCE,
    )
    assert ran.returncode == 0, ran.stderr
    assert "windows at a time" in ran.stdout
    back = folder / "out" / "far.nacm"
    assert all(part.stat().st_size <= 16_000_000 for part in back.iterdir())
    assert modelfile.read(back).name == "far"
    report = json.loads((folder / "out" / "report.json").read_text())
    assert report["after"]["mean"] < report["before"]["mean"]
    text = (ROOT / "README.md").read_bytes()[:300]
    (tmp_path / "t").write_bytes(text)
    assert nacrith("-m", back, tmp_path / "t").code == OK
    assert nacrith("-dc", "-m", back, tmp_path / "t.nac").out == text
