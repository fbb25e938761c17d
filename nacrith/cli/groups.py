"""Groups of commands whose command word may be omitted: `nacrith`, and `nacrith prompt` within it.

If the first argument is not the name of a command, all arguments belong to the group's filter command.
Commands are imported when they are called, so that the others start faster.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any, cast

import click
from click.shell_completion import CompletionItem

from nacrith.cli.completion import first_word

FILTER = ""
"""Name of the command that runs if none is given; it cannot be typed."""


class FilterCommand(click.Command):
    """The filter command of a group; its help is that of the group."""

    above: FilterGroup

    def format_usage(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        path = (ctx.parent or ctx).command_path
        formatter.write_usage(path, "[OPTION]... [FILE|-]...")
        formatter.write_usage(path, "COMMAND [OPTION]... [FILE|-]...", prefix="       ")

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        super().format_options(ctx, formatter)
        with formatter.section(f"Commands ({(ctx.parent or ctx).command_path} COMMAND --help)"):
            formatter.write_dl(list(self.above.summaries().items()))


class FilterGroup(click.Group):
    """A group whose command word may be omitted.

    filter_command: gets the arguments if no command is named. later: commands that are modules of this
    package, and their short help; `prefix` and the command's name are the module's name.
    """

    def __init__(
        self,
        *args: Any,
        filter_command: FilterCommand,
        later: Mapping[str, str],
        prefix: str = "",
        **options: Any,
    ) -> None:
        super().__init__(*args, **options)
        self.filter_command, self.later, self.prefix = filter_command, later, prefix
        filter_command.above = self

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if ctx.resilient_parsing and not args:  # a shell asks what may come first
            return super().parse_args(ctx, args)
        if not args or (args[0] not in self.commands and args[0] not in self.later):
            args = [FILTER, *args]
        return super().parse_args(ctx, args)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name == FILTER:
            return self.filter_command
        if cmd_name in self.later:
            module = importlib.import_module(f"nacrith.cli.{self.prefix}{cmd_name.replace('-', '_')}")
            return cast(click.Command, module.command)
        return super().get_command(ctx, cmd_name)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(self.summaries())

    def summaries(self) -> dict[str, str]:
        """The commands with their short help, in alphabetical order."""
        known = {name: command.get_short_help_str() for name, command in self.commands.items()}
        return dict(sorted((known | dict(self.later)).items()))

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        return first_word(self.filter_command, self.summaries(), incomplete)
