"""`nacrith prompt mcp`: an MCP server in front of another one, which shortens what its tools return."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from nacrith.cli import signals
from nacrith.cli.console import OK, CommandError, describe_os_error, printable
from nacrith.cli.options import message_options, settings
from nacrith.cli.outputs import StandardOutput
from nacrith.cli.prompt_tools import tool_options, tool_results
from nacrith.cli.streams import PatientFile


@click.command("mcp", short_help="Shorten what the tools of an MCP server return.")
@click.argument("server", metavar="-- COMMAND [ARGUMENT]...", nargs=-1, required=True)
@click.option("--audit", is_flag=True, help="Change nothing; log what would be saved.")
@tool_options
@message_options
def command(server: Sequence[str], **options: Any) -> int:
    """An MCP server that runs another one and shortens long texts that its tools return.

    It has the tools of the other server and one more, retrieve, which returns what was left out. It talks
    over standard input and output; name it to the client in place of the other server.

    \b
    nacrith prompt mcp -- npx -y @modelcontextprotocol/server-filesystem ~/notes
    """
    from nacrith.prompt.mcp.messages import Messages
    from nacrith.prompt.mcp.relay import Relay

    console = settings(options).console
    say = console.warning if options["audit"] else console.note
    messages = Messages(tool_results(options), audit=options["audit"], say=say)
    try:
        relay = Relay(server, messages, StandardOutput().write)
    except OSError as error:
        raise CommandError(describe_os_error(error, f"cannot start {printable(server[0])}")) from None
    signals.before_death.add(relay.stop)
    try:
        code = relay.run(PatientFile(0, closefd=False).chunks())
    finally:
        signals.before_death.discard(relay.stop)
        messages.close()
    if code:
        console.error(f"the server {printable(server[0])} ended with the exit code {code}")
        return code if code > 0 else 128 - code
    return OK
