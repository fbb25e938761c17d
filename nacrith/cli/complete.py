"""`nacrith complete`: continue a text from any byte, or fill in its middle."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from nacrith.cli.console import OK, PASSED_ON
from nacrith.cli.inputs import STDIN, read_whole
from nacrith.cli.options import message_options, settings, threads_option
from nacrith.cli.outputs import StandardOutput


@click.command("complete", short_help="Continue a text, or fill in its middle.")
@click.argument("prompt", metavar="[TEXT]", required=False)
@click.option(
    "-m",
    "--model",
    "models",
    metavar="MODEL",
    multiple=True,
    help="A model; several times for what they say together.",
)
@click.option("--suffix", metavar="TEXT", help="Fill in what comes between the two texts.")
@click.option(
    "--bytes", "most", metavar="N", type=click.IntRange(0), default=256, help="At most N (default: 256)."
)
@click.option(
    "--temperature",
    metavar="X",
    type=click.FloatRange(0),
    default=0.0,
    help="0 takes the likeliest byte each time (default), 1 samples.",
)
@click.option(
    "--top-p",
    metavar="X",
    type=click.FloatRange(0, 1, min_open=True),
    default=1.0,
    help="Sample from the likeliest bytes with this share of the probability.",
)
@click.option("--seed", type=int, default=0, help="Seed of the samples (default: 0).")
@threads_option
@message_options
def command(prompt: str | None, models: Sequence[str], **options: Any) -> int:
    """Continue TEXT, or standard input, from its last byte on, which may be inside a word or a token.

    Only what comes after it is written, as it is found.

    \b
    nacrith complete 'def fibonac'
    nacrith complete --temperature 0.7 --seed 3 < story.txt
    nacrith complete 'for i in ran' --suffix '(10):'
    """
    chosen = settings(options)
    try:
        from nacrith.bytelevel import ByteEnsemble, ByteModel, Sampling, complete
        from nacrith.models import load_model

        prefix = read_whole(STDIN) if prompt is None else prompt.encode("utf-8", "surrogateescape")
        suffix = options["suffix"]
        made = [ByteModel(load_model(n, threads=chosen.threads)) for n in models or (chosen.model,)]
        found = complete(
            made[0] if len(made) == 1 else ByteEnsemble(made),
            prefix,
            None if suffix is None else suffix.encode("utf-8", "surrogateescape"),
            most=options["most"],
            sampling=Sampling(options["temperature"], top_p=options["top_p"], seed=options["seed"]),
        )
        output = StandardOutput()
        for text in found:
            output.write(text)
    except PASSED_ON:
        raise
    except Exception as error:
        return chosen.console.failure(error)
    return OK
