"""The options that `nacrith prompt proxy` and `nacrith prompt mcp` share: how tool results are shortened."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from nacrith.cli.options import threads_option, together
from nacrith.prompt.scorers import NAMES

if TYPE_CHECKING:
    from nacrith.prompt.toolresults import ToolResults

tool_options = together(
    click.option(
        "--rate",
        type=click.FloatRange(0, 1),
        default=0.3,
        show_default=True,
        help="Fraction of each tool result to keep.",
    ),
    click.option(
        "--min-chars",
        metavar="N",
        type=click.IntRange(1),
        default=1000,
        show_default=True,
        help="Leave shorter ones alone.",
    ),
    click.option(
        "--scorer",
        type=click.Choice(NAMES),
        default="lexrank",
        show_default=True,
        help="How to rank sentences or words.",
    ),
    click.option("-m", "--model", metavar="MODEL", help="Model of the scorer, if it needs one."),
    threads_option,
)
"""How tool results are shortened."""


def tool_results(options: dict[str, Any]) -> ToolResults:
    """What shortens them, from the values of `tool_options`."""
    from nacrith.prompt.compress import PromptCompressor
    from nacrith.prompt.toolresults import ToolResults

    compressor = PromptCompressor(
        options["scorer"], model=options["model"], threads=options["threads"] or None, retain="with_sentence"
    )
    return ToolResults(compressor, rate=options["rate"], minimum=options["min_chars"])
