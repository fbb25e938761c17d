"""`nacrith --completion SHELL`: the script by which a shell completes commands, options and files.

click generates the script and answers the shell; only the first word needs help, because nacrith works
with a command and without one.
"""

from __future__ import annotations

import click
from click.shell_completion import CompletionItem, get_completion_class

from nacrith.cli.outputs import print_line

SHELLS = ("bash", "zsh", "fish")
PROGRAM, VARIABLE = "nacrith", "_NACRITH_COMPLETE"
"""The program, and the environment variable by which its shell asks it; both are click's convention."""


def script(command: click.Command, shell: str) -> str:
    """The script for one of `SHELLS`."""
    found = get_completion_class(shell)
    assert found is not None, f"click has no completion for {shell}"
    return found(command, {}, PROGRAM, VARIABLE).source()


def first_word(
    filter_command: click.Command, commands: dict[str, str], incomplete: str
) -> list[CompletionItem]:
    """What may stand first: an option of the filter form, a command, or a file.

    commands: their short help. The file comes first: in bash it resets what was collected before it.
    """
    if incomplete.startswith("-"):
        context = click.Context(filter_command, info_name=PROGRAM, help_option_names=["-h", "--help"])
        return filter_command.shell_complete(context, incomplete)
    found = [
        CompletionItem(name, help=text) for name, text in commands.items() if name.startswith(incomplete)
    ]
    return [CompletionItem(incomplete, type="file"), *found]


def _print_script(context: click.Context, _: click.Parameter, shell: str | None) -> None:
    if shell is not None and not context.resilient_parsing:
        print_line(script(context.find_root().command, shell).rstrip("\n"))
        context.exit()


completion_option = click.option(
    "--completion",
    metavar="SHELL",
    type=click.Choice(SHELLS),
    is_eager=True,
    expose_value=False,
    callback=_print_script,
    help="Print the completion script for bash, zsh or fish.",
)
