"""One content over several processes: the bytes of one process, whoever does what, and clean ends."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from functools import cache, partial
from pathlib import Path

import pytest
from backend_checks import TEXT as PROSE
from clirunner import MODEL, environment, nacrith
from job_workers import SHOWN
from native_library import needs_library

from nacrith import codec as codecs
from nacrith.archive.blockcodec import BlockCodec
from nacrith.cli import engines
from nacrith.cli.console import Console
from nacrith.cli.options import Settings
from nacrith.codec.spread import SpreadCodec
from nacrith.errors import CorruptError, ModelError, ModelMissingError
from nacrith.jobs import devices

TINY = str(MODEL)
TEXT = b"The old ferry left the harbour a little after nine, when the fog had lifted from the water. "
LONG = TEXT * 400
"""Of several lanes."""

BLOCKS = [*(few := [TEXT * 4, b"", TEXT[:7], b"\r\n" * 9, TEXT[5:]]), LONG, *few]
SHORT = [TEXT, b"", TEXT[:7], b"\r\n" * 9]
"""For what computes in Python alone."""


def tiny(threads: int = 1) -> BlockCodec:
    return codecs.for_encoding(1, TINY, threads)


@cache
def payloads_of_one() -> list[bytes]:
    """What one process makes of BLOCKS."""
    return tiny().encode(BLOCKS)


def no_such_model(threads: int) -> BlockCodec:
    return codecs.for_encoding(1, "no-such-model", threads)


def make_and_die(threads: int) -> BlockCodec:
    os._exit(7)


class Odd:
    """Fails in a way that is not ours."""

    id, batch = None, 1

    def __init__(self, threads: int) -> None:
        pass

    def encode(self, blocks: list[bytes], progress: object) -> list[bytes]:
        raise ZeroDivisionError("by zero")


class Shows:
    """Codes nothing: its payloads are what the worker sees of devices, and so is its id."""

    batch = 1

    def __init__(self, threads: int) -> None:
        self.id = threads

    def encode(self, blocks: list[bytes], progress: object) -> list[bytes]:
        return [" ".join([*(os.environ[name] for name in SHOWN), str(self.id)]).encode() for _ in blocks]


def test_the_bytes_are_those_of_one_process() -> None:
    alone = tiny()
    codec = SpreadCodec(tiny, devices.on_cores(2, 2))
    try:
        assert codec.id == alone.id
        assert codec.batch == 2 * alone.batch
        told: list[int] = []
        payloads = codec.encode(BLOCKS, told.append)
        assert payloads == payloads_of_one()
        jobs = [(p, len(b)) for p, b in zip(payloads, BLOCKS, strict=True)]
        assert codec.decode(jobs, told.append) == BLOCKS
        assert sum(told) == 2 * sum(map(len, BLOCKS))
        assert codec.encode([]) == codec.decode([]) == []
        with pytest.raises(CorruptError, match="claims"):
            codec.decode([(b"\x04\xff\xff\x03", 5)])
        assert codec.decode(jobs[:1]) == BLOCKS[:1]  # an error in a block ends no worker
    finally:
        codec.stop()


def test_a_worker_that_dies() -> None:
    codec = SpreadCodec(tiny, devices.on_cores(2, 2))
    codec._workers[1].process.kill()
    with pytest.raises(ModelError, match="exit code -9"):
        codec.encode(BLOCKS)
    assert not codec.usable
    with pytest.raises(ModelError, match="have ended"):
        codec.encode(BLOCKS)


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (no_such_model, ModelMissingError, "no-such-model"),
        (make_and_die, ModelError, "exit code 7"),
        (partial(int, "x"), ModelError, "ValueError"),
    ],
    ids=["no model", "death", "bug"],
)
def test_workers_that_cannot_start(make: partial[BlockCodec], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        SpreadCodec(make, devices.on_cores(2, 2))


def test_each_worker_sees_its_gpu_only() -> None:
    codec = SpreadCodec(Shows, devices.on_gpus(["GPU-7f", "4"], 5))  # type: ignore[arg-type]
    try:
        seen = [worker.call("encode", [b""], lambda _: None) for worker in codec._workers]
        assert seen == [[b"GPU-7f torch cuda:0 2"], [b"4 torch cuda:0 2"]]
    finally:
        codec.stop()


def test_workers_whose_archives_would_differ() -> None:
    with pytest.raises(ModelError, match="devices differ"):
        SpreadCodec(Shows, devices.on_cores(2, 3))  # type: ignore[arg-type]


def test_errors_that_are_not_ours() -> None:
    codec = SpreadCodec(Odd, devices.on_cores(1, 1))  # type: ignore[arg-type]
    with pytest.raises(ModelError, match="ZeroDivisionError: by zero"):
        codec.encode(BLOCKS)
    assert not codec.usable


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    """What a command has that names two GPUs, which are made up: their workers run on cores."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    monkeypatch.setattr(devices, "on_gpus", lambda gpus, threads: devices.on_cores(len(gpus), threads))
    yield Settings(Console(), level=1, model=TINY, model_required=True, device="cuda:1,cuda:0")
    engines.forget_workers()


