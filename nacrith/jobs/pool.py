"""What all executors have in common: the work, its events, and what happens to a killed worker's file.

An executor runs jobs on workers and yields events as they happen. A worker is made by a `Start`,
which loads what is needed once and returns the function that does a job. That function returns an
`Outcome` for whatever goes wrong with a file; an exception out of `Start` ends the batch, since no
file could be done. Jobs come in bundles; those of one are done by threads of one worker at a time. A
worker that dies with a job in hand (killed for memory, a crash in a library) is replaced, and the job goes
to the end of the queue for one more try; jobs of a bundle are then tried alone, to see which one it was.
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
"""Workers that a job may take with it before it is given up; likewise deaths in a row, before a worker
is ready, after which no further one is started in its place."""

MOST_JOBS = 64
"""In a bundle."""

MOST_THREADS = 24
"""That do the jobs of a bundle: more than a model has lanes, so that one is ready when a lane is free."""


class WorkerError(NacrithError):
    """No worker can be started, or an executor is not installed."""


@dataclass(frozen=True)
class Outcome:
    """How a job ended. error: empty if it was done. size: bytes of the input, as it was read.
    sha256: of the content; archive_sha256: of the archive; both in hexadecimal."""

    error: str = ""
    seconds: float = 0.0
    size: int = 0
    output_size: int = 0
    sha256: str = ""
    archive_sha256: str = ""


class Tell(Protocol):
    """A worker's way to speak while it is at work. May be used by any thread."""

    def say(self, level: int, text: str, name: str) -> None:
        """A message about the file `name`; `level` is the verbosity that shows it."""


Work = Callable[[Job, Callable[[int], None]], Outcome]
"""Does a job; the other argument is to be told of further bytes of content that are done, by any thread.
Called by several threads at a time if jobs are bundled."""

Bundle = Sequence[Job]

Start = Callable[[Tell, int], Work]
"""Prepares a worker, in its process, to use the given number of threads. It and the jobs are pickled: it must
be a function or an object of a module."""


@dataclass(frozen=True)
class Progress:
    """`count` further bytes of a job are done."""

    job: Job
    count: int


@dataclass(frozen=True)
class Said:
    """A worker has something to say."""

    level: int
    text: str
    name: str


@dataclass(frozen=True)
class Died:
    """The worker with this process id has died with `job` in hand."""

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
        """How many it will have."""
        ...

    def run(self, bundles: Iterable[Bundle]) -> Iterator[Event]:
        """Do all jobs, in about this order; exactly one `Finished` for each."""
        ...

    def stop(self) -> list[Died]:
        """End all workers at once and wait for their end; what they had in hand. May be called again,
        and from a signal handler."""
        ...


class Queue:
    """The bundles that wait, and how many workers each job has cost."""

    def __init__(self, bundles: Iterable[Bundle]) -> None:
        self._waiting = deque(bundles)
        self._deaths: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def take(self) -> Bundle | None:
        return self._waiting.popleft() if self._waiting else None

    def put_back(self, bundle: Bundle) -> None:
        """A bundle that was handed out and not begun."""
        self._waiting.appendleft(bundle)

    def died(self, jobs: Bundle, how: str) -> Finished | None:
        """A worker has died with these in hand, which come last now, each alone; or, if there was one only
        and it was not the first time, its end."""
        if len(jobs) == 1:
            (job,) = jobs
            deaths = self._deaths[job.source] = self._deaths.get(job.source, 0) + 1
            if deaths == MOST_DEATHS:
                advice = "see whether memory ran out, and run again with fewer workers (-j)"
                return Finished(job, Outcome(f"its worker died {deaths} times ({how}); {advice}"))
        self._waiting.extend((job,) for job in jobs)
        return None


def bundled(jobs: Iterable[Job], small: int, bundles: int) -> list[Bundle]:
    """Each job alone, but those of at most `small` bytes in at least so many bundles of at most MOST_JOBS,
    of about the same length each; in the order of `jobs`, which is by size."""
    alone: list[Bundle] = []
    few: list[Job] = []
    for job in jobs:
        few.append(job) if job.size <= small else alone.append((job,))
    count = min(len(few), max(bundles, -(-len(few) // MOST_JOBS)))
    return alone + [few[i::count] for i in range(count)]


def side_by_side(bundle: Bundle, do: Callable[[int, Job], None]) -> None:
    """Call `do` with the number of each job and the job, on a thread each if there are several."""
    run_all([partial(do, number, job) for number, job in enumerate(bundle)], MOST_THREADS)
