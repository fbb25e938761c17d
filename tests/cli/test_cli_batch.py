"""`nacrith batch`: what is made, recorded, resumed and survived. Without a model: test_jobs_*."""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from clirunner import COMMAND, MODEL, PATIENCE, TEXT, Result, environment, hearing, nacrith, wait_until

from nacrith.cli.console import ERROR, OK, WARNING
from nacrith.cli.console import MODEL as MODEL_CODE

FILES = {
    "in/a.txt": TEXT,
    "in/b.txt": TEXT.upper(),
    "in/deep/noise": random.Random(1).randbytes(500),
    "in/deep/empty": b"",
    "in/deep/er/\udcff": TEXT[:40],
}
INTO = ["--output-dir", "out", "--manifest", "m.jsonl"]


def write(directory: Path, files: dict[str, bytes]) -> None:
    for name, content in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def everything(directory: Path) -> dict[str, bytes]:
    """All files below `directory`, temporary ones too."""
    return {str(p.relative_to(directory)): p.read_bytes() for p in directory.rglob("*") if p.is_file()}


def records(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """FILES, put through `nacrith batch` by two workers along with a file that is not there."""
    directory = tmp_path_factory.mktemp("batch")
    write(directory, FILES)
    done = nacrith("batch", *INTO, "-j2", "in", "missing", cwd=directory)
    assert done.code == ERROR
    assert done.said("missing: no such file", "1 of 6 files failed")
    assert done.out == b""
    return directory


@pytest.fixture
def copy(made: Path, tmp_path: Path) -> Path:
    shutil.copytree(made, tmp_path / "copy", symlinks=True)
    return tmp_path / "copy"


def test_bytes_are_those_of_the_single_command(copy: Path) -> None:
    assert nacrith("compress", *FILES, cwd=copy).code == OK
    assert everything(copy / "out") == {f"{name}.nac": (copy / f"{name}.nac").read_bytes() for name in FILES}
    times = [(copy / place / "in/a.txt.nac").stat().st_mtime_ns for place in (".", "out")]
    assert times[0] == times[1] == (copy / "in/a.txt").stat().st_mtime_ns


def test_manifest_says_what_was_done(made: Path) -> None:
    lines = {record["file"]: record for record in records(made / "m.jsonl")}
    assert sorted(lines) == sorted([*FILES, "missing"])
    for name, content in FILES.items():
        record = lines[name]
        output = made / record["output"]
        assert record["output"] == f"out/{name}.nac"
        assert (record["status"], record["error"]) == ("done", None)
        assert (record["size"], record["output_size"]) == (len(content), output.stat().st_size)
        assert record["sha256"] == subprocess.check_output(["sha256sum"], input=content).split()[0].decode()
        assert record["seconds"] >= 0
    assert (lines["missing"]["status"], lines["missing"]["sha256"]) == ("failed", None)
    assert "no such file" in lines["missing"]["error"]


def test_resumes(copy: Path) -> None:
    """Done again: an input that has changed, an output that has, one that is gone, and what failed."""
    before, known = everything(copy / "out"), len(records(copy / "m.jsonl"))
    no_worker = nacrith("batch", *INTO, "in", cwd=copy, NACRITH_ENGINE="none")  # it could not load a model
    assert no_worker == Result(OK, b"", "")
    (copy / "in/a.txt").write_bytes(TEXT[:30])
    (copy / "out/in/b.txt.nac").write_bytes(b"damaged")
    (copy / "out/in/deep/empty.nac").unlink()
    (copy / "missing").write_bytes(TEXT[:30])
    assert nacrith("batch", *INTO, "in", "missing", cwd=copy).code == OK
    new = records(copy / "m.jsonl")[known:]
    assert {record["file"] for record in new} == {"in/a.txt", "in/b.txt", "in/deep/empty", "missing"}
    assert {record["status"] for record in new} == {"done"}
    after = everything(copy / "out")
    changed = {"in/a.txt.nac", "missing.nac"}
    assert {name: after[name] for name in after.keys() - changed} == {
        name: before[name] for name in before.keys() - changed
    }
    assert after["missing.nac"] == after["in/a.txt.nac"] != before["in/a.txt.nac"]


def test_outputs_that_no_manifest_knows(copy: Path) -> None:
    """What is right is taken over; what is not ours is not overwritten unless that is asked for."""
    (copy / "m.jsonl").unlink()
    (copy / "out/in/b.txt.nac").write_bytes(b"of value")
    before = everything(copy / "out")
    done = nacrith("batch", *INTO, "-q", "in", cwd=copy)
    assert done.code == ERROR
    assert done.said("in/b.txt: ", "exists already, with other content", "-f", "1 of 5 files failed")
    assert everything(copy / "out") == before
    assert sorted(r["status"] for r in records(copy / "m.jsonl")) == ["done"] * 4 + ["failed"]
    assert nacrith("batch", *INTO, "-f", "in/b.txt", cwd=copy).code == OK
    assert (copy / "out/in/b.txt.nac").read_bytes() != b"of value"


def test_files_after_a_prefix(tmp_path: Path) -> None:
    """The bytes of the single command; the manifest knows by which prefix; the way back takes it too."""
    write(tmp_path, {"in/a": TEXT[:90], "in/b": TEXT[20:200], "prefix": TEXT[:120], "other": TEXT[50:150]})
    digest = hashlib.sha256(TEXT[:120]).hexdigest()

    def run(*arguments: str) -> Result:
        return nacrith("batch", *INTO, "-q", "in", *arguments, cwd=tmp_path)

    assert run("--prefix", "prefix") == Result(OK, b"", "")
    assert nacrith("compress", "-q", "--prefix", "prefix", "in/a", "in/b", cwd=tmp_path).code == OK
    for name in ("in/a.nac", "in/b.nac"):
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / name).read_bytes()
        (tmp_path / name).unlink()
    assert [record["prefix"] for record in records(tmp_path / "m.jsonl")] == [digest] * 2
    assert run("--prefix", "prefix").code == OK
    assert len(records(tmp_path / "m.jsonl")) == 2
    back = ["batch", "-d", "--output-dir", "back", "--manifest", "back.jsonl", "out"]
    for wrong in ([], ["--prefix", "other"]):
        done = nacrith(*back, *wrong, cwd=tmp_path)
        assert done.code == ERROR
        assert done.said("out/in/a.nac: ", digest[:16], "2 of 2 files failed")
        assert not everything(tmp_path / "back")
    assert nacrith(*back, "--prefix", "prefix", cwd=tmp_path).code == OK
    assert everything(tmp_path / "back/out/in") == {"a": TEXT[:90], "b": TEXT[20:200]}
    assert run("--prefix", "other").code == OK
    assert len(records(tmp_path / "m.jsonl")) == 4


