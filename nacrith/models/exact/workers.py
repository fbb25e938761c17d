"""Threads that share the tasks of one call, for engines and loading.

Not `concurrent.futures`: its executors refuse work once the interpreter shuts down (exit handlers, threads
that outlive the main one), and hang in a forked child, which has their queue and not their threads. Here the
caller takes tasks like everybody else and waits only for those that a thread has begun. So no thread has to
be there: where none can be started, or none is left, the caller does everything itself.
"""

from __future__ import annotations

import os
import sys
import threading
import weakref
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from queue import SimpleQueue

Task = Callable[[], object]


class Workers:
    """Runs independent tasks, in no order, on `threads` threads, of which the caller's is one."""

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self._crew: _Crew | None = None

    def run(self, tasks: Iterable[Task]) -> None:
        """Returns when all are done; raises what one of them raised."""
        batch = _Batch(tasks)
        helpers = min(self.threads, batch.left) - 1
        if helpers > 0 and not sys.is_finalizing():
            if self._crew is None or self._crew.process != os.getpid():
                self._crew = _Crew(self.threads - 1)
            self._crew.call(batch, helpers)
        batch.work()
        batch.wait()


class _Batch:
    """The tasks of one call."""

    def __init__(self, tasks: Iterable[Task]) -> None:
        self._waiting = deque(tasks)
        self.left = len(self._waiting)  # that are not done
        self._error: BaseException | None = None
        self._lock = threading.Lock()
        self._done = threading.Event()

    def work(self) -> None:
        """Do what nobody has taken."""
        while True:
            try:
                task = self._waiting.popleft()
            except IndexError:
                return
            try:
                task()
            except BaseException as error:  # it is the caller's, who raises it
                self._error = error
            with self._lock:
                self.left -= 1
                if self.left == 0:
                    self._done.set()

    def wait(self) -> None:
        if self.left:
            self._done.wait()
        if self._error is not None:
            raise self._error


class _Crew:
    """The threads of one process. They end when this object goes, and never hold up the interpreter's end."""

    def __init__(self, size: int) -> None:
        self.process = os.getpid()
        self._calls: SimpleQueue[_Batch | None] = SimpleQueue()
        with suppress(RuntimeError, MemoryError):  # as many as the system gives
            for _ in range(size):
                threading.Thread(target=_serve, args=(self._calls,), name="nacrith", daemon=True).start()
        weakref.finalize(self, _dismiss, self._calls, size).atexit = False

    def call(self, batch: _Batch, helpers: int) -> None:
        for _ in range(helpers):
            self._calls.put(batch)


def _serve(calls: SimpleQueue[_Batch | None]) -> None:
    while (batch := calls.get()) is not None:
        batch.work()
        del batch  # it holds the arrays of its call


def _dismiss(calls: SimpleQueue[_Batch | None], size: int) -> None:
    for _ in range(size):
        calls.put(None)
