"""`nacrith generate`: text from a language model, as it comes; many prompts; recorded answers and their
check."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import click

from nacrith.cli.console import OK, PASSED_ON, CommandError, run_each, shown
from nacrith.cli.engines import show_log
from nacrith.cli.inputs import STDIN, read_whole
from nacrith.cli.options import (
    Settings,
    backend_option,
    message_options,
    model_option,
    settings,
    threads_option,
)
from nacrith.cli.outputs import Output, explained, open_output, print_line

if TYPE_CHECKING:
    from nacrith.decoding import Answer, CautiousAnswer, Drafter, Sampling
    from nacrith.decoding.drafters import Recursive
    from nacrith.models.protocol import LanguageModel

_PER_PROMPT = {
    "max_tokens": int,
    "temperature": float,
    "top_k": int,
    "top_p": float,
    "min_p": float,
    "seed": int,
    "regex": str,
}
"""Options that a line of --batch may set for its prompt, with _LISTS of texts and one of _RULES."""
_LISTS = ("stop", "banned")
_RULES = ("regex", "schema")


@click.command("generate", short_help="Generate text, exactly reproducible.")
@click.argument("file", metavar="[FILE|-]", required=False)
@click.option("-p", "--prompt", metavar="TEXT", help="The prompt itself, in place of FILE.")
@click.option(
    "-n", "--max-tokens", metavar="N", type=click.IntRange(0), default=256, help="Most tokens (default: 256)."
)
@click.option("--temperature", metavar="X", type=float, default=0.0, help="0 for greedy (default).")
@click.option("--top-k", metavar="N", type=int, default=0, help="Choose among the N heaviest tokens.")
@click.option("--top-p", metavar="X", type=float, default=1.0, help="Among the heaviest of this total share.")
@click.option("--min-p", metavar="X", type=float, default=0.0, help="Among those of this share of the top.")
@click.option("--seed", metavar="N", type=int, default=0, help="The same seed gives the same text.")
@click.option("--stop", metavar="TEXT", multiple=True, help="End the answer before TEXT.")
@click.option("--ban", "banned", metavar="TEXT", multiple=True, help="Answer without TEXT.")
@click.option("--regex", metavar="RE", help="The answer matches RE from beginning to end.")
@click.option("--schema", metavar="FILE", help="The answer is JSON of the JSON Schema in FILE.")
@click.option("--cautious", is_flag=True, help="Where in doubt, try a few ways on and take the likeliest.")
@click.option(
    "--drafter",
    metavar="NAMES",
    default="auto",
    help="What guesses tokens ahead, for speed only: none, auto; recycling, lookup, ngram,"
    " model:NAME, pearl:NAME, skip:LAYERS joined by +; rsd:NAME.",
)
@click.option("--learned", metavar="FILE", help="Start from what recycling and ngram learned; keep it.")
@click.option("--batch", metavar="FILE", help='Prompts, a JSON object a line: {"prompt": "..."}.')
@click.option(
    "--lanes",
    metavar="N",
    type=click.IntRange(1, 1024),
    default=8,
    help="Prompts of --batch at a time (default: 8).",
)
@click.option("--verify", metavar="FILE", help="Check recorded answers; generate nothing.")
@click.option("--json", "as_json", is_flag=True, help="Write the recorded answer, a line of JSON.")
@click.option("--stats", is_flag=True, help="Figures on standard error.")
@click.option("-o", "--output", metavar="FILE", help="Write to FILE.")
@click.option("-f", "--force", is_flag=True, help="Overwrite FILE.")
@model_option
@backend_option
@threads_option
@message_options
def command(file: str | None, **options: Any) -> int:
    """Continue a prompt: FILE, standard input, or the text of -p.

    With an exact model the text depends on model, prompt, options and seed only, on every machine. So a
    recorded answer can be checked by anybody who has the model.

    \b
    nacrith generate -p 'Once upon a time' -n 100
    nacrith generate -p 'The year was ' --regex '[12][0-9]{3}'
    nacrith generate --batch prompts.jsonl -o answers.jsonl
    nacrith generate --verify answers.jsonl
    """
    chosen = settings(options)
    if options["regex"] is not None and options["schema"] is not None:
        raise click.UsageError("--regex and --schema exclude each other")
    sources = [option for option in ("prompt", "batch", "verify") if options[option] is not None]
    if len(sources) + (file is not None) > 1:
        raise click.UsageError("FILE, -p, --batch and --verify exclude each other")
    _check_cautious(options)
    show_log(chosen.console)
    about = options["verify"] or options["batch"] or file or ""
    try:
        if options["verify"] is not None:
            return _verify(chosen, options["verify"])
        if options["schema"] is not None:
            options["schema"] = _json(options["schema"])
        if options["batch"] is not None:
            _batch(chosen, options)
        else:
            _single(chosen, _read(file or STDIN) if options["prompt"] is None else options["prompt"], options)
    except PASSED_ON:
        raise
    except BaseException as error:
        return chosen.console.failure(error, about)
    return OK


def _check_cautious(options: dict[str, Any]) -> None:
    """--cautious chooses among whole trials: what is told of single tokens cannot be kept."""
    without = ("batch", "verify", "regex", "schema", "learned")
    wrong = [f"--{name}" for name in without if options[name] is not None]
    wrong += ["--ban"] if options["banned"] else []
    if options["cautious"] and wrong:
        raise click.UsageError(f"--cautious and {wrong[0]} exclude each other")
    if options["cautious"] and not options["temperature"]:
        raise click.UsageError("--cautious draws its trials: give a --temperature above 0")


def _read(name: str) -> bytes:
    if os.path.isdir(name):
        raise CommandError(f"{shown(name)} is a directory; name a file in it")
    return read_whole(name)


def _json(name: str) -> Any:
    from nacrith import jsontext

    try:
        return jsontext.parse(_read(name), unique=True)
    except jsontext.JsonError as error:
        raise CommandError(f"{shown(name)} is no JSON: {error}") from None


def _load(chosen: Settings) -> LanguageModel:
    from nacrith.models import load_model

    return load_model(chosen.model, threads=chosen.threads, backend=chosen.backend)


def _answer(model: LanguageModel, prompt: str | bytes, options: dict[str, Any]) -> Answer:
    from nacrith.decoding import Answer, Constraint, Regex, Schema

    rule: Constraint | None = None
    if options["regex"] is not None:
        rule = Regex(options["regex"])
    elif options["schema"] is not None:
        rule = Schema(options["schema"])
    stop, banned = options["stop"], options["banned"]
    return Answer(model, prompt, options["max_tokens"], _sampling(options), stop, rule, banned)


def _sampling(options: dict[str, Any]) -> Sampling:
    from nacrith.decoding import Sampling

    return Sampling(**{n: options[n] for n in ("temperature", "top_k", "top_p", "min_p", "seed")})


def _cautious(model: LanguageModel, prompt: str | bytes, options: dict[str, Any]) -> CautiousAnswer:
    from nacrith.decoding import cautious

    most, stop = options["max_tokens"], options["stop"]
    return cautious(model, prompt, max_tokens=most, sampling=_sampling(options), stop=stop)


def _drafters(model: LanguageModel, options: dict[str, Any]) -> list[Drafter] | Recursive:
    """The drafters that are asked for, with what they learned before."""
    from nacrith.decoding.drafters import Recursive, drafters, saved

    made = drafters(options["drafter"], model)
    path = options["learned"]
    if path is not None:
        if isinstance(made, Recursive) or not saved.learners(made):
            raise click.UsageError("--learned needs the drafter recycling or ngram")
        if os.path.exists(path):
            saved.load(made, path, model.fingerprint)
    return made


def _save(model: LanguageModel, made: list[Drafter] | Recursive, options: dict[str, Any]) -> None:
    from nacrith.decoding.drafters import Recursive, saved

    if options["learned"] is not None and not isinstance(made, Recursive):
        with explained(f"cannot write {shown(options['learned'])}"):
            saved.save(made, options["learned"], model.fingerprint)


def _single(chosen: Settings, prompt: str | bytes, options: dict[str, Any]) -> None:
    from nacrith.decoding.generation import stream
    from nacrith.decoding.record import record

    with open_output(chosen.output, os.stat(os.curdir), force=chosen.force, archive=False) as output:
        model = _load(chosen)
        answer: Answer | CautiousAnswer
        made: list[Drafter] | Recursive = []
        pieces: Iterable[str]
        if options["cautious"]:
            answer = pieces = _cautious(model, prompt, options)
        else:
            answer, made = _answer(model, prompt, options), _drafters(model, options)
            pieces = stream(model, answer, made)
        for piece in pieces:
            if not options["as_json"]:
                output.write(piece.encode())
        if options["as_json"]:
            output.write(_line(record(model, answer)))
        output.commit()
    _save(model, made, options)
    if options["stats"]:
        _report(_own_figures(answer))


def _batch(chosen: Settings, options: dict[str, Any]) -> None:
    from nacrith.decoding import generate_all

    with open_output(chosen.output, os.stat(os.curdir), force=chosen.force, archive=False) as output:
        requests = list(_requests(_read(options["batch"]), options))
        model = _load(chosen)
        made = _drafters(model, options)
        answers = [_numbered(n, model, request) for n, request in requests]
        waiting: set[int] = set()
        written = 0
        for index in generate_all(model, answers, drafter=made, lanes=options["lanes"]):
            waiting.add(index)
            while written in waiting:  # in the order of the prompts
                _write(output, model, answers[written], requests[written][1])
                written += 1
        output.commit()
    _save(model, made, options)
    if options["stats"]:
        _report(_figures(answers))


def _write(output: Output, model: LanguageModel, answer: Answer, request: dict[str, Any]) -> None:
    from nacrith.decoding.record import record

    own = {"id": request["id"]} if "id" in request else {}
    output.write(_line(own | record(model, answer)))


def _numbered(number: int, model: LanguageModel, request: dict[str, Any]) -> Answer:
    from nacrith.errors import DecodingError

    try:
        return _answer(model, request["prompt"], request)
    except DecodingError as error:
        raise CommandError(f"line {number}: {error}") from None


def _requests(data: bytes, options: dict[str, Any]) -> Iterator[tuple[int, dict[str, Any]]]:
    """(line, options of the prompt) of each line that is not blank."""
    from nacrith import jsontext

    for number, line in enumerate(data.splitlines(), 1):
        if not line.strip():
            continue
        try:
            found = jsontext.parse(line, unique=True)
        except jsontext.JsonError as error:
            raise CommandError(f"line {number} is no JSON: {error}") from None
        if not isinstance(found, dict) or not isinstance(found.get("prompt"), str):
            raise CommandError(f'line {number} is no object with a text "prompt"')
        for name, value in found.items():
            kind = _PER_PROMPT.get(name)
            good = kind is None or (
                isinstance(value, kind if kind is str else (int, kind)) and not isinstance(value, bool)
            )
            if name in _LISTS:
                good = isinstance(value, list) and all(isinstance(s, str) for s in value)
            elif name not in (*_PER_PROMPT, "schema", "prompt", "id"):
                known = ", ".join((*_PER_PROMPT, *_LISTS, "schema", "prompt", "id"))
                raise CommandError(f"line {number}: {name!r} is unknown; known are {known}")
            if not good:
                raise CommandError(f"line {number}: {name} is of the wrong type")
        rules = [name for name in _RULES if found.get(name) is not None]
        if len(rules) > 1:
            raise CommandError(f"line {number}: {' and '.join(rules)} exclude each other")
        own = dict.fromkeys(_RULES) if rules else {}  # a rule of the line replaces that of the options
        yield number, options | own | found


def _line(value: dict[str, Any]) -> bytes:
    return json.dumps(value).encode() + b"\n"


def _verify(chosen: Settings, name: str) -> int:
    """Check every line; the exit code."""
    lines = {f"line {n}": line for n, line in enumerate(_read(name).splitlines(), 1) if line.strip()}
    if not lines:
        raise CommandError("it holds no recorded answer")
    models: dict[bytes, LanguageModel] = {}
    code = run_each(lines, chosen.console, lambda place: _check(chosen, lines[place], models))
    if code == OK and chosen.console.verbosity >= 0:
        print_line(f"{shown(name)}: ok, {len(lines):,} answer{'s' if len(lines) > 1 else ''}")
    return code


def _check(chosen: Settings, line: bytes, models: dict[bytes, LanguageModel]) -> None:
    from nacrith.decoding import record
    from nacrith.models import load_model_by_fingerprint

    found = record.parse(line)
    key = record.fingerprint(found)
    if key not in models:
        models.clear()  # one model at a time
        if chosen.model_required:
            models[key] = _load(chosen)
        else:
            models[key] = load_model_by_fingerprint(key, found["model"], threads=chosen.threads)
    record.check(models[key], found)


def _own_figures(answer: Answer | CautiousAnswer) -> list[tuple[str, str]]:
    from nacrith.decoding import CautiousAnswer

    if not isinstance(answer, CautiousAnswer):
        return _figures([answer])
    figures = ("tokens", len(answer.tokens)), ("passes", answer.passes), ("trials", answer.trials)
    return [(name, f"{number:,}") for name, number in figures]


def _report(rows: list[tuple[str, str]]) -> None:
    click.echo("".join(f"{name:8}  {value}\n" for name, value in rows), err=True, nl=False)


def _figures(answers: list[Answer]) -> list[tuple[str, str]]:
    figures = [answer.statistics for answer in answers]
    tokens, passes = sum(len(answer.tokens) for answer in answers), sum(f.passes for f in figures)
    seconds, begun = max(f.seconds for f in figures), sum(f.prompt_seconds for f in figures)
    rows = [
        ("tokens", f"{tokens:,}"),
        ("passes", f"{passes:,} ({tokens / max(passes, 1):.2f} tokens a pass)"),
        ("drafted", f"{sum(f.drafted for f in figures):,}, accepted {sum(f.accepted for f in figures):,}"),
        ("prompts", f"{begun:.2f} s"),
    ]
    if len(answers) == 1:
        rows.append(("answer", f"{seconds - begun:.2f} s"))
    return rows
