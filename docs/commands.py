"""The commands of nacrith as data: what the command line reference and the man pages are made from.

Both are generated from the click commands, so that neither can disagree with --help. Needs click only:
the build of a wheel, which makes the man pages, has nothing else installed.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from dataclasses import dataclass

import click

from nacrith.cli.entry import group, main_filter
from nacrith.cli.groups import FilterGroup
from nacrith.cli.prompt import shorten


@dataclass(frozen=True)
class Text:
    """A paragraph of a help text. verbatim: lines that are not to be filled (click's \\b)."""

    text: str
    verbatim: bool


@dataclass(frozen=True)
class Page:
    """A program or command. name: as it is typed. options: names with metavar, and help.
    notes: sections at the end, title and text. below: its own commands, name and short help."""

    name: str
    summary: str
    usages: tuple[str, ...]
    description: tuple[Text, ...]
    options: tuple[tuple[str, str], ...]
    notes: tuple[tuple[str, str], ...]
    below: tuple[tuple[str, str], ...]


def pages() -> Iterator[Page]:
    """nacrith, its commands and theirs, then prompt-compress."""
    root = click.Context(group, info_name="nacrith", **group.context_settings)
    yield _filter_page(group, root)
    yield from _below(group, root)
    yield _page(shorten, root, "prompt-compress", ("prompt-compress [OPTION]... [FILE|-]...",))


def _filter_page(command: FilterGroup, context: click.Context) -> Page:
    name = context.command_path
    usages = (f"{name} [OPTION]... [FILE|-]...", f"{name} COMMAND [OPTION]... [FILE|-]...")
    return _page(command.filter_command, context, name, usages, tuple(command.summaries().items()))


def _below(parent: click.Group, context: click.Context) -> Iterator[Page]:
    for name in parent.list_commands(context):
        command = parent.get_command(context, name)
        assert command is not None
        own = click.Context(command, info_name=name, parent=context)
        if isinstance(command, FilterGroup):
            yield _filter_page(command, own)
            yield from _below(command, own)
            continue
        nested = isinstance(command, click.Group)
        below = (
            [(n, command.commands[n].get_short_help_str(100)) for n in sorted(command.commands)]
            if nested
            else []
        )
        yield _page(command, own, own.command_path, below=tuple(below))
        if nested:
            yield from _below(command, own)


def _page(
    command: click.Command,
    context: click.Context,
    name: str,
    usages: tuple[str, ...] = (),
    below: tuple[tuple[str, str], ...] = (),
) -> Page:
    own = click.Context(command, info_name=name, **group.context_settings)
    description = tuple(_paragraphs(command.help or ""))
    first = description[0].text if command is main_filter else command.get_short_help_str(100)
    return Page(
        name,
        first.rstrip("."),
        usages or (" ".join([name, *command.collect_usage_pieces(own)]),),
        description,
        tuple(_options(command, own)),
        tuple(_notes(command.epilog or "")),
        below,
    )


def _paragraphs(text: str) -> Iterator[Text]:
    for part in inspect.cleandoc(text).split("\n\n"):
        verbatim = part.startswith("\b\n")
        part = part.removeprefix("\b\n").strip("\n")
        yield Text(part if verbatim else " ".join(part.split()), verbatim)


def _options(command: click.Command, context: click.Context) -> Iterator[tuple[str, str]]:
    for option in command.get_params(context):
        record = option.get_help_record(context) if isinstance(option, click.Option) else None
        if record is not None:
            yield record[0], re.sub(r" +\[", " [", record[1])


def _notes(epilog: str) -> Iterator[tuple[str, str]]:
    """Paragraphs of the form `Title: text`."""
    for paragraph in _paragraphs(epilog):
        title, colon, text = " ".join(paragraph.text.split()).partition(": ")
        if colon:
            yield title, text
