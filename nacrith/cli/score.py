"""`nacrith score`: what files cost by a model, and where the bits go."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from nacrith.cli.console import run_each, shown
from nacrith.cli.inputs import STDIN, read_whole
from nacrith.cli.options import Settings, json_option, message_options, settings, threads_option
from nacrith.cli.outputs import open_output, print_line

if TYPE_CHECKING:
    from nacrith.bytelevel import ByteModel
    from nacrith.bytelevel.scoring import Scored

_ALTERNATIVES = 5


@click.command("score", short_help="Bits per byte of files by a model, and where they go.")
@click.argument("files", metavar="[FILE|-]...", nargs=-1)
@click.option(
    "-m", "--model", "models", metavar="MODEL", multiple=True, help="A model; several times to compare some."
)
@click.option(
    "--by", type=click.Choice(("token", "byte")), default="token", help="With --json: bits of each."
)
@click.option("--html", "page", metavar="FILE", help="Write a web page that shows the text by its bits.")
@click.option("-f", "--force", is_flag=True, help="Overwrite FILE.")
@json_option
@threads_option
@message_options
def command(files: Sequence[str], models: Sequence[str], **options: Any) -> int:
    """What files cost by a model, in bits per byte: exact, and comparable between tokenizers.

    The model alone predicts, without what an archive learns from its own text.

    \b
    nacrith score -m nacrith-36m -m smollm2-135m --html bits.html page.md
    """
    chosen = settings(options)
    try:
        makers = [_model(name, chosen) for name in models or (chosen.model,)]
    except Exception as error:
        return chosen.console.failure(error)
    done: list[tuple[str, list[Scored]]] = []

    def work(name: str) -> None:
        done.append((shown(name), _score(name, read_whole(name), makers, options)))

    code = run_each(files or (STDIN,), chosen.console, work)
    if options["page"] and done:
        try:
            _write(options["page"], done, options["force"])
        except Exception as error:
            return chosen.console.failure(error, options["page"])
    return code


def _model(name: str | None, chosen: Settings) -> ByteModel:
    from nacrith.bytelevel import ByteModel
    from nacrith.models import load_model

    return ByteModel(load_model(name, threads=chosen.threads))


def _score(name: str, data: bytes, models: Sequence[ByteModel], options: dict[str, Any]) -> list[Scored]:
    from nacrith.bytelevel import scoring

    by_byte = options["by"] == "byte" and options["json"]
    results = []
    for model in models:
        result = scoring.score(model, data, by_byte=by_byte, others=_ALTERNATIVES if options["page"] else 0)
        results.append(result)
        if options["json"]:
            print_line(json.dumps(_fields(name, result)))
        else:
            print_line(
                f"{shown(name)}: {result.bits_per_byte:.4f} bits per byte, {result.bits_per_token:.3f} per"
                f" token ({len(data)} bytes, {len(result.tokens)} tokens, {result.model})"
            )
    return results


def _fields(name: str, result: Scored) -> dict[str, Any]:
    fields = {
        "file": name,
        "model": result.model,
        "bytes": len(result.data),
        "tokens": len(result.tokens),
        "bits": round(result.bits, 6),
        "bits_per_byte": round(result.bits_per_byte, 6),
        "bits_per_token": round(result.bits_per_token, 6),
    }
    if result.byte_bits is not None:
        fields["byte_bits"] = [round(bits, 4) for bits in result.byte_bits.tolist()]
    else:
        fields["token_bits"] = [[t.end - t.start, round(t.bits, 4)] for t in result.tokens]
    return fields


def _write(target: str, done: list[tuple[str, list[Scored]]], force: bool) -> None:
    from nacrith.bytelevel.page import page

    with open_output(target, os.stat(os.curdir), force=force, archive=False) as output:
        output.write(page(done).encode())
        output.commit()
