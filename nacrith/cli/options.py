"""The options that several commands share, and their defaults from the environment.

An option on the command line takes precedence over an environment variable, and that over the default. A
bad value is an error on the command line; in the environment it is ignored with a warning.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import click

from nacrith import settings as environment
from nacrith.cli.console import Console
from nacrith.cli.inputs import STDIN, read_whole
from nacrith.codec.levels import DEFAULT_LEVEL, LEAST_GROUP, MAX_LEVEL, MIN_LEVEL, MOST_PREFIX
from nacrith.errors import ModelError, NacrithError
from nacrith.settings import BACKENDS

Function = TypeVar("Function", bound=Callable[..., Any])

_SECONDS = {"s": 1, "m": 60, "h": 3600}
_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
_MAX_THREADS = 1024


class Duration(click.ParamType[float]):
    """A time in seconds, written 90s, 30m or 2h."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        text = str(value)
        digits, unit = (text[:-1], text[-1]) if text[-1:] in _SECONDS else (text, "s")
        if not (digits.isascii() and digits.replace(".", "", 1).isdigit()):
            self.fail(f"{value!r} is not a time; write 90s, 30m or 2h", param, ctx)
        return float(digits) * _SECONDS[unit]


class Size(click.ParamType[int]):
    """A number of bytes: 1000, 64K, 10M, 2G; the units are powers of 1024."""

    name = "size"

    def __init__(self, least: int = 0) -> None:
        self._least = least

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        text = str(value).upper().removesuffix("B").removesuffix("I")
        digits, unit = (text[:-1], text[-1:]) if text[-1:] in "KMGT" else (text, "")
        if not (digits.isascii() and digits.isdigit()):
            self.fail(f"{value!r} is not a size; write bytes or 64K, 10M, 2G", param, ctx)
        size = int(digits) * _UNITS[unit]
        if size < self._least:
            self.fail(f"{value} is less than {self._least} bytes, the least", param, ctx)
        return size


@dataclass(frozen=True)
class Settings:
    """The options of a command, with defaults from the environment.

    model_required: -m named the model, so that it is an error if the model cannot be used; a model of the
    environment is then ignored with a warning. threads: None for every core.
    """

    console: Console
    level: int = DEFAULT_LEVEL
    model: str | None = None
    model_required: bool = False
    threads: int | None = None
    output: str | None = None
    stdout: bool = False
    force: bool = False
    remove: bool = False
    store_name: bool = False
    group_size: int | None = None
    prefix: bytes = b""
    max_size: int | None = None
    json: bool = False
    keep_partial: bool = False
    backend: str | None = None
    force_backend: bool = False
    device: str | None = None
    ensemble: tuple[str, ...] = ()


def settings(options: dict[str, Any]) -> Settings:
    """The settings that a command's options specify."""
    console = Console(options.get("verbose", 0) - options.get("quiet", 0), options.get("progress"))
    output = options.get("output")
    if output == "-":
        output, to_stdout, force = None, True, True  # it was asked for explicitly: a terminal is fine
    else:
        to_stdout, force = options.get("stdout", False), options.get("force", False)
    if output is not None and to_stdout:
        raise click.UsageError("-o and -c exclude each other")
    if to_stdout and options.get("remove"):
        raise click.UsageError("--rm needs an output file; leave out --rm or -c")
    level = options.get("level")
    if level is None:
        level = _from_environment("NACRITH_LEVEL", MIN_LEVEL, MAX_LEVEL, console)
    threads = options.get("threads")
    if threads is None:
        threads = _from_environment("NACRITH_THREADS", 0, _MAX_THREADS, console)
    model = options.get("model")
    return Settings(
        console=console,
        level=DEFAULT_LEVEL if level is None else level,
        model=model or environment.model(),
        model_required=model is not None,
        threads=threads or None,
        output=output,
        stdout=to_stdout,
        force=force,
        remove=options.get("remove", False),
        store_name=options.get("store_name", False),
        group_size=options.get("group_size"),
        prefix=_prefix(options.get("prefix")),
        max_size=options.get("max_size"),
        json=options.get("json", False),
        keep_partial=options.get("keep_partial", False),
        backend=options.get("backend"),
        force_backend=options.get("force_backend", False),
        device=options.get("device"),
        ensemble=_ensemble(options),
    )


def _ensemble(options: dict[str, Any]) -> tuple[str, ...]:
    """The names that --ensemble gives."""
    given = options.get("ensemble")
    if given is None:
        return ()
    names = tuple(given.split(","))
    if len(names) < 2 or not all(names):
        raise click.UsageError("--ensemble takes two or more models: --ensemble A,B")
    for other in ("model", "backend"):
        if options.get(other) is not None:
            raise click.UsageError(f"--ensemble and --{other} exclude each other")
    return names


