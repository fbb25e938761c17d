"""Runs the proxy with uvicorn, on an address of this machine, until a signal ends it."""

from __future__ import annotations

import asyncio
import importlib.util
import ipaddress
import socket
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from nacrith.errors import PromptError
from nacrith.prompt.proxy.plan import ANTHROPIC, OPENAI, Planner, Totals

HOST, PORT = "127.0.0.1", 8787
UPSTREAMS = {OPENAI: "https://api.openai.com", ANTHROPIC: "https://api.anthropic.com"}

_CONNECT = 30.0  # seconds; an answer may take as long as it does
_GRACE = 5  # seconds for answers that are being passed on when the proxy ends
_BACKLOG = 128
_SERVER: dict[str, Any] = {
    "lifespan": "off",
    "access_log": False,  # it has addresses with their queries, where some APIs have the key
    "log_config": None,
    "log_level": "critical",
    "server_header": False,
    "date_header": False,
    "proxy_headers": False,
    "ws": "none",
    "timeout_graceful_shutdown": _GRACE,
}


def check_packages() -> None:
    """PromptError if a package of the extra is not installed."""
    missing = [name for name in ("httpx", "uvicorn") if importlib.util.find_spec(name) is None]
    if missing:
        raise PromptError(f"the proxy needs {' and '.join(missing)}; run: pip install 'nacrith[proxy]'")


def checked_upstream(url: str) -> str:
    """An address of an API as it was given; PromptError if it is none."""
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and parts.hostname and not (parts.query or parts.fragment)
        _ = parts.port
    except ValueError:
        good = False
    if not good:
        raise PromptError(f"{url!r} is no address of an API: write https://HOST or https://HOST/PATH")
    return url


def is_local(host: str) -> bool:
    """Whether only this machine can reach an address that is bound to."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def listening(host: str, port: int) -> socket.socket:
    """A socket that accepts connections; port 0 takes any that is free. Raises OSError."""
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    made = socket.socket(family, kind, protocol)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(address)
        made.listen(_BACKLOG)
    except BaseException:
        made.close()
        raise
    return made


def address_of(bound: socket.socket) -> str:
    host, port = bound.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def serve(
    bound: socket.socket,
    planner: Planner,
    upstreams: dict[str, str],
    *,
    audit: bool,
    max_body: int,
    say: Callable[[str], None],
    totals: Totals,
) -> None:
    """Serve until SIGINT or SIGTERM; what is being passed on then has a few seconds to end.

    bound: of `listening`. All others: see `app.Proxy`. Where the process had a handler for the signal, it is
    called at the end.
    """
    import httpx
    import uvicorn

    from nacrith.prompt.proxy.app import Proxy

    async def run() -> None:
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=100)
        timeout = httpx.Timeout(None, connect=_CONNECT)
        async with httpx.AsyncClient(limits=limits, timeout=timeout) as client:
            proxy = Proxy(client, planner, upstreams, audit, max_body, say=say, totals=totals)
            try:
                await uvicorn.Server(uvicorn.Config(proxy, **_SERVER)).serve(sockets=[bound])
            finally:
                proxy.patient.close()

    planner.warm_up()
    asyncio.run(run())