def test_the_way_back_goes_on_after_a_damaged_archive(copy: Path) -> None:
    damaged = copy / "out/in/b.txt.nac"
    damaged.write_bytes(damaged.read_bytes()[:-1])
    back = ["batch", "-d", "--output-dir", "back", "--manifest", "back.jsonl", "out"]
    done = nacrith(*back, cwd=copy)
    assert done.code == ERROR
    assert done.said("out/in/b.txt.nac: ", "truncated")
    assert everything(copy / "back/out") == {n: c for n, c in FILES.items() if n != "in/b.txt"}
    assert nacrith("compress", "-fo", damaged, "in/b.txt", cwd=copy).code == OK
    assert nacrith(*back, cwd=copy).code == OK
    assert everything(copy / "back/out") == FILES
    assert len(records(copy / "back.jsonl")) == len(FILES) + 1


def test_shards_divide_the_work(copy: Path) -> None:
    shutil.rmtree(copy / "out")
    for part, extra in (("0/2", {}), ("slurm", slurm(1, 2))):
        into = ["--output-dir", "out", "--manifest", f"{part[0]}.jsonl"]
        assert nacrith("batch", *into, "--shard", part, "in", cwd=copy, **extra).code == OK
    first, second = ({r["file"] for r in records(copy / f"{name}.jsonl")} for name in "0s")
    assert first
    assert second
    assert first.isdisjoint(second)
    assert first | second == set(FILES)
    assert nacrith("batch", *INTO, "--shard", "2/2", "in", cwd=copy).said("--shard 2/2", "counts from 0")


def slurm(task: int, count: int) -> dict[str, str]:
    """What SLURM sets in a task of an array of tasks 0 to count - 1."""
    told = {"ID": task, "COUNT": count, "MIN": 0, "MAX": count - 1}
    return {f"SLURM_ARRAY_TASK_{name}": str(value) for name, value in told.items()}


