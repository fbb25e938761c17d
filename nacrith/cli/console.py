"""What the user is told, and the exit code that follows from it.

One line a problem on standard error, `nacrith: FILE: what, what to do`, never a traceback, and never a
control character that some archive or server has put into a name. Standard output carries content or tables
only.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from collections.abc import Callable, Iterable

from nacrith.errors import NacrithError

OK, ERROR, WARNING, MODEL = 0, 1, 2, 3
"""Exit codes: all good; a file failed; something was skipped; a model is missing or another one."""

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
    errno.EBADF: "open the stream that it should use",
}

_NO_THREAD = "can't start new thread"  # all that Python says of it


class CommandError(NacrithError):
    """A file that the command will not or cannot deal with."""


class SkippedError(NacrithError):
    """A file left alone on purpose; the command as a whole goes on and ends with a warning."""

    exit_code = WARNING


class ChangedError(NacrithError):
    """The work is done, but its source has changed meanwhile; a warning."""

    exit_code = WARNING


PASSED_ON = (BrokenPipeError, KeyboardInterrupt, SystemExit, GeneratorExit)
"""What ends the process and no file. Everything else does, also what is no `Exception` (a Rust panic)."""


def worst(first: int, second: int) -> int:
    """The exit code of two files together: 1 over 3 over 2 over 0."""
    return max(first, second, key=_SEVERITY.__getitem__)


def printable(name: str) -> str:
    """`name` on one line: control characters and undecodable bytes are escaped."""
    line = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in name)
    return line.encode("utf-8", "backslashreplace").decode()


def shown(name: str) -> str:
    """An input as messages name it."""
    return "(stdin)" if name == "-" else printable(name)


def describe_os_error(error: OSError, action: str = "", about: str = "") -> str:
    """What the operating system said, and a remedy where there is an obvious one.

    action: what was being done; otherwise the file is named, unless the message is `about` that anyway.
    """
    text = error.strerror or str(error) or type(error).__name__
    text = text[:1].lower() + text[1:]
    if action:
        text = f"{action}: {text}"
    elif isinstance(error.filename, str | bytes) and os.fsdecode(error.filename) != about:
        text = f"{printable(os.fsdecode(error.filename))}: {text}"
    elif error.errno == errno.ENOENT and not about and _nowhere():
        return "the working directory is no more; go to another"
    remedy = _REMEDY.get(error.errno or 0)
    return f"{text}; {remedy}" if remedy else text


def _nowhere() -> bool:
    try:
        os.getcwd()
    except OSError:
        return True
    return False


class Console:
    """Messages on standard error at the verbosity that was asked for.

    verbosity: -2 nothing at all, -1 errors only, 0 errors and warnings, 1 and more: notes as well.
    """

    def __init__(self, verbosity: int = 0, progress: bool | None = None) -> None:
        self.verbosity = verbosity
        terminal = sys.stderr is not None and sys.stderr.isatty()
        self.progress = verbosity >= 0 and (terminal if progress is None else progress)
        self.clear_line: Callable[[], None] = lambda: None

    def error(self, text: str, name: str = "") -> None:
        self._say(-1, text, name)

    def warning(self, text: str, name: str = "") -> None:
        self._say(0, text, name)

    def note(self, text: str, name: str = "") -> None:
        self._say(1, text, name)

    def relay(self, level: int, text: str, name: str) -> None:
        """A message of another process, which has used one of the above."""
        self._say(level, text, name)

    def summary(self, text: str, name: str) -> None:
        """The line that ends a file: shown with -v, and where the progress bar was."""
        self._say(0 if self.progress else 1, text, name)

    def failure(self, error: BaseException, name: str = "") -> int:
        """Report what ended a file; the exit code that it stands for."""
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
                "the system starts no more threads; use fewer (-T), or raise the limit (ulimit -u)", name
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
        with contextlib.suppress(OSError):  # nobody to tell; the exit code says the rest
            print(f"nacrith: {where}{printable(text)}", file=sys.stderr, flush=True)


def run_each(names: Iterable[str], console: Console, work: Callable[[str], None]) -> int:
    """Do `work` for every name, going on after a bad one; the worst exit code."""
    code = OK
    for name in names:
        try:
            work(name)
        except PASSED_ON:
            raise
        except BaseException as error:
            code = worst(code, console.failure(error, name))
    return code
