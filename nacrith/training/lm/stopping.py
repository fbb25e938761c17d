"""When a training run ends before its last step: a signal, a file, or the time that it was given.

The loop asks between two parts of a step. Whatever the reason, it saves the state of the last whole step, so
that the run goes on from there, and ends as if it had not been interrupted.
"""

from __future__ import annotations

import signal
import time
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any


class Stopping:
    """Asked by the loop: `stopping()` is the reason to stop, or "".

    seconds: from the first question on, after which to stop; None for no limit. file: stops the
    run by existing. Within the context, SIGINT and SIGTERM become reasons; a second one ends the process as
    ever.
    """

    def __init__(self, seconds: float | None = None, file: Path | None = None) -> None:
        self._seconds, self._end = seconds, float("inf")
        self._file = file
        self._before: dict[int, Any] = {}
        self.signal: int | None = None

    def __call__(self) -> str:
        if self.signal is not None:
            return signal.Signals(self.signal).name
        if self._seconds is not None:
            self._end, self._seconds = time.monotonic() + self._seconds, None
        if time.monotonic() >= self._end:
            return "the time is over"
        if self._file is not None and self._file.exists():
            return f"{self._file} is there"
        return ""

    def __enter__(self) -> Stopping:
        for number in (signal.SIGINT, signal.SIGTERM):
            if signal.getsignal(number) != signal.SIG_IGN:
                self._before[number] = signal.signal(number, self._hear)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _hear(self, number: int, frame: FrameType | None) -> None:
        self.signal = number
        signal.signal(number, self._before[number])
