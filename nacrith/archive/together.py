"""Several calls at a time, with as many threads as can be had.

Not an executor: executors refuse work once the interpreter shuts down, when exit handlers, logging handlers
and threads that outlive the main one may still compress. Here the caller works too, so that everything is
done even where no thread can be started, be it for that reason or for a limit of the system.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import TypeVar

Result = TypeVar("Result")


def run_all(calls: Sequence[Callable[[], Result]], threads: int) -> list[Result]:
    """What each call gives, in order, with at most `threads` at work, the caller's among them. Raises the
    error of a call that fails, and begins no more of them then."""
    waiting = deque(enumerate(calls))
    results: dict[int, Result] = {}
    errors: list[Exception] = []

    def work() -> None:
        while True:
            try:
                number, call = waiting.popleft()
            except IndexError:
                return
            try:
                results[number] = call()
            except Exception as error:
                errors.append(error)
                waiting.clear()

    helpers = []
    try:
        for _ in range(min(threads, len(calls)) - 1):
            # A daemon: an interrupt must not wait for calls that may be at work for a minute.
            helper = threading.Thread(target=work, name="nacrith-codec", daemon=True)
            try:
                helper.start()
            except (RuntimeError, MemoryError):  # no more of them, or the interpreter is ending
                break
            helpers.append(helper)
        work()
        for helper in helpers:
            helper.join()
    finally:
        waiting.clear()
    if errors:
        raise errors[0]
    return [results[number] for number in range(len(calls))]
