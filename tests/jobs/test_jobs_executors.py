"""Both executors: every job ends exactly once, whatever its worker does; each worker has its device."""

from __future__ import annotations

import importlib.util
import logging
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import job_workers
import pytest
from paths import ROOT

from nacrith.errors import ModelMissingError
from nacrith.jobs import devices
from nacrith.jobs.local import LocalExecutor
from nacrith.jobs.plan import Job
from nacrith.jobs.pool import (
    Died,
    Executor,
    Finished,
    Outcome,
    Progress,
    Queue,
    Said,
    WorkerError,
    bundled,
)
from nacrith.jobs.ray_pool import RayExecutor, capacity

ORDERS = {
    "meet1": "meet",
    "meet2": "meet",
    "poison": "poison",
    "bad": "fail",
    "unlucky": "die once",
    "a": "",
    "b": "",
    "c": "",
}


def jobs(directory: Path, orders: dict[str, str]) -> list[Job]:
    made = []
    for name, order in orders.items():
        path = directory / f"{name}.txt"
        path.write_text(order)
        made.append(Job(name, source=str(path), size=5))
    return made


def everything_ends_once(executor: Executor, directory: Path) -> dict[str, Outcome]:
    """Run ORDERS; the outcomes by name."""
    events = list(executor.run([[job] for job in jobs(directory, ORDERS)]))
    finished = [event for event in events if isinstance(event, Finished)]
    outcomes = {event.job.file: event.outcome for event in finished}
    assert sorted(event.job.file for event in finished) == sorted(ORDERS)
    assert outcomes["bad"].error == "it says fail"
    assert "worker died 2 times" in outcomes["poison"].error
    assert {name for name, outcome in outcomes.items() if outcome.error} == {"bad", "poison"}
    died = sorted(event.job.file for event in events if isinstance(event, Died))
    assert died == ["poison", "poison", "unlucky"]
    assert Said(1, "ready", "") in events
    return outcomes


def test_local_workers_each_with_a_gpu(tmp_path: Path) -> None:
    """The devices are made up: the workers only show what they would see of them."""
    chosen = devices.gpus("cuda:1,cuda:0", {"CUDA_VISIBLE_DEVICES": "4,GPU-7f"})
    outcomes = everything_ends_once(LocalExecutor(job_workers.start, devices.on_gpus(chosen, 3)), tmp_path)
    of_worker: dict[str, set[str]] = {}
    for outcome in outcomes.values():
        if not outcome.error:
            of_worker.setdefault(outcome.archive_sha256, set()).add(outcome.sha256)
    expected = {
        f"CUDA_VISIBLE_DEVICES={device} NACRITH_ENGINE=torch NACRITH_DEVICE=cuda:0 threads=1"
        for device in ("GPU-7f", "4")
    }
    assert all(len(shown) == 1 for shown in of_worker.values())
    assert set.union(*of_worker.values()) == expected
    assert outcomes["meet1"].sha256 != outcomes["meet2"].sha256
    assert "CUDA_VISIBLE_DEVICES" not in os.environ or os.environ["CUDA_VISIBLE_DEVICES"] not in chosen


def test_local_stop_ends_the_workers(tmp_path: Path) -> None:
    executor = LocalExecutor(job_workers.start, devices.on_cores(1, 1))
    events = executor.run([[job] for job in jobs(tmp_path, {"endless": "never end", "other": ""})])
    assert next(events) == Said(1, "ready", "")
    progress = next(events)
    assert isinstance(progress, Progress)
    assert progress.job.file == "endless"
    (died,) = executor.stop()
    assert died.job.file == "endless"
    with pytest.raises(ProcessLookupError):
        os.kill(died.pid, 0)
    assert executor.stop() == []


