"""The proxy as an ASGI application: passes a request on, with shorter tool results, and the answer back.

The answer is passed on as it comes, byte for byte, in whatever encoding, with its status and headers. Of a
request, only the tool results change, and only if that works: whatever goes wrong in our part, the original
is sent. Headers, keys among them, are passed on and, apart from the few named here, never looked at. Neither
they nor any text are logged.

It needs no framework: https://asgi.readthedocs.io/en/latest/specs/www.html. Hop-by-hop headers: RFC 9110,
section 7.6.1.
"""

from __future__ import annotations

import asyncio
import json
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from dataclasses import dataclass, field
from typing import Any

import httpx

from nacrith.prompt.proxy.plan import ANTHROPIC, OPENAI, Plan, Planner, Totals
from nacrith.workers import Patient

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]

_ENDS = ("/chat/completions", "/responses")
_HOP = frozenset(
    b"connection keep-alive proxy-authenticate proxy-authorization proxy-connection te trailer"
    b" transfer-encoding upgrade".split()
)


@dataclass
class Proxy:
    """The application.

    client: sends requests, and does not follow redirects. upstreams: base address of each
    API. audit: nothing changes, and what would be saved is logged. max_body: bytes; a longer request is
    passed on as it comes. patient: how long a request may wait for our part. say: gets lines for the
    log.
    """

    client: httpx.AsyncClient
    planner: Planner
    upstreams: dict[str, str]
    audit: bool = False
    max_body: int = 16 << 20
    patient: Patient = field(default_factory=Patient)
    say: Callable[[str], None] = lambda line: None
    totals: Totals = field(default_factory=Totals)

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await _Exchange(self, scope, receive, send).run()
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close"})

    async def body_to_send(self, api: str, about: str, body: bytes, encoding: bytes) -> bytes:
        """The body with shorter tool results, not encoded; the very same object if it is to stay."""
        try:
            plain = _decoded(body, encoding, self.max_body)
            plan = None
            if plain is not None:
                plan = await self.patient.wait(self.planner.plan, plain, api)
        except Exception as error:
            self.totals.failed_open += 1
            self.say(f"{about}: passed on as it is ({type(error).__name__})")
            return body
        if plan is None or not plan.texts:
            return body
        self.planner.keep(plan)
        self.totals.before += plan.before
        self.totals.after += plan.after
        self.say(f"{about}: {_report(plan, self.audit)}")
        return body if self.audit or plan.body is plain else plan.body