def test_the_first_tasks_of_an_array_submitted_again(copy: Path) -> None:
    """They look like a whole one; the manifest tells that they are not."""
    into = ["batch", "--output-dir", "out", "--manifest", "task.jsonl", "in"]
    assert nacrith(*into, "--shard", "slurm", cwd=copy, **slurm(0, 3)).code == OK
    before = records(copy / "task.jsonl")
    assert before
    assert {record["shard"] for record in before} == {"0/3"}
    again = nacrith(*into, "--shard", "slurm", cwd=copy, **slurm(0, 2))
    assert again.code == ERROR
    assert again.said("has 2 tasks", "shard 0/3", "--shard slurm/3")
    assert nacrith(*into, "--shard", "slurm/3", cwd=copy, **slurm(0, 2)) == Result(OK, b"", "")
    assert records(copy / "task.jsonl") == before


def test_what_ends_a_batch_before_any_work(copy: Path) -> None:
    write(copy.parent, {"in/a.txt": b"another"})
    before = everything(copy)
    for arguments, code, words in (
        (["-m", "no-such-model", "-9", "in"], MODEL_CODE, ["no-such-model"]),
        (["--backend", "transformers", "-9", "in"], ERROR, ["transformers"]),
        (["in", "../in"], ERROR, ["in/a.txt and ../in/a.txt would both become out/in/a.txt.nac"]),
        (["--device", "tpu", "-9", "in"], ERROR, ["--device tpu", "cuda:0"]),
        (["--manifest", "in/a.txt", "in"], ERROR, ["in/a.txt is not a manifest"]),
        (["--manifest", "no/m", "in"], ERROR, ["cannot open the manifest no/m"]),
        (["in/a.txt.nac"], WARNING, ["already has the suffix"]),
    ):
        (copy / "in/a.txt.nac").touch()
        done = nacrith("batch", *INTO, *arguments, cwd=copy)
        (copy / "in/a.txt.nac").unlink()
        assert done.code == code, done
        assert done.said(*words), done
        assert everything(copy) == before


def test_what_is_left_out_is_counted(copy: Path) -> None:
    write(copy, {"in/old.nac": b"", "in/deep/older.nac": b""})
    (copy / "m.jsonl").unlink()
    before = everything(copy / "out")
    done = nacrith("batch", *INTO, "in", cwd=copy)
    assert done.code == WARNING
    assert done.said("2 files found with the suffix .nac left out, such as in/", "-f")
    assert nacrith("batch", *INTO, "-v", "in/*.nac", cwd=copy).said("in/old.nac: already has", "1 file found")
    assert everything(copy / "out") == before
    back = ["batch", "-d", "--output-dir", "back", "--manifest", "back.jsonl"]
    write(copy, {"out/read.me": b"x"})
    done = nacrith(*back, "out", cwd=copy)
    assert done.code == WARNING
    assert done.said("1 file found without the suffix .nac left out, such as out/read.me")
    assert everything(copy / "back/out") == FILES
    assert nacrith("batch", *INTO, "-f", "in", cwd=copy).code == OK
    assert everything(copy / "out").keys() - before.keys() == {
        "in/old.nac.nac",
        "in/deep/older.nac.nac",
        "read.me",
    }


LESS = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.geteuid() == 0 else []
"""Before a command, so that permissions count for it."""


@pytest.mark.parametrize(
    "command", [["batch", *INTO], ["compress", "-k"], ["-d", "-f"], ["test"], ["info"]], ids=lambda c: c[0]
)
def test_one_file_that_may_not_be_read(command: list[str], copy: Path) -> None:
    """It fails, and the others are done."""
    suffix = "" if command[0] in ("batch", "compress") else ".nac"
    place = copy / "in" if not suffix else copy / "out/in"
    (place / f"b.txt{suffix}").chmod(0)
    files = [str(place / f"{name}.txt{suffix}") for name in "ba"]
    run = [*LESS, *COMMAND, *command, *files]
    done = subprocess.run(run, capture_output=True, cwd=copy, env=environment(), timeout=PATIENCE, text=True)
    assert done.returncode == ERROR
    assert f"nacrith: {files[0]}: permission denied" in done.stderr
    assert "a.txt" not in done.stderr
    assert "a.txt" in done.stdout if command[0] in ("test", "info") else not done.stdout
    if command[0] == "batch":
        assert {r["file"]: r["status"] for r in records(copy / "m.jsonl")[-2:]} == {
            files[0]: "failed",
            files[1]: "done",
        }