@pytest.mark.parametrize(
    ("start", "error", "words"),
    [
        (job_workers.start_without_model, ModelMissingError, "no such model"),
        (job_workers.start_with_a_bug, WorkerError, "KeyError"),
        (job_workers.start_and_die, WorkerError, "SIGKILL"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_local_workers_that_cannot_start(
    start: object, error: type[Exception], words: str, tmp_path: Path
) -> None:
    executor = LocalExecutor(start, devices.on_cores(1, 1))  # type: ignore[arg-type]
    with pytest.raises(error, match=words):
        list(executor.run([jobs(tmp_path, {"a": "", "b": ""})]))


def test_queue_gives_a_job_one_more_try(tmp_path: Path) -> None:
    first, second = jobs(tmp_path, {"a": "", "b": ""})
    queue = Queue([(first,), (second,)])
    assert queue.take() == (first,)
    assert queue.died((first,), "SIGKILL") is None
    assert [queue.take(), queue.take(), queue.take()] == [(second,), (first,), None]
    last = queue.died((first,), "SIGKILL")
    assert last is not None
    assert "SIGKILL" in last.outcome.error
    assert len(queue) == 0


def test_bundles() -> None:
    """Small files share them evenly, large ones are alone, and nothing is lost."""
    made = [Job(str(n), size=n) for n in range(200, 0, -1)]
    bundles = bundled(made, small=190, bundles=2)
    assert [job.size for (job,) in bundles[:10]] == list(range(200, 190, -1))
    assert [len(bundle) for bundle in bundles[10:]] == [64, 63, 63]
    assert sorted(job.size for bundle in bundles for job in bundle) == list(range(1, 201))
    assert [len(bundle) for bundle in bundled(made[-7:], small=190, bundles=4)] == [2, 2, 2, 1]
    assert bundled([], 9, 4) == []


def a_bundle_ends(executor: Executor, directory: Path) -> None:
    """Its jobs are at work side by side; if one kills the worker, the others are done all the same."""
    poison = "poison those who meet"
    together = {"meet1": "meet", "meet2": "meet", "bad": "fail", "poison": poison, "x": "", "y": ""}
    events = list(executor.run([jobs(directory, together)]))
    errors = {e.job.file: e.outcome.error for e in events if isinstance(e, Finished)}
    assert sum(isinstance(event, Finished) for event in events) == len(together)
    assert errors.pop("bad") == "it says fail"
    assert "worker died 2 times" in errors.pop("poison")
    assert set(errors.values()) == {""}


def test_local_bundle(tmp_path: Path) -> None:
    executor = LocalExecutor(job_workers.start, devices.on_cores(1, 1))
    assert executor.workers == 1
    a_bundle_ends(executor, tmp_path)


# --- Ray --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    """Two cores and two GPUs that are not there: Ray believes what it is told."""
    ray = pytest.importorskip("ray", reason='Ray is not installed (pip install "nacrith[ray]")')
    path = os.pathsep.join([str(Path(job_workers.__file__).parent), str(ROOT)])
    ray.init(
        address="local",
        num_cpus=2,
        num_gpus=2,
        include_dashboard=False,
        log_to_driver=False,
        runtime_env={"env_vars": {"PYTHONPATH": path}},
    )
    yield
    ray.shutdown()


@pytest.mark.filterwarnings("default")  # of Ray's own
def test_ray_workers_each_with_a_gpu(cluster: None, tmp_path: Path) -> None:
    executor = RayExecutor(job_workers.start, workers=None, gpus=True, threads=None, files=9)
    assert len(executor.resources) == 2
    outcomes = everything_ends_once(executor, tmp_path)
    assert {outcomes[name].sha256 for name in ("meet1", "meet2")} == {
        f"CUDA_VISIBLE_DEVICES={device} NACRITH_ENGINE=torch NACRITH_DEVICE=cuda:0 threads=1"
        for device in "01"
    }


@pytest.mark.filterwarnings("default")
def test_ray_bundle(cluster: None, tmp_path: Path) -> None:
    executor = RayExecutor(job_workers.start, workers=1, gpus=False, threads=None, files=2)
    assert executor.workers == 1
    a_bundle_ends(executor, tmp_path)


@pytest.mark.filterwarnings("default")
def test_ray_worker_that_cannot_start(cluster: None, tmp_path: Path) -> None:
    executor = RayExecutor(job_workers.start_without_model, workers=1, gpus=False, threads=None, files=2)
    with pytest.raises(ModelMissingError, match="no such model"):
        list(executor.run([jobs(tmp_path, {"a": "", "b": ""})]))


def test_ray_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(WorkerError, match=r'pip install "nacrith\[ray\]"'):
        RayExecutor(job_workers.start, workers=1, gpus=False, threads=None, files=1)


@pytest.mark.parametrize(
    ("cores", "expected"),
    [
        ([2], (2, 1)),
        ([64], (16, 4)),
        ([2, 2, 2], (6, 1)),
        ([64, 0], (16, 4)),
        ([8, 64], (36, 2)),
        ([], (1, 1)),
    ],
)
def test_ray_capacity(cores: list[int], expected: tuple[int, int]) -> None:
    assert capacity(cores) == expected


def test_workers_do_not_inherit_locks(tmp_path: Path) -> None:
    """Started while other threads hold locks that every worker needs: to write, to log, to import."""
    hold, held = threading.Event(), threading.Event()

    def keep() -> None:
        with job_workers.LOCK, logging._lock:
            held.set()
            hold.wait()

    holder = threading.Thread(target=keep)
    holder.start()
    held.wait()
    try:
        executor = LocalExecutor(job_workers.start_with_lock, devices.on_cores(2, 2))
        events = list(executor.run([[job] for job in jobs(tmp_path, {"a": "", "b": ""})]))
    finally:
        hold.set()
        holder.join()
    finished = [event for event in events if isinstance(event, Finished)]
    assert sorted(event.job.file for event in finished) == ["a", "b"]
    assert not any(event.outcome.error for event in finished)