def spread(codec: BlockCodec) -> SpreadCodec:
    assert isinstance(codec, SpreadCodec)
    return codec


def test_devices_of_the_command_line(two_gpus: Settings) -> None:
    """One set of workers serves file after file, as long as they want the same."""
    codec = spread(engines.encoder(two_gpus))
    assert engines.encoder(two_gpus) is codec
    payloads = codec.encode(BLOCKS)
    assert payloads == payloads_of_one()
    other = spread(engines.decoder(two_gpus, codec.id))
    assert other is not codec
    assert engines.decoder(two_gpus, replace(codec.id)) is other
    assert not codec.usable
    assert other.decode([(p, len(b)) for p, b in zip(payloads, BLOCKS, strict=True)]) == BLOCKS
    with pytest.raises(ModelError, match="leaves 2 devices"):
        engines.encoder(replace(two_gpus, device="cuda:2"))


def test_the_file_after_a_death_has_new_workers(two_gpus: Settings) -> None:
    first = spread(engines.encoder(two_gpus))
    first._workers[1].process.kill()
    with pytest.raises(ModelError, match="exit code -9"):
        first.encode(BLOCKS)
    second = spread(engines.encoder(two_gpus))
    assert second.encode(BLOCKS) == payloads_of_one()
    second._workers[0].process.kill()  # between two files
    second._workers[0].process.join()
    assert spread(engines.encoder(two_gpus)).encode(BLOCKS[:1]) == payloads_of_one()[:1]


def test_numpy_computes_in_several_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where content is long enough and there are cores: much of the time goes to Python, which has one."""
    monkeypatch.setenv("NACRITH_ENGINE", "numpy")
    settings = Settings(Console(), level=1, model=TINY, model_required=True, threads=2)
    for alone, size in ((settings, (1 << 19) - 1), (settings, None), (replace(settings, threads=1), 1 << 20)):
        assert not isinstance(engines.encoder(alone, size), SpreadCodec)
    try:
        codec = spread(engines.encoder(settings, 1 << 19))
        payloads = codec.encode(SHORT)
        assert payloads == tiny().encode(SHORT)
        back = spread(engines.decoder(settings, codec.id, 1 << 19))
        assert back.decode([(p, len(b)) for p, b in zip(payloads, SHORT, strict=True)]) == SHORT
    finally:
        engines.forget_workers()


@needs_library
def test_the_native_engine_computes_in_one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """It has threads of its own."""
    monkeypatch.setenv("NACRITH_ENGINE", "native")
    settings = Settings(Console(), level=1, model=TINY, model_required=True, threads=2)
    assert not isinstance(engines.encoder(settings, 1 << 20), SpreadCodec)


FAKE_GPUS = """\
import sys
from nacrith.cli import main
from nacrith.jobs import devices
devices.on_gpus = lambda gpus, threads: devices.on_cores(len(gpus), threads)
sys.exit(main())
"""


def test_commands_over_two_gpus(tmp_path: Path) -> None:
    """Made up as above. Bytes are those of one process; a file that fails does not end the others."""
    here = {"cwd": tmp_path, "env": environment(CUDA_VISIBLE_DEVICES="0,1")}
    gpus = ["--device", "cuda:0,cuda:1", "-q"]

    def run(*arguments: str) -> int:
        return subprocess.run([sys.executable, "-c", FAKE_GPUS, *arguments], **here, check=False).returncode

    contents = {"a": PROSE, "b": PROSE[200:900], "empty": b""}
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    assert run("compress", *gpus, "a", "no-such-file", "b", "empty") == 1
    for name in contents:
        assert nacrith("compress", "-qc", name, cwd=tmp_path).out == (tmp_path / f"{name}.nac").read_bytes()
        (tmp_path / name).unlink()
    (tmp_path / "bad.nac").write_bytes((tmp_path / "a.nac").read_bytes()[:-9])
    assert run("decompress", *gpus, "bad.nac", "a.nac", "b.nac", "empty.nac") == 1
    assert {name: (tmp_path / name).read_bytes() for name in contents} == contents
    outputs = ["--output-dir", "out", "--manifest", "m.jsonl"]
    assert run("batch", *gpus, "a", "b", "empty", *outputs) == 0
    for name in contents:
        assert (tmp_path / "out" / f"{name}.nac").read_bytes() == (tmp_path / f"{name}.nac").read_bytes()


@pytest.mark.skipif(importlib.util.find_spec("torch") is not None, reason="torch is installed")
def test_a_gpu_without_torch_ends_in_our_error(tmp_path: Path) -> None:
    (tmp_path / "text").write_bytes(TEXT)
    result = nacrith("compress", "--device", "cuda:0", "text", cwd=tmp_path)
    assert result.code == 1
    assert result.said("torch")
    assert [path.name for path in tmp_path.iterdir()] == ["text"]
