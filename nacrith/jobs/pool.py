"""What all executors have in common: the work, its events, and what happens to a killed worker's file.

An executor runs jobs on workers and yields events as they happen. A worker is made by a `Start`,
which loads what is needed once and returns the function that does a job. That function returns an
`Outcome` for whatever goes wrong with a file; an exception out of `Start` ends the batch, since no
file could be done. A worker that dies with a job in hand (killed for memory, a crash in a library) is
replaced, and the job goes to the end of the queue for one more try.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

from nacrith.errors import NacrithError
from nacrith.jobs.plan import Job

MOST_DEATHS = 2
"""Workers that a job may take with it before it is given up; likewise deaths in a row, before a worker
is ready, after which no further one is started in its place."""


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
    """A worker's way to speak while it is at work."""

    def progress(self, count: int) -> None:
        """`count` further bytes of content are done."""

    def say(self, level: int, text: str, name: str) -> None:
        """A message about the file `name`; `level` is the verbosity that shows it."""


Work = Callable[[Job], Outcome]
Start = Callable[[Tell], Work]
"""Makes a worker ready, in its process. It and the jobs are pickled: a function or an object of a module."""


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

    def run(self, jobs: Iterable[Job]) -> Iterator[Event]:
        """Do all jobs, in about this order; exactly one `Finished` for each."""
        ...

    def stop(self) -> list[Died]:
        """End all workers at once and wait for their end; what they had in hand. May be called again,
        and from a signal handler."""
        ...


class Queue:
    """The jobs that wait, and how many workers each has cost."""

    def __init__(self, jobs: Iterable[Job]) -> None:
        self._waiting = deque(jobs)
        self._deaths: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def take(self) -> Job | None:
        return self._waiting.popleft() if self._waiting else None

    def put_back(self, job: Job) -> None:
        """A job that was handed out and not begun."""
        self._waiting.appendleft(job)

    def died(self, job: Job, how: str) -> Finished | None:
        """A worker has died of this job, which comes last now; or ended, if it was not the first."""
        deaths = self._deaths[job.source] = self._deaths.get(job.source, 0) + 1
        if deaths < MOST_DEATHS:
            self._waiting.append(job)
            return None
        advice = "see whether memory ran out, and run again with fewer workers (-j)"
        return Finished(job, Outcome(f"its worker died {deaths} times ({how}); {advice}"))
