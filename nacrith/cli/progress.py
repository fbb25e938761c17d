"""The progress bar: percentage, rate and remaining time on one line of standard error.

The bar uses no colour and no escape sequence (so NO_COLOR and dumb terminals need no special case), is
redrawn at most ten times a second, and is erased before any other message.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import time

from nacrith.cli import signals
from nacrith.cli.console import Console, shown

_INTERVAL = 0.1  # seconds between two drawings


def duration(seconds: float) -> str:
    """`seconds` as 12s, 3:04 or 1:02:03."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    hours, rest = divmod(whole, 3600)
    minutes, rest = divmod(rest, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


class ProgressBar:
    """Counts content bytes; call it with the number of further bytes that are done.

    total: number of content bytes; None if it is not known (a pipe).
    """

    def __init__(self, console: Console, name: str, total: int | None) -> None:
        self._console = console
        self.label = shown(os.path.basename(name) or name)  # may be changed while the bar is shown
        self._total = total
        self._done = 0
        self._width = 0  # columns of the line that is on the screen
        self._began = time.monotonic()
        self._drawn = float("-inf")

    def __enter__(self) -> ProgressBar:
        if self._console.progress:
            self._console.clear_line = self.clear
            signals.before_death.add(self.clear)
            self._draw()
        return self

    def __exit__(self, *_: object) -> None:
        self.clear()
        signals.before_death.discard(self.clear)
        self._console.clear_line = lambda: None

    def __call__(self, count: int) -> None:
        self._done += count
        if self._console.progress and time.monotonic() - self._drawn >= _INTERVAL:
            self._draw()

    @property
    def elapsed(self) -> float:
        return time.monotonic() - self._began

    def clear(self) -> None:
        if self._width:
            self._write("\r" + " " * self._width + "\r")
            self._width = 0

    def line(self, elapsed: float) -> str:
        """The text of the bar `elapsed` seconds after the start."""
        rate = self._done / elapsed if elapsed > 0 else 0.0
        parts = [self.label]
        if self._total:
            parts.append(f"{100 * min(self._done, self._total) / self._total:3.0f} %")
        else:
            parts.append(f"{self._done:,} bytes")
        if self._done:
            parts.append(f"{rate / 1000:,.1f} KB/s")
            if self._total:
                left = max(self._total - self._done, 0) / rate if rate else 0.0
                parts.append(f"{duration(left)} left")
        return "  ".join(parts)

    def _draw(self) -> None:
        columns = shutil.get_terminal_size().columns - 1
        text = self.line(self.elapsed)[: max(columns, 1)]
        self._write("\r" + text.ljust(self._width))
        self._width = len(text)
        self._drawn = time.monotonic()

    @staticmethod
    def _write(text: str) -> None:
        # Unbuffered: a signal may interrupt one drawing with the last `clear`.
        with contextlib.suppress(OSError):
            os.write(2, text.encode("utf-8", "backslashreplace"))
