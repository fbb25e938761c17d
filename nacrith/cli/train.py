"""`nacrith train`: a model for one's own kind of data."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nacrith.cli import signals
from nacrith.cli.console import OK
from nacrith.cli.options import (
    Duration,
    Settings,
    Size,
    bits_option,
    message_options,
    settings,
    threads_option,
)
from nacrith.cli.outputs import print_line
from nacrith.cores import usable_cores
from nacrith.errors import ModelError

if TYPE_CHECKING:
    from nacrith.training.lm.job import Job, Trained

_PATH = click.Path(path_type=Path)


@click.command("train", short_help="Train a model for your own kind of data.")
@click.argument("data", metavar="PATH...", nargs=-1, required=True, type=_PATH)
@click.option("-o", "--output", metavar="FILE", type=_PATH, required=True, help="The model file, NAME.nacm.")
@click.option("-m", "--model", metavar="MODEL", help="Start from this model (default: the default model).")
@click.option("--scratch", is_flag=True, help="Start from random weights; needs --layers and --vocab.")
@click.option("--layers", metavar="N", type=click.IntRange(1), help="Layers of a smaller model.")
@click.option("--ffn", metavar="N", type=click.IntRange(1), help="Inner width of its feed-forward blocks.")
@click.option("--vocab", metavar="N", type=click.IntRange(300, 65536), help="Train a vocabulary of N tokens.")
@click.option(
    "--width", metavar="N", type=click.IntRange(64), default=512, help="With --scratch (default: 512)."
)
@click.option("--steps", metavar="N", type=click.IntRange(1), help="Training steps (default: 3 passes).")
@click.option("--length", metavar="N", type=click.IntRange(16), default=512, help="Tokens of a window.")
@click.option("--count", metavar="N", type=click.IntRange(1), default=8, help="Windows of a step.")
@click.option(
    "--rate",
    metavar="X",
    type=click.FloatRange(0, 1),
    help="Learning rate of matrices with entries of about 0.05; others in proportion.",
)
@click.option("--muon", is_flag=True, help="Train matrices with Muon: for GPUs and large steps.")
@click.option(
    "--distil", metavar="X", type=click.FloatRange(0, 1), default=0.0, help="Weight of the teacher."
)
@bits_option
@click.option("--held-out", metavar="N", type=click.IntRange(2), default=100, help="One document in N.")
@click.option("--leave-out", metavar="SOURCE", multiple=True, help="Source of a corpus to skip.")
@click.option(
    "--times",
    metavar="KIND N",
    type=(str, click.IntRange(0)),
    multiple=True,
    help="Use documents of this kind N times in a pass.",
)
@click.option(
    "--work", metavar="DIR", type=_PATH, help="Directory of the state, for resuming (default: temporary)."
)
@click.option("--for", "duration", metavar="TIME", type=Duration(), help="Stop after 90s, 30m or 2h.")
@click.option("--stop-file", metavar="FILE", type=_PATH, help="Stop when this file exists.")
@click.option(
    "--save-every", metavar="TIME", type=Duration(), default="3m", help="Save the state (default: every 3m)."
)
@click.option("--nice", is_flag=True, help="Compute only while nothing else wants to.")
@click.option(
    "--floats",
    type=click.Choice(["fastest", "float32", "bfloat16"]),
    default="fastest",
    help="Of matrix products (default: the fastest here, measured at the start).",
)
@click.option("--export", metavar="DIR", type=_PATH, help="Pack the job for another machine instead.")
@click.option("--load-size", type=Size(), default="57M", help="Most of a load of --export (default: 57M).")
@click.option("--gguf", metavar="FILE", type=_PATH, help="Also write this GGUF file.")
@click.option("--safetensors", metavar="DIR", type=_PATH, help="Also write this directory.")
@click.option("--device", metavar="NAME", default="cpu", help="cpu (default), cuda or cuda:N.")
@click.option("--seed", type=int, default=1, help="Seed of the order of the data (default: 1).")
@click.option("-f", "--force", is_flag=True, help="Overwrite the outputs.")
@threads_option
@message_options
def command(data: Sequence[Path], output: Path, **options: Any) -> int:
    """Train on files and directories, then compress with -m FILE.

    Plain files are cut into documents of 16 KB; in .jsonl and .jsonl.xz files each line is a document,
    {"text": ...}. One document in a hundred is held out; the result is reported in bits per byte of those
    documents. Without --layers, --ffn or --vocab, the given model itself is trained; with them, a smaller
    one is first derived from it. To resume an interrupted run, start it again with the same --work.
    A signal lets it save and end; --for and --stop-file also write the model as it is then. --export packs
    the job for a machine without network, and trains nothing. Needs torch.
    """
    chosen = settings(options)
    _check(output, options)
    try:
        if options["export"]:
            _export(data, output, chosen, options)
            return OK
        from_to = _train(data, output, chosen, options)
    except Exception as error:
        return chosen.console.failure(error, str(data[0]))
    print_line(f"{output}: held out: {from_to}")
    return OK


def _check(output: Path, options: dict[str, Any]) -> None:
    """Refuse bad arguments before hours are spent."""
    if output.suffix != ".nacm":
        raise click.UsageError(f"{output}: a model file is named NAME.nacm")
    for path in (output, options["gguf"], options["safetensors"]):
        if path and path.exists() and not (options["force"] and path.is_file()):
            raise click.UsageError(f"{path}: exists already; -f overwrites files, not directories")
        if path and not path.absolute().parent.is_dir():
            raise click.UsageError(f"{path}: its directory does not exist")
    if options["scratch"] and not (options["layers"] and options["vocab"]):
        raise click.UsageError("--scratch needs --layers and --vocab")
    if options["width"] % 64:
        raise click.UsageError(f"--width {options['width']}: must be a multiple of 64")


def _train(data: Sequence[Path], output: Path, chosen: Settings, options: dict[str, Any]) -> str:
    try:
        import torch

        from nacrith.training.lm.job import run
        from nacrith.training.lm.machine import yield_to_others
        from nacrith.training.lm.stopping import Stopping
    except ImportError as error:
        raise ModelError(f"training needs {error.name}; run: pip install 'nacrith[train]'") from None
    torch.set_num_threads(chosen.threads or usable_cores())
    if options["nice"]:
        yield_to_others()
    with ExitStack() as stack:
        work = options["work"] or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        job = _job(data, output, work, chosen.model, options)
        stopping = stack.enter_context(Stopping(options["duration"], options["stop_file"]))
        trained = run(job, lambda line: click.echo(line, err=True), stopping)
        if stopping.signal is not None and trained.stopped:
            signals.die(stopping.signal)
        _write(trained, job, output, options)
    return f"{trained.before['mean']:.3f} bits per byte before, {trained.after['mean']:.3f} after"


def _export(data: Sequence[Path], output: Path, chosen: Settings, options: dict[str, Any]) -> None:
    try:
        from nacrith.training.lm import loads
        from nacrith.training.lm.job import prepare
    except ImportError as error:
        raise ModelError(f"training needs {error.name}; run: pip install 'nacrith[train]'") from None
    with ExitStack() as stack:
        work = options["work"] or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        job = _job(data, output, work, chosen.model, options)
        tell = partial(click.echo, err=True)
        for load in loads.pack(prepare(job, tell), job, options["export"], tell, options["load_size"]):
            print_line(str(load))


def _job(data: Sequence[Path], output: Path, work: Path, model: str | None, options: dict[str, Any]) -> Job:
    from nacrith.models import store
    from nacrith.training.lm.job import Job
    from nacrith.training.lm.loop import Recipe

    scratch = options["scratch"]
    recipe = Recipe(
        steps=options["steps"] or 0,
        length=options["length"],
        count=options["count"],
        at_once=min(options["count"], 64 if options["device"].startswith("cuda") else 8),
        rate=options["rate"] or (2.5e-3 if scratch else 1e-4),
        muon=options["muon"],
        distil=options["distil"],
        bits=int(options["bits"]),
        seed=options["seed"],
    )
    heads = options["width"] // 64
    return Job(
        data=data,
        base=None if scratch else store.find(model),
        work=work,
        name=output.stem,
        layers=options["layers"],
        ffn=options["ffn"],
        vocab=options["vocab"],
        width=options["width"],
        heads=heads,
        kv_heads=max(k for k in range(1, heads + 1) if heads % k == 0 and k <= max(1, heads // 2)),
        leave_out=options["leave_out"],
        times=dict(options["times"]),
        held_out=options["held_out"],
        steps=options["steps"],
        recipe=recipe,
        device=options["device"],
        half={"fastest": None, "float32": False, "bfloat16": True}[options["floats"]],
        save_every=options["save_every"],
    )


def _write(trained: Trained, job: Job, output: Path, options: dict[str, Any]) -> None:
    from nacrith.training.lm import export

    trained.write(job, output)
    if options["gguf"]:
        new = options["gguf"].with_name(f".{options['gguf'].name}.new")
        export.write_gguf(trained.model, trained.tokenizer, new, job.name)
        new.replace(options["gguf"])
    if options["safetensors"]:
        export.write_directory(trained.model, trained.tokenizer, options["safetensors"])
