"""Messages to the user, and the exit codes that follow from them.

Each problem is one line on standard error, `nacrith: FILE: what is wrong, what to do`, without a traceback
and without control characters, which an archive or a server may have put into a name. Standard output
carries content or tables only.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from collections.abc import Callable, Iterable

from nacrith.errors import NacrithError

OK, ERROR, WARNING, MODEL = 0, 1, 2, 3
"""Exit codes: all good; a file failed; a file was skipped; a model is missing or is not the right one."""

_SEVERITY = {OK: 0, WARNING: 1, MODEL: 2, ERROR: 3}

_REMEDY = {
    errno.ENOENT: "check the name",
    errno.ENOTDIR: "check the name",
    errno.ENAMETOOLONG: "choose a shorter name with -o",
    errno.EACCES: "check the permissions",
    errno.EPERM: "check the permissions",
    errno.EROFS: "choose another place with -o",
    errno.ENOSPC: "free some space and run again",
    errno.EDQUOT: "free some space and run again",
    errno.EBADF: "open the standard stream that it needs",
}

_NO_THREAD = "can't start new thread"  # Python gives no other sign of it


class CommandError(NacrithError):
    """A file that the command will not or cannot process."""


class SkippedError(NacrithError):
    """A file that was deliberately left alone; the command goes on and ends with a warning."""

    exit_code = WARNING


class ChangedError(NacrithError):
    """The work is done, but the source changed in the meantime; a warning."""

    exit_code = WARNING


PASSED_ON = (BrokenPipeError, KeyboardInterrupt, SystemExit, GeneratorExit)
"""Exceptions that end the process. All others end the file only, even if they are no `Exception` (a Rust
panic)."""


def worst(first: int, second: int) -> int:
    """The exit code of two files together: 1 wins over 3, which wins over 2, which wins over 0."""
    return max(first, second, key=_SEVERITY.__getitem__)


def printable(name: str) -> str:
    """`name` on one line, with control characters and undecodable bytes escaped."""
    line = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in name)
    return line.encode("utf-8", "backslashreplace").decode()


def shown(name: str) -> str:
    """The name of an input in messages."""
    return "(stdin)" if name == "-" else printable(name)


def describe_os_error(error: OSError, action: str = "", about: str = "") -> str:
    """The operating system's message, with a remedy if there is an obvious one.

    action: what was being done. Without it, the message names the file, unless the message is `about` that
    file anyway.
    """
    text = error.strerror or str(error) or type(error).__name__
    text = text[:1].lower() + text[1:]
    if action:
        text = f"{action}: {text}"
    elif isinstance(error.filename, str | bytes) and os.fsdecode(error.filename) != about:
        text = f"{printable(os.fsdecode(error.filename))}: {text}"
    elif error.errno == errno.ENOENT and not about and _nowhere():
        return "the working directory no longer exists; change to another"
    remedy = _REMEDY.get(error.errno or 0)
    return f"{text}; {remedy}" if remedy else text


def _nowhere() -> bool:
    try:
        os.getcwd()
    except OSError:
        return True
    return False


class Console:
    """Prints messages on standard error, according to the verbosity.

    verbosity: -2 prints nothing, -1 errors only, 0 errors and warnings, 1 and more also notes.
    """

    def __init__(self, verbosity: int = 0, progress: bool | None = None) -> None:
        self.verbosity = verbosity
        terminal = sys.stderr is not None and sys.stderr.isatty()
        self.progress = verbosity >= 0 and (terminal if progress is None else progress)
        self.clear_line: Callable[[], None] = lambda: None
        self._said: set[str] = set()

    def error(self, text: str, name: str = "") -> None:
        self._say(-1, text, name)

    def warning(self, text: str, name: str = "") -> None:
        self._say(0, text, name)

    def note(self, text: str, name: str = "") -> None:
        self._say(1, text, name)

    def once(self, text: str) -> None:
        """Print what is worth knowing of the whole run, unless it has been said."""
        if text not in self._said:
            self._said.add(text)
            self._say(0, text, "")

    def relay(self, level: int, text: str, name: str) -> None:
        """Print a message that another process sent; what several say of the whole run, once."""
        if level == 0 and not name:
            self.once(text)
        else:
            self._say(level, text, name)

    def summary(self, text: str, name: str) -> None:
        """The final line for a file: printed with -v, and wherever there was a progress bar."""
        self._say(0 if self.progress else 1, text, name)

    def failure(self, error: BaseException, name: str = "") -> int:
        """Report the error that ended a file; returns its exit code."""
        if isinstance(error, NacrithError):
            code = error.exit_code
            (self.warning if code == WARNING else self.error)(str(error), name)
            return code
        if isinstance(error, OSError):
            self.error(describe_os_error(error, about=name), name)
        elif isinstance(error, MemoryError):
            self.error("not enough memory; use a smaller model (-m) or fewer threads (-T)", name)
        elif isinstance(error, RuntimeError) and str(error) == _NO_THREAD:
            self.error(
                "the system starts no more threads; use fewer (-T) or raise the limit (ulimit -u)", name
            )
        else:
            self._internal(error, name)
        return ERROR

    def _internal(self, error: BaseException, name: str) -> None:
        what = f"{type(error).__name__}: {error}".replace("\n", " ")
        self.error(f"internal error, please report it (-vv shows where): {what}", name)
        if self.verbosity >= 2:
            import traceback

            for line in "".join(traceback.format_exception(error)).splitlines():
                self.error(line)

    def _say(self, level: int, text: str, name: str) -> None:
        if self.verbosity < level or sys.stderr is None:
            return
        self.clear_line()
        where = f"{shown(name)}: " if name else ""
        with contextlib.suppress(OSError):  # nothing can be printed; the exit code still reports it
            print(f"nacrith: {where}{printable(text)}", file=sys.stderr, flush=True)


def run_each(names: Iterable[str], console: Console, work: Callable[[str], None]) -> int:
    """Call `work` for every name, also after a failure; returns the worst exit code."""
    code = OK
    for name in names:
        try:
            work(name)
        except PASSED_ON:
            raise
        except BaseException as error:
            code = worst(code, console.failure(error, name))
    return code
