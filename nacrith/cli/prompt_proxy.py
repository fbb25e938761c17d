"""`nacrith prompt proxy`: shortens tool results on their way to a model's API."""

from __future__ import annotations

from typing import Any

import click

from nacrith.cli import signals
from nacrith.cli.console import OK
from nacrith.cli.options import Size, message_options, settings
from nacrith.cli.prompt_tools import tool_options, tool_results


@click.command("proxy", short_help="Shorten tool results on their way to a model's API.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8787, show_default=True, help="Its port; 0: any."
)
@click.option("--openai", metavar="URL", help="API for OpenAI's paths (default: https://api.openai.com).")
@click.option(
    "--anthropic", metavar="URL", help="API for Anthropic's paths (default: https://api.anthropic.com)."
)
@click.option("--audit", is_flag=True, help="Change nothing; log what would be saved.")
@tool_options
@click.option(
    "--cache-minimum",
    metavar="N",
    type=click.IntRange(0),
    help="Shorten nothing in prompts below N tokens (default: what the API caches from).",
)
@click.option(
    "--max-body", metavar="SIZE", type=Size(), default="16M", show_default=True, help="Pass on larger ones."
)
@message_options
def command(**options: Any) -> int:
    """A local proxy for the APIs of OpenAI, of Anthropic, and compatible ones.

    It shortens what tools returned and nothing else. What was sent before is sent again byte for byte, so
    that prompt caches keep working. Errors of the proxy itself never stop a request. Keys and texts are not
    logged.

    \b
    nacrith prompt proxy --audit
    OPENAI_BASE_URL=http://127.0.0.1:8787/v1 PROGRAM
    ANTHROPIC_BASE_URL=http://127.0.0.1:8787 PROGRAM
    """
    from nacrith.prompt.proxy import serve
    from nacrith.prompt.proxy.plan import ANTHROPIC, OPENAI, Planner, Totals

    console = settings(options).console
    serve.check_packages()
    upstreams = {
        api: serve.checked_upstream(options[api] or serve.UPSTREAMS[api]) for api in (OPENAI, ANTHROPIC)
    }
    planner = Planner(tool_results(options), options["cache_minimum"])
    totals = Totals()
    say = console.note if not options["audit"] else console.warning
    if not serve.is_local(options["host"]):
        console.warning(f"whoever can reach {options['host']} can use this proxy: it asks for no password")
    bound = serve.listening(options["host"], options["port"])

    def summary() -> None:
        console.warning(str(totals))

    console.warning(f"listening on {serve.address_of(bound)}; Ctrl-C ends it")
    signals.before_death.add(summary)
    try:
        serve.serve(
            bound,
            planner,
            upstreams,
            audit=options["audit"],
            max_body=options["max_body"],
            say=say,
            totals=totals,
        )
    finally:
        signals.before_death.discard(summary)
        bound.close()
    summary()
    return OK
