"""Independent tasks on several threads, of which the caller's is one.

This is not `concurrent.futures`: its executors refuse work once the interpreter shuts down (exit handlers,
logging handlers and threads that outlive the main one may still compress), and they hang in a forked child,
which inherits their queue but not their threads. Here the caller takes tasks as well, and waits only for
tasks that another thread has begun. No helper thread is needed for progress: where none can be started, or
none is left after a fork, the caller runs every task itself. `Patient` is for a caller that would rather go
on without a result than wait for it.
"""

from __future__ import annotations

import os
import sys
import threading
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import partial
from queue import SimpleQueue
from typing import Any, Generic, Protocol, TypeVar

Result = TypeVar("Result")


class Workers:
    """Helper threads that are kept between calls: for callers with many short calls.

    threads: how many tasks run at a time, including the one on the caller's thread.
    """

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self._crew: _Crew | None = None

    def run(self, tasks: Iterable[Callable[[], Result]]) -> list[Result]:
        """Run every task, in any order; return their results in the order of `tasks`.

        After a task has failed no further one is begun, and its error is raised once the tasks that were
        running have ended. An interrupt of the caller's thread is raised at once.
        """
        batch = _Batch(tasks)
        helpers = min(self.threads, batch.size) - 1
        if helpers > 0 and not sys.is_finalizing():
            if self._crew is None or self._crew.process != os.getpid():
                self._crew = _Crew(self.threads - 1)
            self._crew.call(batch, helpers)
        try:
            batch.work()
            return batch.wait()
        finally:
            batch.abandon()


def run_all(tasks: Sequence[Callable[[], Result]], threads: int) -> list[Result]:
    """As `Workers.run`, for a single call: its helper threads end with it."""
    return Workers(min(threads, len(tasks))).run(tasks)


class _Batch(Generic[Result]):
    """The tasks of one call and what has become of them."""

    def __init__(self, tasks: Iterable[Callable[[], Result]]) -> None:
        self._waiting = deque(enumerate(tasks))
        self.size = len(self._waiting)
        self._running = 0
        self._results: dict[int, Result] = {}
        self._errors: list[BaseException] = []
        self._changed = threading.Condition()  # guards all of the above

    def work(self) -> None:
        """Run tasks until none is waiting. Raises only what is not an Exception, such as an interrupt."""
        while (taken := self._take()) is not None:
            number, task = taken
            try:
                self._results[number] = task()
            except BaseException as error:
                self._errors.append(error)
                self.abandon()
                if not isinstance(error, Exception):
                    raise
            finally:
                self._end()

    def wait(self) -> list[Result]:
        """The results, once no task is running; raises the first error instead."""
        with self._changed:
            while self._running:
                self._changed.wait()
        if self._errors:
            raise self._errors[0]
        return [self._results[number] for number in range(self.size)]

    def abandon(self) -> None:
        """Begin no further task."""
        with self._changed:
            self._waiting.clear()

    def _take(self) -> tuple[int, Callable[[], Result]] | None:
        with self._changed:
            if not self._waiting:
                return None
            self._running += 1
            return self._waiting.popleft()

    def _end(self) -> None:
        with self._changed:
            self._running -= 1
            if not self._running:
                self._changed.notify_all()


class _Work(Protocol):
    def work(self) -> None: ...


class _Crew:
    """The helper threads of one process.

    size: how many could be started. They end when this object is collected, and as daemons never delay the
    end of the interpreter, nor an interrupt of the caller while one of them is within a task that takes a
    minute.
    """

    def __init__(self, size: int) -> None:
        self.process = os.getpid()
        self.size = 0
        self._calls: SimpleQueue[_Work | None] = SimpleQueue()
        with suppress(RuntimeError, MemoryError):  # start as many as the system allows
            for _ in range(size):
                threading.Thread(target=_serve, args=(self._calls,), name="nacrith", daemon=True).start()
                self.size += 1
        weakref.finalize(self, _dismiss, self._calls, size).atexit = False

    def call(self, work: _Work, helpers: int) -> None:
        for _ in range(helpers):
            self._calls.put(work)


def _serve(calls: SimpleQueue[_Work | None]) -> None:
    while (work := calls.get()) is not None:
        with suppress(BaseException):  # it has recorded it, for its caller
            work.work()
        del work  # it holds the arrays of its call


def _dismiss(calls: SimpleQueue[_Work | None], size: int) -> None:
    for _ in range(size):
        calls.put(None)


class Patient:
    """Runs functions one after another in a daemon thread, and does not wait for longer than `seconds`.

    The thread never delays the end of the interpreter, whatever it is within. Where none can be started, the
    caller runs the function, and waits.
    """

    def __init__(self, seconds: float = 10.0) -> None:
        self.seconds = seconds
        self._crew: _Crew | None = None
        self._late: _Awaited[Any] | None = None

    def run(self, function: Callable[..., Result], *arguments: Any) -> Result:
        """The result; TimeoutError if it takes too long, or at once while one that did is still running."""
        ended = threading.Event()
        task = self._begun(_Awaited(partial(function, *arguments), ended.set))
        if not ended.wait(self.seconds):
            self._give_up(task)
            raise TimeoutError
        return task.result()

    async def wait(self, function: Callable[..., Result], *arguments: Any) -> Result:
        """As `run`, while the event loop goes on."""
        import asyncio  # most callers of this module have no loop

        loop, ended = asyncio.get_running_loop(), asyncio.Event()
        task = self._begun(
            _Awaited(partial(function, *arguments), lambda: loop.call_soon_threadsafe(ended.set))
        )
        try:
            await asyncio.wait_for(ended.wait(), self.seconds)
        except BaseException:  # too late, or the caller was cancelled
            self._give_up(task)
            raise
        return task.result()

    def close(self) -> None:
        """Let the thread end, after what it is running."""
        self._crew = None

    def _begun(self, task: _Awaited[Result]) -> _Awaited[Result]:
        if self._late is not None and not self._late.ended:
            raise TimeoutError
        self._late = None
        if self._crew is None or self._crew.process != os.getpid():
            self._crew = _Crew(1)
        if self._crew.size and not sys.is_finalizing():
            self._crew.call(task, 1)
        else:
            task.work()
        return task

    def _give_up(self, task: _Awaited[Any]) -> None:
        task.abandoned = True
        if task.running:
            self._late = task


class _Awaited(Generic[Result]):
    """A function and what it returned or raised. then: called at its end. abandoned: nobody waits for it, so
    that it need not be begun any more."""

    def __init__(self, function: Callable[[], Result], then: Callable[[], object]) -> None:
        self._function, self._then = function, then
        self._values: list[Result] = []
        self._error: BaseException | None = None
        self.abandoned = self.running = self.ended = False

    def work(self) -> None:
        self.running = not self.abandoned
        if not self.running:
            return
        try:
            self._values.append(self._function())
        except BaseException as error:
            self._error = error
        self.ended = True
        with suppress(RuntimeError):  # the event loop is closed
            self._then()

    def result(self) -> Result:
        if self._error is not None:
            raise self._error
        return self._values[0]