def test_a_directory_that_may_not_be_read(copy: Path) -> None:
    """Not even on the way back, where other names are left out."""
    (copy / "out/in/deep").chmod(0)
    run = [*LESS, *COMMAND, "batch", "-d", "--output-dir", "back", "--manifest", "back.jsonl", "out"]
    done = subprocess.run(run, capture_output=True, cwd=copy, env=environment(), timeout=PATIENCE, text=True)
    (copy / "out/in/deep").chmod(0o755)
    assert done.returncode == ERROR
    assert "out/in/deep: permission denied" in done.stderr
    assert set(everything(copy / "back/out")) == {"in/a.txt", "in/b.txt"}


def start(directory: Path) -> tuple[subprocess.Popen[bytes], int]:
    """A batch of a small file and one of many seconds; it, and the process id of the worker at the latter."""
    words = random.Random(1).choices(sorted(set(TEXT.split())), k=30_000)
    write(directory, {"in/long": b" ".join(words), "in/short": TEXT})
    arguments = ["batch", *INTO, "-j2", "in"]
    with hearing(signal.SIGINT):
        process = subprocess.Popen(
            [*COMMAND, *arguments],
            cwd=directory,
            env=environment(),
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
    manifest, output = directory / "m.jsonl", directory / "out/in"
    wait_until(lambda: manifest.exists() and len(records(manifest)) == 1 and len(writers(output)) == 1)
    return process, writers(output)[0]


def writers(directory: Path) -> list[int]:
    """The processes that have a file open in `directory`, be it one without a name."""
    found = set()
    for link in Path("/proc").glob("[0-9]*/fd/*"):
        with suppress(OSError):
            if os.path.dirname(os.readlink(link)) == str(directory):
                found.add(int(link.parts[2]))
    return sorted(found)


def test_interrupted(tmp_path: Path) -> None:
    process, worker = start(tmp_path)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: the workers hear it too
    _, said = process.communicate(timeout=PATIENCE)
    assert process.returncode == -signal.SIGINT
    assert Result.of(0, b"", said).err == ""
    assert set(everything(tmp_path / "out")) == {"in/short.nac"}
    assert [record["file"] for record in records(tmp_path / "m.jsonl")] == ["in/short"]
    with pytest.raises(ProcessLookupError):
        os.kill(worker, 0)


def test_killed_worker(tmp_path: Path) -> None:
    """Its file gets another one; it takes that with it too, and all that is left of it is a record."""
    process, worker = start(tmp_path)
    os.kill(worker, signal.SIGKILL)
    output = tmp_path / "out/in"

    wait_until(lambda: len(writers(output)) == 1 and writers(output) != [worker])
    os.kill(writers(output)[0], signal.SIGKILL)
    _, said = process.communicate(timeout=PATIENCE)
    assert process.returncode == ERROR
    assert b"in/long: its worker died 2 times (SIGKILL)" in said
    assert set(everything(tmp_path / "out")) == {"in/short.nac"}
    statuses = {record["file"]: record["status"] for record in records(tmp_path / "m.jsonl")}
    assert statuses == {"in/short": "done", "in/long": "failed"}


def test_ray(copy: Path) -> None:
    pytest.importorskip("ray", reason='Ray is not installed (pip install "nacrith[ray]")')
    expected = everything(copy / "out")
    shutil.rmtree(copy / "out")
    done = nacrith("batch", *INTO, "-f", "--executor", "ray", "in", "missing", cwd=copy, RAY_ADDRESS="")
    assert done.code == ERROR
    assert "missing: no such file" in done.err
    assert everything(copy / "out") == expected


def test_model_is_loaded_from_the_environment_as_elsewhere(tmp_path: Path) -> None:
    write(tmp_path, {"f": TEXT})
    done = nacrith("batch", *INTO, "-v", "f", cwd=tmp_path, NACRITH_MODEL=str(MODEL), NACRITH_LEVEL="9")
    assert done.said("model tiny", "f: ")
    assert records(tmp_path / "m.jsonl")[0]["level"] == 9
