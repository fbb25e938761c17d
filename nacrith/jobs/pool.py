"""The interface of executors: jobs, events, and the treatment of a killed worker's file.

An executor runs jobs on workers and yields events as they happen. A `Start` prepares a worker: it loads
what is needed once and returns the function that processes a job. That function returns an `Outcome` for
every failure of a file; an exception out of `Start` ends the batch, since no file could be processed.
Jobs come in bundles; one worker processes the jobs of a bundle with one thread each. If a worker dies
(killed for memory, a crash in a library), it is replaced, and its job is tried once more at the end of
the queue; jobs of a bundle are then tried one by one, to find the one that caused it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from nacrith.errors import NacrithError
from nacrith.jobs.plan import Job
from nacrith.workers import run_all

MOST_DEATHS = 2
"""Number of workers that may die of a job before it is given up. Also the number of deaths in a row,
before a worker is ready, after which it is not replaced."""

MOST_JOBS = 64
"""Most jobs in a bundle."""

MOST_THREADS = 24
"""Most threads for the jobs of a bundle: more than a model has lanes, so that a job is waiting whenever a
lane becomes free."""


class WorkerError(NacrithError):
    """No worker can be started, or an executor is not installed."""


@dataclass(frozen=True)
class Outcome:
    """The result of a job. error: empty if it succeeded. size: bytes read from the input. sha256: of the
    content; archive_sha256: of the archive; both in hexadecimal."""

    error: str = ""
    seconds: float = 0.0
    size: int = 0
    output_size: int = 0
    sha256: str = ""
    archive_sha256: str = ""


class Tell(Protocol):
    """Sends messages from a worker to the command. Any thread may use it."""

    def say(self, level: int, text: str, name: str) -> None:
        """Send a message about the file `name`; `level` is the verbosity that shows it."""


Work = Callable[[Job, Callable[[int], None]], Outcome]
"""Processes a job. Any of its threads calls the second argument with the number of further content bytes
done. Several threads call a Work at a time if jobs are bundled."""

Bundle = Sequence[Job]

Start = Callable[[Tell, int], Work]
"""Prepares a worker, in its process, to use the given number of threads. It and the jobs are pickled: it
must be a function or an object of a module."""


@dataclass(frozen=True)
class Progress:
    """`count` further bytes of a job are done."""

    job: Job
    count: int


@dataclass(frozen=True)
class Said:
    """A message from a worker."""

    level: int
    text: str
    name: str


@dataclass(frozen=True)
class Died:
    """The worker with this process id has died while it processed `job`."""

    job: Job
    pid: int


@dataclass(frozen=True)
class Finished:
    """A job has ended."""

    job: Job
    outcome: Outcome


Event = Progress | Said | Died | Finished


class Executor(Protocol):
    """Runs jobs on workers."""

    @property
    def workers(self) -> int:
        """The number of workers that will run."""
        ...

    def run(self, bundles: Iterable[Bundle]) -> Iterator[Event]:
        """Run all jobs, roughly in order; yields exactly one `Finished` for each."""
        ...

    def stop(self) -> list[Died]:
        """Kill all workers and wait for their end; returns their unfinished jobs. It may be called again,
        and from a signal handler."""
        ...


class Queue:
    """The waiting bundles, and the number of workers that died of each job."""

    def __init__(self, bundles: Iterable[Bundle]) -> None:
        self._waiting = deque(bundles)
        self._deaths: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def take(self) -> Bundle | None:
        return self._waiting.popleft() if self._waiting else None

    def put_back(self, bundle: Bundle) -> None:
        """Return a bundle that was handed out but not begun."""
        self._waiting.appendleft(bundle)

    def died(self, jobs: Bundle, how: str) -> Finished | None:
        """Queue the jobs of a dead worker again, at the end and one by one. If a job was alone and has
        now killed MOST_DEATHS workers, it is finished instead."""
        if len(jobs) == 1:
            (job,) = jobs
            deaths = self._deaths[job.source] = self._deaths.get(job.source, 0) + 1
            if deaths == MOST_DEATHS:
                advice = "check whether memory ran out, and run again with fewer workers (-j)"
                return Finished(job, Outcome(f"its worker died {deaths} times ({how}); {advice}"))
        self._waiting.extend((job,) for job in jobs)
        return None


def bundled(jobs: Iterable[Job], small: int, bundles: int) -> list[Bundle]:
    """Bundle the jobs of at most `small` bytes; others stay alone. There are at least `bundles` bundles,
    of at most MOST_JOBS jobs and about equal length, in the order of `jobs`, which is by size."""
    alone: list[Bundle] = []
    few: list[Job] = []
    for job in jobs:
        few.append(job) if job.size <= small else alone.append((job,))
    count = min(len(few), max(bundles, -(-len(few) // MOST_JOBS)))
    return alone + [few[i::count] for i in range(count)]


def side_by_side(bundle: Bundle, do: Callable[[int, Job], None]) -> None:
    """Call `do` with the number of each job and the job, on a thread each if there are several."""
    run_all([partial(do, number, job) for number, job in enumerate(bundle)], MOST_THREADS)
