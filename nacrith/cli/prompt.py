"""`nacrith prompt`, also installed as `prompt-compress`: shortens prompts, as a filter or for files.

Two commands below it, each in a module of its own, do so where prompts pass by: `proxy` and `mcp`.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from nacrith.cli.console import OK, PASSED_ON, CommandError, shown
from nacrith.cli.groups import FILTER, FilterCommand, FilterGroup
from nacrith.cli.inputs import STDIN, read_whole
from nacrith.cli.options import Settings, message_options, settings, threads_option
from nacrith.cli.outputs import open_output
from nacrith.prompt.counters import ANY, OURS
from nacrith.prompt.scorers import AUTO, NAMES

if TYPE_CHECKING:
    from nacrith.prompt import Compressed, PromptCompressor
    from nacrith.prompt.pricing import Price

LATER = {
    "mcp": "Shorten what the tools of an MCP server return.",
    "proxy": "Shorten tool results on their way to a model's API.",
}
"""Commands below this one, and their short help."""

_OWN_MODEL = (AUTO, "classifier")  # these scorers use no language model
_SUMMARY = "Shorten prompts for language models (lossy)."
_KINDS = ("text", "markdown", "json", "chat")


class _Rate(click.ParamType[tuple[str, float]]):
    """NAME=RATE."""

    name = "name=rate"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, float]:
        name, _, number = str(value).rpartition("=")
        try:
            rate = float(number)
        except ValueError:
            rate = -1.0
        if not name or not 0 <= rate <= 1:
            self.fail(f"{value!r} is not NAME=RATE with a rate from 0 to 1", param, ctx)
        return name, rate


@click.command(FILTER, cls=FilterCommand, short_help=_SUMMARY)
@click.argument("files", metavar="[FILE|-]...", nargs=-1)
@click.option(
    "--rate",
    type=click.FloatRange(0, 1),
    help="Fraction of the tokens to keep (default: 0.5). Of a chat or JSON more is kept, with a warning,"
    " where what must stay of each text exceeds it; for other inputs that is an error.",
)
@click.option(
    "--target-tokens",
    metavar="N",
    type=click.IntRange(0),
    help="Never more than N tokens: an error says the smallest N that works.",
)
@click.option("--threshold", metavar="X", type=float, help="Drop what scores less, in the scorer's unit.")
@click.option("--query", metavar="TEXT", default="", help="What the prompt's reader will be asked.")
@click.option(
    "--scorer",
    type=click.Choice((AUTO, *NAMES)),
    default=AUTO,
    help="How to rank words or sentences (default: auto: lexrank, whole sentences).",
)
@click.option(
    "-m",
    "--model",
    metavar="MODEL",
    help="Model of the scorer: a language model, or a classifier (path, hub name).",
)
@click.option("--download", is_flag=True, help="Download the classifier from the hub if necessary.")
@click.option(
    "--tokenizer",
    metavar="WHAT",
    help="Tokenizer to count with: tokenizer.json, its directory, .gguf, .nacm, a model, tiktoken:NAME;"
    " chars; or any: an upper bound for all (default with --target-tokens).",
)
@click.option("--input", "kind", type=click.Choice(_KINDS), default="text", help="Kind of the input.")
@click.option(
    "--part-rate",
    "rates",
    metavar="NAME=RATE",
    type=_Rate(),
    multiple=True,
    help="Rate of parts by role, heading or JSON path; * matches. Exceeded as --rate of a chat is.",
)
@click.option(
    "--protect",
    metavar="RULES",
    default="all",
    help="Rules about what is kept: all, none, number,url,..., or -number to leave one out.",
)
@click.option("--keep-pattern", "patterns", metavar="REGEX", multiple=True, help="Keep what matches.")
@click.option(
    "--retain",
    type=click.Choice(("auto", "always", "with_sentence")),
    default="auto",
    help="Protect numbers, negations, quotations always, or in kept sentences (auto: as the scorer ranks).",
)
@click.option(
    "--prefix-stable/--no-prefix-stable",
    default=None,
    help="Appending text never changes earlier output (default: for chats with a rate).",
)
@click.option(
    "--min-tokens", metavar="N", type=click.IntRange(0), default=0, help="Leave shorter ones alone."
)
@click.option(
    "--on-error",
    type=click.Choice(("raise", "pass")),
    default="raise",
    help="On an error: fail, or output the prompt unchanged.",
)
@click.option(
    "--format", "form", type=click.Choice(("text", "json")), default="text", help="Format of the output."
)
@click.option("--diff", is_flag=True, help="Output the original, with dropped text struck out.")
@click.option("--explain", is_flag=True, help="Output a table: why each word was kept or dropped.")
@click.option("--html", "html", metavar="FILE", help="Write a report as a web page.")
@click.option(
    "--price",
    metavar="IN,OUT,READ,WRITE",
    help="Prices of a million tokens of input, output, cache read and cache write: show the bill of a chat.",
)
@click.option("--stats", is_flag=True, help="Figures on standard error.")
@click.option("--seed", type=int, default=0, help="Seed of the scorer random.")
@click.option("-o", "--output", metavar="FILE", help="Write to FILE.")
@click.option("-f", "--force", is_flag=True, help="Overwrite FILE.")
@threads_option
@message_options
def shorten(files: Sequence[str], **options: Any) -> int:
    """Drop what a prompt's reader can do without, within a budget of tokens.

    The output consists of spans of the input. Several text files are contexts that share the budget.
    Numbers, negations, identifiers, URLs, quotations, code, JSON and the like are kept by rule.

    \b
    prompt-compress --target-tokens 2000 --tokenizer tokenizer.json < prompt.txt
    prompt-compress --query 'Who founded it?' --rate 0.3 --retain with_sentence page.txt
    prompt-compress --input chat --part-rate tool=0.2 messages.json
    """
    chosen = settings(options)
    if sum((options["diff"], options["explain"], options["form"] == "json")) > 1:
        raise click.UsageError("--diff, --explain and --format json exclude each other")
    if len(files) > 1 and options["kind"] != "text":
        raise click.UsageError(f"--input {options['kind']} takes one file, not {len(files)}")
    if options["target_tokens"] is not None and options["tokenizer"] is None:
        options["tokenizer"] = ANY
        chosen.console.warning(
            f"the number of tokens is an upper bound, by the vocabulary of {OURS}; to use the whole budget,"
            " name the tokenizer (--tokenizer)"
        )
    prices = _prices(options)
    about = ""
    try:
        texts = [_read(name) for name in files or (STDIN,)]
        about = files[0] if len(files) == 1 else ""
        from nacrith.prompt.compress import SEPARATOR

        compressor = _compressor(chosen, options)
        result = _compress(compressor, SEPARATOR.join(texts), options["query"], options)
        if result.note.startswith("error: "):
            chosen.console.warning(f"left unchanged: {result.note.removeprefix('error: ')}")
        _report(chosen, result, options)
        if prices is not None:
            _show_bill(chosen, compressor, result.origin, prices, options)
        elif options["kind"] == "chat" and options["query"] and _question_changes(result.origin):
            chosen.console.warning(
                "a query that changes with each question changes earlier messages too, so that prompt caches"
                " are of no use; --price shows what it costs"
            )
    except PASSED_ON:
        raise
    except BaseException as error:  # a panic in a tokenizer is a BaseException
        return chosen.console.failure(error, about)
    return OK


def _read(name: str) -> str:
    if os.path.isdir(name):
        raise CommandError(f"{shown(name)} is a directory; name the files in it")
    try:
        return read_whole(name).decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        raise CommandError(f"byte {error.start} of {shown(name)} is not UTF-8: convert the text") from None


def _prices(options: dict[str, Any]) -> Price | None:
    if options["price"] is None:
        return None
    if options["kind"] != "chat":
        raise click.UsageError("--price shows the bill of a conversation: it needs --input chat")
    from nacrith.prompt.pricing import Price

    return Price.parse(options["price"])


def _compressor(chosen: Settings, options: dict[str, Any]) -> PromptCompressor:
    from nacrith.prompt import PromptCompressor

    model = options["model"] or (None if options["scorer"] in _OWN_MODEL else chosen.model)
    return PromptCompressor(
        options["scorer"],
        options["tokenizer"],
        model=model,
        threads=chosen.threads,
        seed=options["seed"],
        download=options["download"],
        protect=options["protect"],
        patterns=options["patterns"],
        retain=options["retain"],
    )


def _compress(compressor: PromptCompressor, source: str, query: str, options: dict[str, Any]) -> Compressed:
    return compressor.compress(
        source,
        query=query,
        rate=options["rate"],
        target_tokens=options["target_tokens"],
        threshold=options["threshold"],
        kind=options["kind"],
        rates=dict(options["rates"]),
        prefix_stable=options["prefix_stable"],
        min_tokens=options["min_tokens"],
        on_error=options["on_error"],
    )


def _report(chosen: Settings, result: Compressed, options: dict[str, Any]) -> None:
    from nacrith.prompt import report

    if options["form"] == "json":
        text = json.dumps(result.as_dict(), ensure_ascii=False) + "\n"
    elif options["explain"]:
        text = report.table(result)
    elif options["diff"]:
        terminal = chosen.output is None and sys.stdout is not None and sys.stdout.isatty()
        text = report.diff(result, colour=terminal)
    else:
        text = result.text
    if options["html"]:
        _write(options["html"], report.page(result), chosen.force)
    _write(chosen.output, text, chosen.force)
    if options["stats"]:
        _show(report.stats(result))
    if result.raised:
        chosen.console.warning(
            f"the result has {result.compressed_tokens} tokens, up to {result.raised} more than the rates"
            " allow: what must be kept of each text exceeds its rate (--target-tokens is never exceeded)"
        )


def _show(rows: Sequence[tuple[str, str]]) -> None:
    """A table of names and values on standard error."""
    width = max(len(name) for name, _ in rows)
    click.echo("".join(f"{name:{width}}  {value}\n" for name, value in rows), err=True, nl=False)


def _question_changes(source: str) -> bool:
    """Whether a chat has more than one question of a person."""
    from nacrith import jsontext
    from nacrith.prompt import turns

    requests = turns.requests(jsontext.parse(source, finite=False))
    return len({turns.question(request) for request in requests}) > 1


def _show_bill(
    chosen: Settings, compressor: PromptCompressor, source: str, prices: Price, options: dict[str, Any]
) -> None:
    from nacrith.prompt import pricing

    def shorten(request: str, query: str) -> str:
        return _compress(compressor, request, query, {**options, "on_error": "pass"}).text

    count = compressor.count if compressor.counted else pricing.estimate
    before, after = pricing.compare(source, shorten, options["query"], count, prices)
    _show(pricing.lines(before, after))
    if after.total > before.total:
        chosen.console.warning(
            f"compression costs more than it saves: {pricing.change(before, after):+.1f} %. Earlier messages"
            " change from turn to turn, and the cache is of no use: leave out --query, --target-tokens and"
            " --no-prefix-stable"
        )


def _write(target: str | None, text: str, force: bool) -> None:
    with open_output(target, os.stat(os.curdir), force=force, archive=False) as output:
        output.write(text.encode())
        output.commit()


command = FilterGroup(
    "prompt", filter_command=shorten, later=LATER, prefix="prompt_", help=shorten.help, short_help=_SUMMARY
)


def main() -> None:
    """Entry point of the `prompt-compress` script."""
    from nacrith.cli.entry import main as run

    run(command=command, name="prompt-compress")