def single_output(settings: Settings, files: Sequence[str]) -> Sequence[str]:
    """The names to process, at least one; -o allows only one."""
    if settings.output is not None and len(files) > 1:
        raise click.UsageError(f"-o takes one input, not {len(files)}; use -c to join the results")
    return files or (STDIN,)


def _prefix(name: str | None) -> bytes:
    """The content of the file that --prefix names."""
    if name is None:
        return b""
    if name == STDIN:
        raise click.UsageError("--prefix takes a file, not standard input")
    try:
        prefix = read_whole(name)
    except (NacrithError, OSError) as error:
        raise click.UsageError(f"--prefix: {error}") from None
    if len(prefix) > MOST_PREFIX:
        raise click.UsageError(f"--prefix: {len(prefix):,} bytes, and {MOST_PREFIX:,} is the most")
    return prefix


def _from_environment(name: str, low: int, high: int, console: Console) -> int | None:
    try:
        return environment.number(name, low, high)
    except ModelError as error:
        console.warning(f"{error} (ignored)")
        return None


def together(*options: Callable[[Function], Function]) -> Callable[[Function], Function]:
    """Several options as one, in this order in the help."""

    def add(function: Function) -> Function:
        for option in reversed(options):
            function = option(function)
        return function

    return add


def level_options(function: Function) -> Function:
    """-1 to -9 and --level; the last one wins."""
    function = click.option(
        "--level",
        "level",
        metavar="N",
        type=click.IntRange(MIN_LEVEL, MAX_LEVEL),
        help=f"The same as -N; the default is {DEFAULT_LEVEL}.",
    )(function)
    texts = {MIN_LEVEL: "Fastest level, ... up to", MAX_LEVEL: "smallest output."}
    for level in reversed(range(MIN_LEVEL, MAX_LEVEL + 1)):
        text = texts.get(level)
        function = click.option(
            f"-{level}", "level", type=int, flag_value=level, hidden=text is None, help=text
        )(function)
    return function


model_option = click.option(
    "-m", "--model", metavar="MODEL", help="A model's name or file (default: the level's)."
)
ensemble_option = click.option(
    "--ensemble",
    metavar="A,B",
    help="Models that predict together, of any vocabularies; slow (some 20 bytes a second).",
)
backend_option = click.option(
    "--backend",
    type=click.Choice(BACKENDS),
    metavar="NAME",
    help="What runs the model; all but exact bind archives to this machine.",
)
force_backend_option = click.option(
    "--force-backend", is_flag=True, help="Try to decode what was bound to another machine."
)
device_option = click.option(
    "--device", metavar="LIST", help="cpu, all, or GPUs as in cuda:0,cuda:1: blocks go over all of them."
)
threads_option = click.option(
    "-T",
    "--threads",
    metavar="N",
    type=click.IntRange(0, _MAX_THREADS),
    help="Threads, 0 for every core; with exact models the output never depends on it.",
)
group_size_option = click.option(
    "--group-size",
    type=Size(LEAST_GROUP),
    help="Length of blocks (256K, 1M): short ones to read at random, long ones for smaller output.",
)
prefix_option = click.option(
    "--prefix",
    metavar="FILE",
    help="What reader and writer both have, and the content resembles (1 MB at most).",
)
max_size_option = click.option(
    "--max-size", type=Size(), help="Refuse to decompress to more than this (64K, 10M, 2G)."
)
partial_option = click.option(
    "--keep-partial",
    is_flag=True,
    help="Of a damaged archive, keep what can be verified as NAME.partial, and say what is missing.",
)
bits_option = click.option(
    "--bits",
    type=click.Choice(["8", "10"]),
    default="10",
    help="Of the values between matrices: 8 for byte products, 10 is more exact (default: 10).",
)
json_option = click.option("--json", is_flag=True, help="One JSON object a line.")
name_option = click.option(
    "-N", "--name", "store_name", is_flag=True, help="Store name, mode and time; with -d restore them."
)
files_argument = click.argument("files", metavar="[FILE|-]...", nargs=-1)

output_options = together(
    click.option("-c", "--stdout", is_flag=True, help="Write to standard output."),
    click.option("-o", "--output", metavar="FILE", help="Write to FILE (one input only)."),
    click.option("-f", "--force", is_flag=True, help="Overwrite; write to a terminal."),
    click.option(
        "--rm/--keep",
        " /-k",
        "remove",
        default=False,
        help="Remove the source after verification; or keep it (default).",
    ),
)
"""Where the result goes and what becomes of the source."""

message_options = together(
    click.option("-q", "--quiet", count=True, help="No warnings; twice: no errors."),
    click.option("-v", "--verbose", count=True, help="Say more."),
    click.option("--progress/--no-progress", default=None, help="Progress bar (default: terminal)."),
)
"""How much is said on standard error."""

decoding_options = together(
    prefix_option,
    model_option,
    backend_option,
    force_backend_option,
    device_option,
    threads_option,
    message_options,
)
"""What decodes, and how much is said of it."""
