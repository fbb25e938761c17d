"""The entry point: selects the command and ends the process.

`nacrith` is a filter like zstd: options and files without a command word, so that `tar -I nacrith` works. If
the first argument is the name of a command, it selects that command; a file of such a name is written
`./compress`.
"""

from __future__ import annotations

import importlib
import io
import signal
import sys
from collections.abc import Callable, Sequence
from typing import Any, cast

import click

import nacrith
from nacrith.cli import blas, signals
from nacrith.cli.completion import completion_option
from nacrith.cli.console import ERROR, OK, PASSED_ON, Console
from nacrith.cli.groups import FILTER, FilterCommand, FilterGroup
from nacrith.cli.inputs import guard_standard_streams
from nacrith.cli.options import (
    Function,
    decoding_options,
    ensemble_option,
    files_argument,
    group_size_option,
    json_option,
    level_options,
    max_size_option,
    name_option,
    output_options,
    partial_option,
    settings,
)
from nacrith.cli.outputs import StandardOutput, print_line
from nacrith.cli.streams import PatientFile

LATER = {
    "batch": "Many files, over many workers.",
    "compress": "Compress files (the default).",
    "complete": "Continue a text, or fill in its middle.",
    "decompress": "Decompress files (-d).",
    "generate": "Generate text, exactly reproducible.",
    "info": "Show what archives hold (-l).",
    "models": "List, pull, convert, verify and remove models.",
    "prompt": "Shorten prompts for language models (lossy).",
    "score": "Bits per byte of files by a model, and where they go.",
    "test": "Decode archives and report (-t).",
    "train": "Train a model for your own kind of data.",
    "train-prompt": "Train the word classifier of prompt compression.",
}
"""The commands, modules of this package by the same name, and their short help."""

_EPILOG = """\b
Environment: NACRITH_LEVEL, NACRITH_THREADS, NACRITH_MODEL are defaults for the options.

\b
Exit codes: 0 all good; 1 an error, also in the arguments (other files are still
processed); 2 only warnings, a file was skipped; 3 a model is missing or is not the
one that the archive was made with. Of several files 1 counts over 3 over 2.
A signal ends nacrith by that signal; no partial file is left.
"""


def _mode(letter: str, name: str, text: str) -> Callable[[Function], Function]:
    return click.option(f"-{letter}", f"--{name}", "mode", flag_value=name, type=str, help=text)


def _print_version(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        from nacrith.archive.wire import FULL_VERSION

        print_line(f"nacrith {nacrith.__version__}")
        print_line(f"writes format {FULL_VERSION}, reads format {FULL_VERSION}")
        ctx.exit()


@click.command(FILTER, cls=FilterCommand, epilog=_EPILOG)
@files_argument
@_mode("z", "compress", "Compress (default).")
@_mode("d", "decompress", "Decompress.")
@_mode("t", "test", "Decode and report, write nothing.")
@_mode("l", "info", "Show what archives hold.")
@level_options
@group_size_option
@output_options
@name_option
@max_size_option
@partial_option
@json_option
@decoding_options
@ensemble_option
@completion_option
@click.option(
    "-V",
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_version,
    help="Print the versions of program and format.",
)
def main_filter(files: Sequence[str], mode: str | None, **options: Any) -> int:
    """Compress files with a language model, without loss.

    Archives decode bit for bit on any machine that has the same model.

    Without FILE, or for -, standard input is compressed to standard output.

    \b
    With tar: tar -I nacrith -cf notes.tar.nac notes
              tar -I nacrith -xf notes.tar.nac
    """
    chosen = importlib.import_module(f"nacrith.cli.{mode or 'compress'}")
    return cast(int, chosen.run(settings(options), files))


@click.group(
    cls=FilterGroup,
    filter_command=main_filter,
    later=LATER,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    add_help_option=False,
)
def group() -> None:
    """Does nothing: the filter command has the help."""


def main(
    arguments: Sequence[str] | None = None, command: click.Command = group, name: str = "nacrith"
) -> None:
    """Run the command line and end the process with its exit code.

    command, name: for a program that is one of the commands under a name of its own.
    """
    code = ERROR
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    try:
        guard_standard_streams()
        signals.install()
        blas.limit_threads()
        _use_patient_streams()
        code = _run(arguments, command, name)
    except BrokenPipeError:
        signals.die(signal.SIGPIPE)
    except KeyboardInterrupt:
        signals.die(signal.SIGINT)
    except PASSED_ON:
        raise
    except BaseException as error:  # every error becomes one line without a traceback
        code = Console(2 if "-vv" in arguments else 0).failure(error)
    sys.exit(code)


def _run(arguments: list[str], command: click.Command, name: str) -> int:
    try:
        code = command.main(arguments, prog_name=name, standalone_mode=False, **group.context_settings)
        if sys.stdout is not None:  # click prints --help to it
            sys.stdout.flush()
    except click.UsageError as error:
        Console().error(f"{error.format_message()} ({name} --help shows the usage)")
        return ERROR
    except click.exceptions.Exit as end:
        return end.exit_code
    return code if isinstance(code, int) else OK


def _use_patient_streams() -> None:
    """Wait for slow readers and writers also where click prints (--help) or asks."""
    if sys.stdin is not None:
        stdin = io.BufferedReader(PatientFile(0, closefd=False))
        sys.stdin = io.TextIOWrapper(stdin, sys.stdin.encoding, sys.stdin.errors)
    if sys.stdout is not None:
        sys.stdout = io.TextIOWrapper(StandardOutput(), sys.stdout.encoding, sys.stdout.errors)
    if sys.stderr is not None:
        file = PatientFile(2, "wb", closefd=False)
        sys.stderr = io.TextIOWrapper(file, sys.stderr.encoding, "backslashreplace", line_buffering=True)
