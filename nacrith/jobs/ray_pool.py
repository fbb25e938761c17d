"""The Ray executor: the same jobs on the actors of a Ray cluster, on one machine or many.

RAY_ADDRESS names the cluster; without it Ray joins one that runs on this machine, or starts its own.
Inputs and outputs must be reachable by the same paths on every node. Plain actors and `ray.wait`
are used, since only they tell which file a dead worker had in hand. Ray is imported when an executor
is made, not before. https://docs.ray.io/en/latest/ray-core/actors.html
"""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from nacrith import settings
from nacrith.errors import sendable
from nacrith.jobs import devices
from nacrith.jobs.plan import Job
from nacrith.jobs.pool import (
    MOST_DEATHS,
    Bundle,
    Died,
    Event,
    Finished,
    Outcome,
    Progress,
    Queue,
    Said,
    Start,
    Work,
    WorkerError,
    side_by_side,
)
from nacrith.settings import Resources


class _Slot:
    """An actor, and what it has in hand. pid is None until it is ready."""

    def __init__(self, actor: Any, resources: Resources, early_deaths: int) -> None:
        self.actor = actor
        self.resources = resources
        self.early_deaths = early_deaths
        self.pid: int | None = None
        self.jobs: Bundle = ()


class RayExecutor:
    """At most `workers` actors (None: as many as the cluster holds), with a GPU each or with cores.

    threads: of all workers together; None for all cores of the cluster.
    """

    def __init__(
        self, start: Start, *, workers: int | None, gpus: bool, threads: int | None, files: int
    ) -> None:
        if importlib.util.find_spec("ray") is None:
            raise WorkerError('--executor ray: ray is not installed; run: pip install "nacrith[ray]"')
        settings.refuse_ray_statistics()
        import ray

        self._ray = ray
        self._start = start
        self._slots: list[_Slot] = []
        self._begun = 0
        self._owns = not ray.is_initialized()
        if self._owns:
            try:
                ray.init(log_to_driver=False, logging_level=logging.ERROR, configure_logging=False)
            except (ConnectionError, OSError, RuntimeError, ValueError) as error:
                address = settings.ray_address()
                where = f"connect to RAY_ADDRESS={address}" if address else "start"
                raise WorkerError(f"--executor ray: cannot {where}: {_line(error)}") from error
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        if gpus:
            most = int(sum(node.get("GPU", 0) for node in nodes))
            if not most:
                self.stop()
                raise WorkerError("--executor ray: the cluster has no GPU; leave --device out to use cores")
            share = 1
        else:
            most, share = capacity([int(node.get("CPU", 0)) for node in nodes])
        count = max(1, min(most, workers or most, files))
        each = max(1, threads // count) if threads else share
        resources = devices.on_gpu(each) if gpus else Resources(each)
        self.resources = [resources] * count
        self._options = {"num_cpus": 0 if gpus else share, "num_gpus": int(gpus)}

    @property
    def workers(self) -> int:
        return len(self.resources)

    def run(self, bundles: Iterable[Bundle]) -> Iterator[Event]:
        queue = Queue(bundles)
        running: dict[Any, _Slot] = {}
        try:
            while queue or any(slot.jobs for slot in self._slots):
                self._begin(queue, running)
                for slot in self._slots:
                    if slot.pid is not None and not slot.jobs and (bundle := queue.take()) is not None:
                        slot.jobs = bundle
                        running[slot.actor.do.remote(bundle)] = slot
                for ref in self._ray.wait(list(running), num_returns=1)[0]:
                    yield from self._hear(ref, running.pop(ref), queue, running)
        finally:
            self.stop()

    def stop(self) -> list[Died]:
        ended = []
        for slot in self._slots:
            with contextlib.suppress(Exception):
                self._ray.kill(slot.actor)
            if slot.pid is not None:
                ended += [Died(job, slot.pid) for job in slot.jobs]
                slot.jobs = ()
        self._slots.clear()
        if self._owns:
            self._owns = False
            self._ray.shutdown()
        return ended

    def _begin(self, queue: Queue, running: dict[Any, _Slot]) -> None:
        """Start the actors that are still to come: the first alone, the others once it is ready."""
        while queue and self._begun < len(self.resources):
            if self._slots and not any(slot.pid is not None for slot in self._slots):
                return
            self._add(self.resources[self._begun], 0, running)
            self._begun += 1

    def _add(self, resources: Resources, early_deaths: int, running: dict[Any, _Slot]) -> None:
        actor = self._ray.remote(Actor).options(**self._options, max_restarts=0).remote()
        slot = _Slot(actor, resources, early_deaths)
        self._slots.append(slot)
        running[actor.begin.remote(self._start, resources)] = slot

    def _hear(self, ref: Any, slot: _Slot, queue: Queue, running: dict[Any, _Slot]) -> Iterator[Event]:
        try:
            said, result = self._ray.get(ref)
        except self._ray.exceptions.RayError as error:  # killed, out of memory, its node gone
            yield from self._bury(slot, queue, running, _line(error))
            return
        yield from said
        if isinstance(result, Exception):
            raise result
        if isinstance(result, list):
            jobs, slot.jobs = slot.jobs, ()
            for job, outcome in zip(jobs, result, strict=True):
                yield Progress(job, job.size)
                yield Finished(job, outcome)
        else:
            slot.pid = result
            slot.early_deaths = 0

    def _bury(self, slot: _Slot, queue: Queue, running: dict[Any, _Slot], how: str) -> Iterator[Event]:
        """Go on without an actor that has died, with another in its place."""
        self._slots.remove(slot)
        self._ray.kill(slot.actor)  # it may only have been out of reach
        early = slot.early_deaths + 1 if slot.pid is None else 0
        if slot.jobs:
            yield from (Died(job, slot.pid or 0) for job in slot.jobs)
            finished = queue.died(slot.jobs, how)
            if finished is not None:
                yield finished
        if early < MOST_DEATHS:
            if queue:
                self._add(slot.resources, early, running)
        elif not self._slots and self._begun == len(self.resources):
            raise WorkerError(f"workers die before they are ready: {how}")


class Actor:
    """A worker inside Ray. Each method returns (what it has to say, result)."""

    def __init__(self) -> None:
        self._said: list[Said] = []
        self._work: Work | None = None

    def begin(self, start: Start, resources: Resources) -> tuple[list[Said], int | Exception]:
        """Make it ready: its process id, or why it cannot be."""
        resources.claim()
        try:
            self._work = start(self, resources.threads)
        except Exception as error:
            return self._taken(), sendable(error, WorkerError)
        return self._taken(), os.getpid()

    def do(self, bundle: Bundle) -> tuple[list[Said], list[Outcome]]:
        """Progress is of whole files: a message across the network for each step is not worth it."""
        work, outcomes = self._work, [Outcome()] * len(bundle)
        assert work is not None

        def one(number: int, job: Job) -> None:
            outcomes[number] = work(job, lambda _: None)

        side_by_side(bundle, one)
        return self._taken(), outcomes

    def say(self, level: int, text: str, name: str) -> None:
        self._said.append(Said(level, text, name))

    def _taken(self) -> list[Said]:
        said, self._said = self._said, []
        return said


def capacity(cores: Sequence[int]) -> tuple[int, int]:
    """(workers, cores of each) for nodes with these many cores, so that every worker fits a node."""
    used = [count for count in cores if count > 0] or [1]
    share = min(count // devices.core_workers(count, count) for count in used)
    return sum(count // share for count in used), share


def _line(error: Exception) -> str:
    """The first lines of Ray's long messages on one."""
    return " ".join(str(error).split())[:200]
