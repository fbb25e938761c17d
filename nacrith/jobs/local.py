"""The local executor: worker processes on this machine, one bundle of jobs at a time each.

The processes are spawned, not forked, so that none inherits threads, CUDA or a loaded model, and each
claims its resources before it imports a library that would take others. They live as long as the batch.
The first is ready before the others start, so that a model is converted once and an error in it is reported
once.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from multiprocessing import connection
from multiprocessing.connection import Connection
from typing import Any

from nacrith.errors import sendable
from nacrith.jobs.plan import Job
from nacrith.jobs.pool import (
    MOST_DEATHS,
    Bundle,
    Died,
    Event,
    Finished,
    Progress,
    Queue,
    Said,
    Start,
    WorkerError,
    side_by_side,
)
from nacrith.settings import Resources

_TOLD_EVERY = 0.1  # seconds between two reports of progress
_PATIENCE = 10.0  # seconds that a worker has to clean up when it is told to end
_READY = "ready"


class _Worker:
    """A process with its pipe. jobs: what it has in hand, by their numbers in the bundle."""

    def __init__(self, start: Start, resources: Resources, early_deaths: int) -> None:
        context = multiprocessing.get_context("spawn")
        self.resources = resources
        self.early_deaths = early_deaths
        self.ready = False
        self.jobs: dict[int, Job] = {}
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=_child, args=(theirs, start, resources), daemon=True)
        self.process.start()
        theirs.close()

    def how_it_ended(self) -> str:
        self.process.join()
        code = self.process.exitcode or 0
        if code >= 0:
            return f"exit code {code}"
        try:
            return signal.Signals(-code).name
        except ValueError:
            return f"signal {-code}"


class LocalExecutor:
    """One worker process for each of `resources`."""

    def __init__(self, start: Start, resources: Sequence[Resources]) -> None:
        self._start = start
        self._resources = resources
        self._workers: list[_Worker] = []
        self._begun = 0  # workers started, not counting replacements

    @property
    def workers(self) -> int:
        return len(self._resources)

    def run(self, bundles: Iterable[Bundle]) -> Iterator[Event]:
        queue = Queue(bundles)
        try:
            while queue or any(worker.jobs for worker in self._workers):
                self._begin(queue)
                for worker in self._workers:
                    if worker.ready and not worker.jobs:
                        self._hand_out(worker, queue)
                by_pipe: dict[Any, _Worker] = {worker.pipe: worker for worker in self._workers}
                for pipe in connection.wait(list(by_pipe)):
                    yield from self._hear(by_pipe[pipe], queue)
        finally:
            self.stop()

    def stop(self) -> list[Died]:
        ended = []
        for worker in self._workers:
            worker.process.terminate()
        deadline = time.monotonic() + _PATIENCE
        for worker in self._workers:
            worker.process.join(max(0.0, deadline - time.monotonic()))
            if worker.process.is_alive():
                worker.process.kill()
                worker.process.join()
            ended += [Died(job, worker.process.pid or 0) for job in worker.jobs.values()]
            worker.jobs.clear()
        return ended

    def _begin(self, queue: Queue) -> None:
        """Start the workers that are still to come: the first alone, the others once it is ready."""
        while queue and self._begun < len(self._resources):
            if self._workers and not any(worker.ready for worker in self._workers):
                return
            self._workers.append(_Worker(self._start, self._resources[self._begun], 0))
            self._begun += 1

    def _hand_out(self, worker: _Worker, queue: Queue) -> None:
        bundle = queue.take()
        if bundle is None:
            return
        try:
            worker.pipe.send(bundle)
        except OSError:  # it has died, which its pipe tells next
            queue.put_back(bundle)
            worker.ready = False
        else:
            worker.jobs = dict(enumerate(bundle))

    def _hear(self, worker: _Worker, queue: Queue) -> Iterator[Event]:
        try:
            message = worker.pipe.recv()
        except (EOFError, OSError):
            yield from self._bury(worker, queue)
            return
        if isinstance(message, Exception):
            raise message
        if message == _READY:
            worker.ready = True
            worker.early_deaths = 0
        elif isinstance(message, Said):
            yield message
        else:
            number, what = message
            if isinstance(what, int):
                yield Progress(worker.jobs[number], what)
            else:
                yield Finished(worker.jobs.pop(number), what)

    def _bury(self, worker: _Worker, queue: Queue) -> Iterator[Event]:
        """Go on without a worker that has died, with another in its place."""
        how = worker.how_it_ended()
        worker.pipe.close()
        self._workers.remove(worker)
        early = 0 if worker.ready or worker.jobs else worker.early_deaths + 1
        if worker.jobs:
            in_hand = list(worker.jobs.values())
            yield from (Died(job, worker.process.pid or 0) for job in in_hand)
            finished = queue.died(in_hand, how)
            if finished is not None:
                yield finished
        if early < MOST_DEATHS:
            if queue:
                self._workers.append(_Worker(self._start, worker.resources, early))
        elif not self._workers and self._begun == len(self._resources):
            raise WorkerError(
                f"workers die before they are ready ({how}); see whether memory ran out, and try the model"
                " with nacrith compress"
            )


class _Tell:
    """What a worker has to say, through its pipe; progress now and then only."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe
        self._lock = threading.Lock()

    def send(self, message: object) -> None:
        with self._lock:
            self._pipe.send(message)

    def say(self, level: int, text: str, name: str) -> None:
        self.send(Said(level, text, name))

    def progress_of(self, number: int) -> Callable[[int], None]:
        count, told = 0, time.monotonic()

        def progress(more: int) -> None:
            nonlocal count, told
            count += more
            if time.monotonic() - told >= _TOLD_EVERY:
                self.send((number, count))
                count, told = 0, time.monotonic()

        return progress


def _child(pipe: Connection, start: Start, resources: Resources) -> None:
    """The life of a worker."""
    resources.claim()
    tell = _Tell(pipe)
    try:
        work = start(tell, resources.threads)
    except Exception as error:
        tell.send(sendable(error, WorkerError))
        return

    def do(number: int, job: Job) -> None:
        tell.send((number, work(job, tell.progress_of(number))))

    tell.send(_READY)
    with contextlib.suppress(EOFError):  # the batch has ended
        while True:
            side_by_side(pipe.recv(), do)
