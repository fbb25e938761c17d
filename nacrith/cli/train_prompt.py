"""`nacrith train-prompt`: trains the word classifier of `nacrith prompt` on labelled sentences."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nacrith.cli.console import OK
from nacrith.cli.options import message_options, settings, threads_option
from nacrith.cli.outputs import print_line
from nacrith.errors import ModelError

if TYPE_CHECKING:
    from nacrith.models.protocol import LanguageModel
    from nacrith.training.sentences import Sentence

_PATH = click.Path(path_type=Path)


@click.command("train-prompt", short_help="Train the word classifier of prompt compression.")
@click.argument("data", metavar="DATA", type=_PATH)
@click.option("--bert", metavar="DIR", type=_PATH, required=True, help="BERT checkpoint to start from.")
@click.option("--work", metavar="DIR", type=_PATH, required=True, help="Directory for state and model.")
@click.option("--validation", metavar="FILE", type=_PATH, multiple=True, help="Sentences to measure F1 on.")
@click.option(
    "--layers",
    metavar="N",
    type=click.IntRange(1),
    default=4,
    help="Layers of the checkpoint to use (default: 4).",
)
@click.option(
    "--frozen",
    metavar="N",
    type=click.IntRange(0),
    default=1,
    help="Layers that are not trained (default: 1).",
)
@click.option("--steps", metavar="N", type=click.IntRange(1), default=1600, help="Batches (default: 1600).")
@click.option("--rate", metavar="X", type=float, default=3e-4, help="Learning rate (default: 3e-4).")
@click.option("--documents", metavar="PATH", type=_PATH, multiple=True, help="Texts to learn documents from.")
@click.option("--leave-out", metavar="SOURCE", multiple=True, help="Source of the texts to skip.")
@click.option(
    "--share",
    metavar="X",
    type=click.FloatRange(0, 1),
    default=0.3,
    help="Fraction of the batches that are documents (default: 0.3).",
)
@click.option("-m", "--model", metavar="MODEL", help="Language model that labels the documents.")
@click.option("--seed", type=int, default=1, help="Seed of the order of the data (default: 1).")
@threads_option
@message_options
def command(data: Path, **options: Any) -> int:
    """Train on DATA (.jsonl or .jsonl.xz, {"words": [...], "keep": [0 or 1, ...]} a line).

    --documents (a corpus in the form that `nacrith train` reads) adds groups of sentences from English
    texts. A language model labels their most informative words as those to keep; the labels are made once
    and stored in the directory of --work.

    To resume an interrupted run, start it again with the same --work. The result is words.npz, for
    `nacrith prompt --scorer classifier -m words.npz`. Needs torch and safetensors.
    """
    chosen = settings(options)
    try:
        path = _train(data, options["model"] or chosen.model, chosen.threads, options)
    except Exception as error:
        return chosen.console.failure(error, str(data))
    print_line(str(path))
    return OK


def _train(data: Path, name: str | None, threads: int | None, options: dict[str, Any]) -> Path:
    try:
        from nacrith.training.documents import prepare
        from nacrith.training.words import Recipe, train
    except ImportError as error:
        raise ModelError(f"training needs {error.name}; run: pip install 'nacrith[train]'") from None
    recipe = Recipe(
        take=tuple(range(options["layers"])),
        frozen=options["frozen"],
        steps=options["steps"],
        rate=options["rate"],
        seed=options["seed"],
        share=options["share"] if options["documents"] else 0.0,
    )

    def log(line: str) -> None:
        click.echo(line, err=True)

    def model() -> LanguageModel:
        from nacrith.models import load_model

        return load_model(name, threads=threads)

    documents: list[Sentence] = []
    if recipe.share:
        path = options["work"] / "documents.jsonl"
        units = round(recipe.steps * recipe.pieces * recipe.share)
        documents = prepare(path, options["documents"], model, units, recipe.seed, log, options["leave_out"])
    start, work = options["bert"], options["work"]
    return train(start, data, options["validation"], work, recipe, log, documents=documents, threads=threads)
