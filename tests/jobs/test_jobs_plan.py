"""Plan, shards, manifest and devices of a batch: everything that happens without a worker."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nacrith.errors import ModelError
from nacrith.jobs import devices
from nacrith.jobs.manifest import Manifest, ManifestError, file_hash, is_done
from nacrith.jobs.plan import Job, Plan, PlanError, Shard, kept_path, plan, shard
from nacrith.settings import Resources


def rename(name: str, path: str) -> str | None:
    return None if name.endswith(".z") else name + ".z"


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """a/x.txt, a/big.bin, a/b/x.txt, a/b/old.z and an output directory inside a."""
    monkeypatch.chdir(tmp_path)
    for name, size in (("x.txt", 3), ("big.bin", 9), ("b/x.txt", 4), ("b/old.z", 1), ("out/x.txt.z", 7)):
        path = tmp_path / "a" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes(size))
    return tmp_path


def outputs(made: Plan) -> dict[str, str]:
    return {job.file: job.output for job in made.jobs if not job.problem}


def problems(made: Plan) -> dict[str, str]:
    return {job.file: job.problem for job in made.jobs if job.problem}


def test_a_directory_largest_first_without_outputs_and_manifest(tree: Path) -> None:
    (tree / "a" / "out" / "other").write_bytes(b"of an earlier batch")
    (tree / "a" / "m.jsonl").write_bytes(b"")
    made = plan(["a"], "a/out", rename, "a/m.jsonl")
    assert list(outputs(made).items()) == [
        ("a/big.bin", "a/out/a/big.bin.z"),
        ("a/b/x.txt", "a/out/a/b/x.txt.z"),
        ("a/x.txt", "a/out/a/x.txt.z"),
    ]
    assert [job.size for job in made.jobs] == [9, 4, 3]
    assert all(os.path.isabs(job.source) and os.path.isabs(job.target) for job in made.jobs)
    assert made.skipped == []
    assert made.left_out == ["a/b/old.z"]
    assert problems(made) == {}


def test_the_output_directory_may_be_the_present_one(tree: Path) -> None:
    assert set(outputs(plan(["a/b", "a/x.txt"], ".", rename)).values()) == {"./a/b/x.txt.z", "./a/x.txt.z"}


def test_patterns(tree: Path) -> None:
    found = {"a/x.txt", "a/b/x.txt"}
    assert set(outputs(plan(["a/**/*.txt"], "o", rename))) == found
    assert set(outputs(plan(["a/**/*.txt*"], "a/out", rename))) == found
    (tree / "a" / "[x].txt").touch()
    assert set(outputs(plan(["a/[x].txt"], "o", rename))) == {"a/[x].txt"}


def test_files_that_are_named_twice_are_done_once(tree: Path) -> None:
    assert len(plan(["a", "./a/x.txt", "a/b/../x.txt", "a/*.txt"], "o", rename).jobs) == 3


def test_what_is_skipped_and_what_is_a_problem(tree: Path) -> None:
    os.mkfifo(tree / "a" / "fifo")
    os.symlink("nowhere", tree / "a" / "dangling")
    os.symlink("..", tree / "a" / "b" / "up")
    made = plan(["a", "a/b/old.z", "none", "no*ne", "a/fifo"], "o", rename)
    assert made.skipped == ["a/b/old.z"]
    assert made.left_out == ["a/out/x.txt.z"]
    assert len(outputs(made)) == 3
    assert set(problems(made)) == {"none", "no*ne", "a/fifo", "a/dangling"}


def test_inputs_that_would_share_an_output(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tree / "a" / "b")
    with pytest.raises(PlanError, match=r"both become o/x\.txt\.z"):
        plan(["x.txt", "../x.txt"], "o", rename)


def test_an_output_that_is_an_input(tree: Path) -> None:
    (tree / "y").touch()
    (tree / "y.z").touch()
    with pytest.raises(PlanError, match=r"would overwrite y\.z"):
        plan(["y", "y.z"], ".", lambda name, path: name + ".z")


@pytest.mark.parametrize(
    ("path", "kept"),
    [
        ("a", "a"),
        ("./a/b", "a/b"),
        ("/a/b", "a/b"),
        ("../../a", "a"),
        ("a/../b", "b"),
        ("//a", "a"),
        ("..", ""),
    ],
)
def test_paths_are_kept_as_tar_keeps_them(path: str, kept: str) -> None:
    assert kept_path(path) == kept


@settings(max_examples=30)
@given(st.sets(st.text(min_size=1), max_size=20), st.integers(1, 9))
def test_every_file_is_in_exactly_one_shard(names: set[str], count: int) -> None:
    jobs = [Job(name, kept=name) for name in names]
    parts = [Shard(i, count).of(jobs) for i in range(count)]
    assert sorted(job.file for part in parts for job in part) == sorted(names)


def test_a_shard_stays_what_it_was() -> None:
    """Another release, or a file more, must not move files to other shards."""
    jobs = [Job(name, kept=name) for name in "abcdefgh"]
    assert [job.file for job in Shard(0, 3).of(jobs)] == ["f"]


@pytest.mark.parametrize(
    ("text", "environment", "expected"),
    [
        ("0/1", {}, Shard(0, 1)),
        ("2/3", {"SLURM_ARRAY_TASK_ID": "0"}, Shard(2, 3)),
        ("slurm", {"ID": "3", "COUNT": "4", "MIN": "0", "MAX": "3"}, Shard(3, 4, guessed=True)),
        ("slurm/10", {"ID": "3", "COUNT": "2", "MIN": "3", "MAX": "7"}, Shard(3, 10)),
        ("slurm/10", {"ID": "0", "COUNT": "1", "MIN": "0", "MAX": "0"}, Shard(0, 10)),
    ],
)
def test_shard_is_read(text: str, environment: dict[str, str], expected: Shard) -> None:
    assert shard(text, {f"SLURM_ARRAY_TASK_{k}": v for k, v in environment.items()}) == expected


@pytest.mark.parametrize(
    "text", ["3/3", "1", "a/b", "-1/3", "1/0", "/", "slurm", "slurm/", "slurm/5", "/slurm", "0/" + "9" * 5000]
)
def test_bad_shards(text: str) -> None:
    with pytest.raises(PlanError, match="shard"):
        shard(text, {"SLURM_ARRAY_TASK_ID": "5", "SLURM_ARRAY_TASK_COUNT": "3"})


@pytest.mark.parametrize(
    ("again", "minimum", "maximum", "count"),
    [((5,), 5, 5, 1), ((3, 7), 3, 7, 2), ((3, 4), 3, 4, 2), ((0, 2), 0, 2, 2), ((1, 2, 3), 1, 3, 3)],
)
def test_an_array_submitted_again_in_part(
    again: tuple[int, ...], minimum: int, maximum: int, count: int
) -> None:
    """Its tasks have the shards that they had, or none."""
    for task in again:
        told = {"ID": task, "COUNT": count, "MIN": minimum, "MAX": maximum, "STEP": 1}
        environment = {f"SLURM_ARRAY_TASK_{k}": str(v) for k, v in told.items()}
        assert shard("slurm/10", environment) == Shard(task, 10)
        with pytest.raises(PlanError, match="slurm/n, n being"):
            shard("slurm", environment)


# --- manifest ---------------------------------------------------------------------------------------


def done(**changes: object) -> dict[str, object]:
    return {"file": "f", "output": "o", "status": "done", "mode": "compress"} | changes


def test_manifest_lasts_and_its_last_word_counts(tmp_path: Path) -> None:
    path, job = tmp_path / "m", Job("f\udcff", "o")
    first = Manifest(str(path))
    assert first.record(job) is None
    first.append(done(file="f\udcff"))
    first.append(done(file="f\udcff", status="failed"))
    first.close()
    again = Manifest(str(path))
    record = again.record(job)
    again.close()
    assert record == done(file="f\udcff", status="failed")
    assert again.has_made(job)
    assert [json.loads(line)["status"] for line in path.read_text().splitlines()] == ["done", "failed"]


def test_manifest_outlives_a_torn_line(tmp_path: Path) -> None:
    path = tmp_path / "m"
    path.write_text(json.dumps(done()) + '\n{"file": "g", "outp')
    manifest = Manifest(str(path))
    manifest.append(done(file="h"))
    manifest.close()
    assert manifest.damaged == 1
    again = Manifest(str(path))
    again.close()
    assert again.record(Job("f", "o"))
    assert again.record(Job("h", "o"))


@pytest.mark.parametrize("content", ["a book\nof text\n", "a book", "[1]\n", '{"x": 1}\n'])
def test_another_file_is_no_manifest(content: str, tmp_path: Path) -> None:
    path = tmp_path / "book.txt"
    path.write_text(content)
    with pytest.raises(ManifestError, match="no manifest"):
        Manifest(str(path))
    assert path.read_text() == content


@pytest.mark.parametrize(
    "line", ['{"file": ' + "[" * 200_000, '{"size": ' + "9" * 5000 + "}", '{"size": 1e999}']
)
def test_json_that_is_not_read_is_a_damaged_line(line: str, tmp_path: Path) -> None:
    path = tmp_path / "m"
    path.write_text(f"{json.dumps(done())}\n{line}\n")
    manifest = Manifest(str(path))
    manifest.close()
    assert manifest.damaged == 1
    assert manifest.record(Job("f", "o"))
    path.write_text(line + "\n")
    with pytest.raises(ManifestError, match="no manifest"):
        Manifest(str(path))


@pytest.mark.parametrize("mode", ["compress", "decompress"])
def test_done_is_believed_only_if_both_files_bear_it_out(mode: str, tmp_path: Path) -> None:
    source, target = tmp_path / "f", tmp_path / "o"
    source.write_bytes(b"source")
    target.write_bytes(b"target")
    job = Job("f", "o", str(source), str(target), size=6)
    hashes = [file_hash(str(source)), file_hash(str(target))][:: 1 if mode == "compress" else -1]
    sizes = {"size": 6, "output_size": 6, "sha256": hashes[0], "archive_sha256": hashes[1]}
    record = done(mode=mode, level=6, **sizes)
    how = {"mode": mode, "level": 6}
    assert is_done(record, job, how)
    assert not is_done(None, job, how)
    assert not is_done(record | {"status": "failed"}, job, how)
    assert not is_done(record, job, how | {"level": 7})
    assert not is_done(record | {"sha256": hashes[1]}, job, how)
    for path in (source, target):
        old = path.read_bytes()
        path.write_bytes(b"change")
        assert not is_done(record, job, how)
        path.write_bytes(old)
    target.unlink()
    assert not is_done(record, job, how)


# --- devices ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "visible", "expected"),
    [
        ("cuda:0,cuda:1", None, ["0", "1"]),
        ("cuda", None, ["0"]),
        ("cuda:1", "5,GPU-x", ["GPU-x"]),
        ("all", None, ["0", "1", "2"]),
        ("all", "7,5,3", ["7", "5", "3"]),
    ],
)
def test_gpus(text: str, visible: str | None, expected: list[str]) -> None:
    environment = {} if visible is None else {"CUDA_VISIBLE_DEVICES": visible}
    assert devices.gpus(text, environment, lambda: 3) == expected


@pytest.mark.parametrize(
    ("text", "visible", "words"),
    [
        ("gpu0", None, "write cpu, all"),
        ("cuda:0,", None, "write cpu, all"),
        ("cuda:1,cuda:1", None, "twice"),
        ("cuda:1", "7", "leaves 1 devices"),
        ("cuda:0", "", "leaves 0 devices"),
        ("all", None, "no CUDA device"),
    ],
)
def test_gpus_that_are_not_there(text: str, visible: str | None, words: str) -> None:
    environment = {} if visible is None else {"CUDA_VISIBLE_DEVICES": visible}
    with pytest.raises(ModelError, match=words):
        devices.gpus(text, environment, lambda: 0)


@pytest.mark.parametrize(
    ("threads", "files", "workers"), [(1, 9, 1), (2, 9, 2), (4, 9, 4), (8, 9, 4), (64, 99, 16), (64, 3, 3)]
)
def test_workers_by_cores(threads: int, files: int, workers: int) -> None:
    assert devices.core_workers(threads, files) == workers


@given(st.integers(1, 40), st.integers(1, 200))
def test_threads_are_divided(workers: int, threads: int) -> None:
    shares = [resources.threads for resources in devices.on_cores(workers, threads)]
    assert sum(shares) == max(threads, workers)
    assert max(shares) - min(shares) <= 1


def test_cpu_hides_the_gpus() -> None:
    assert devices.on_cores(1, 2, "cpu") == [Resources(2, device="cpu", visible_gpus="")]
