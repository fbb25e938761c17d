"""Dying cleanly: temporary files go, the source stays, and the exit status names the signal.

The handler does not raise: an exception would have to travel through whatever code is running, some
of which waits for threads. It runs the clean-ups and then lets the same signal kill the process, so
that a shell sees 130 (SIGINT), 143 (SIGTERM) or a silent 141 (SIGPIPE, `nacrith -dc x.nac | head`).
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable
from types import FrameType

before_death: set[Callable[[], None]] = set()
"""Called, in any order, when a signal is about to end the process. Must be quick and idempotent."""

_NAMES = ("SIGINT", "SIGTERM", "SIGHUP", "SIGPIPE", "SIGXCPU")


def install() -> None:
    """Handle the signals that end a process, unless the parent asked to ignore them (nohup)."""
    for name in _NAMES:
        number = getattr(signal, name, None)
        # SIGPIPE is ignored by the interpreter itself, whatever the parent wanted.
        if number is not None and (name == "SIGPIPE" or signal.getsignal(number) != signal.SIG_IGN):
            signal.signal(number, _handle)


def die(number: int) -> None:
    """Clean up and end this process by signal `number`."""
    for clean_up in list(before_death):
        with contextlib.suppress(Exception):
            clean_up()
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)


def _handle(number: int, frame: FrameType | None) -> None:
    die(number)