class _Exchange:
    """One request and its answer."""

    def __init__(self, proxy: Proxy, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        self.proxy, self.scope, self.receive, self.send = proxy, scope, receive, send
        self.headers: Headers = scope["headers"]
        self.path: str = scope["path"]
        self.read = asyncio.Event()  # whether all of the request was received

    async def run(self) -> None:
        """Answer the request; if the client goes away, the request to the API is given up."""
        work = asyncio.ensure_future(self._answer())
        gone = asyncio.ensure_future(self._until_gone())
        try:
            await asyncio.wait({work, gone}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (work, gone):
                task.cancel()
            await asyncio.gather(work, gone, return_exceptions=True)
        error = None if work.cancelled() else work.exception()
        if error is not None and not isinstance(error, _GoneError):
            raise error  # the server cuts the connection: the client must not take it for the end

    async def _until_gone(self) -> None:
        await self.read.wait()
        while (await self.receive())["type"] != "http.disconnect":
            pass

    async def _answer(self) -> None:
        raw = self.scope.get("raw_path") or self.path.encode()
        if not raw.startswith(b"/"):
            await self._refuse(400, "the address of a request begins with /")
            return
        shown = raw.decode("ascii", "replace")  # as it was sent: without ends of lines, and without the query
        api = _api(self.path, self.headers)
        body, whole = await self._body()
        content: Any = body
        headers = _passed_on(self.headers, b"host", b"expect")
        if not whole:
            content = self._rest(body)
        elif self.scope["method"] == "POST" and _has_tools(self.path, api):
            about = f"POST {shown}"
            content = await self.proxy.body_to_send(api, about, body, _header(headers, b"content-encoding"))
            if content is not body:
                headers = [h for h in headers if h[0] not in (b"content-encoding", b"content-length")]
        query = self.scope.get("query_string", b"")
        base = httpx.URL(self.proxy.upstreams[api])
        target = base.raw_path.rstrip(b"/") + raw + (b"?" + query if query else b"")
        request = httpx.Request(
            self.scope["method"], base.copy_with(raw_path=target), headers=headers, content=content or None
        )
        self.proxy.totals.requests += 1
        try:
            answer = await self.proxy.client.send(request, stream=True)
        except httpx.HTTPError as error:
            self.proxy.say(f"{self.scope['method']} {shown}: no answer ({type(error).__name__})")
            await self._refuse(502, f"the API cannot be reached: {type(error).__name__}")
            return
        try:
            await self._pass_back(answer)
        finally:
            await asyncio.shield(answer.aclose())

    async def _pass_back(self, answer: httpx.Response) -> None:
        headers = _passed_on([(k.lower(), v) for k, v in answer.headers.raw])
        await self.send({"type": "http.response.start", "status": answer.status_code, "headers": headers})
        async for chunk in answer.aiter_raw():
            await self.send({"type": "http.response.body", "body": chunk, "more_body": True})
        await self.send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _refuse(self, status: int, what: str) -> None:
        """An error of ours, in the form that both APIs give theirs."""
        said = {"type": "error", "error": {"type": "nacrith_proxy_error", "message": f"nacrith: {what}"}}
        data = json.dumps(said).encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(data)).encode())]
        await self.send({"type": "http.response.start", "status": status, "headers": headers})
        await self.send({"type": "http.response.body", "body": data})

    async def _body(self) -> tuple[bytes, bool]:
        """The body, and True; if it exceeds the limit, what was received up to there, and False."""
        chunks: list[bytes] = []
        size = 0
        async for chunk in self._chunks():
            chunks.append(chunk)
            size += len(chunk)
            if size > self.proxy.max_body:
                return b"".join(chunks), False
        return b"".join(chunks), True

    async def _rest(self, first: bytes) -> AsyncIterator[bytes]:
        yield first
        async for chunk in self._chunks():
            yield chunk

    async def _chunks(self) -> AsyncIterator[bytes]:
        while not self.read.is_set():
            message = await self.receive()
            if message["type"] == "http.disconnect":
                raise _GoneError
            if not message.get("more_body", False):
                self.read.set()
            if message.get("body"):
                yield message["body"]


class _GoneError(Exception):
    """The client closed the connection before its request was complete."""


def _api(path: str, headers: Headers) -> str:
    messages = path == "/v1/messages" or path.startswith("/v1/messages/")
    return ANTHROPIC if messages or _header(headers, b"anthropic-version") else OPENAI


def _has_tools(path: str, api: str) -> bool:
    return path.endswith(_ENDS) or (
        api == ANTHROPIC and path.endswith(("/messages", "/messages/count_tokens"))
    )


def _header(headers: Headers, name: bytes) -> bytes:
    return next((value for key, value in headers if key == name), b"")


def _passed_on(headers: Headers, *without: bytes) -> Headers:
    """The headers that a proxy passes on; names are in lower case."""
    named = {
        name.strip().lower() for key, value in headers if key == b"connection" for name in value.split(b",")
    }
    return [(k, v) for k, v in headers if k not in _HOP and k not in named and k not in without]


def _decoded(body: bytes, encoding: bytes, limit: int) -> bytes | None:
    """The body without its encoding; None for an encoding that is not read here, or beyond the limit."""
    if encoding.strip().lower() in (b"", b"identity"):
        return body
    if encoding.strip().lower() not in (b"gzip", b"x-gzip"):
        return None
    unpacker = zlib.decompressobj(wbits=31)
    plain = unpacker.decompress(body, limit + 1)
    return plain if len(plain) <= limit and unpacker.eof and not unpacker.unused_data else None


def _report(plan: Plan, audit: bool) -> str:
    saved = 100 * (plan.before - plan.after) / plan.before if plan.before else 0.0
    would = "would be " if audit else ""
    return (
        f"{plan.texts} tool results, {plan.shortened} {would}shortened ({plan.new} of them new):"
        f" {plan.before:,} to {plan.after:,} characters, {saved:.0f} % less"
    )
