"""Clean termination by a signal: temporary files are removed, and the exit status names the signal.

The handler raises no exception, which would have to pass through arbitrary code, some of which waits for
threads. It runs the clean-ups and then lets the same signal kill the process, so that a shell sees 130
(SIGINT), 143 (SIGTERM) or a silent 141 (SIGPIPE, `nacrith -dc x.nac | head`).
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable
from types import FrameType

before_death: set[Callable[[], None]] = set()
"""Functions to call, in any order, before a signal ends the process. They must be fast and idempotent."""

_NAMES = ("SIGINT", "SIGTERM", "SIGHUP", "SIGPIPE", "SIGXCPU")


def install() -> None:
    """Handle the signals that end a process, except those that the parent asked to ignore (nohup)."""
    for name in _NAMES:
        number = getattr(signal, name, None)
        # The interpreter itself ignores SIGPIPE, whatever the parent wanted.
        if number is not None and (name == "SIGPIPE" or signal.getsignal(number) != signal.SIG_IGN):
            signal.signal(number, _handle)


def die(number: int) -> None:
    """Clean up, then end this process by signal `number`."""
    for clean_up in list(before_death):
        with contextlib.suppress(Exception):
            clean_up()
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)


def _handle(number: int, frame: FrameType | None) -> None:
    die(number)
