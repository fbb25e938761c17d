"""An API like those of OpenAI and Anthropic on a loopback port, and the real proxy in front of it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from clirunner import COMMAND, PATIENCE, ROOT, environment


@dataclass
class Seen:
    """A request as the API got it. body: None until all of it was read."""

    method: str
    path: str
    headers: list[tuple[str, str]]
    body: bytes | None = None

    @property
    def json(self) -> Any:
        assert self.body is not None
        return json.loads(self.body)

    def header(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key.lower() == name]


@dataclass
class Api:
    """The API. answer: status, headers and body of every answer, if not the usual one. wait: seconds
    before an answer. pause: seconds between events of a stream. cut: whether a stream lacks its end.
    gone: set when a reader has left."""

    address: str = ""
    seen: list[Seen] = field(default_factory=list)
    answer: tuple[int, dict[str, str], bytes] | None = None
    wait: float = 0.0
    pause: float = 0.0
    cut: bool = False
    gone: threading.Event = field(default_factory=threading.Event)


def openai_events(text: str) -> list[dict[str, Any]]:
    head = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "fake"}
    deltas: list[dict[str, Any]] = [
        {"role": "assistant", "content": ""},
        *({"content": w} for w in text.split()),
    ]
    chunks = [{**head, "choices": [{"index": 0, "delta": d, "finish_reason": None}]} for d in deltas]
    return [*chunks, {**head, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}]


def openai_answer(text: str) -> dict[str, Any]:
    message = {"role": "assistant", "content": text}
    usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    head = {"id": "c1", "object": "chat.completion", "created": 1, "model": "fake"}
    return {**head, "choices": [choice], "usage": usage}


def anthropic_answer(text: str) -> dict[str, Any]:
    return {
        "id": "m1", "type": "message", "role": "assistant", "model": "fake", "stop_reason": "end_turn",
        "stop_sequence": None, "content": [{"type": "text", "text": text}],
        "usage": {"input_tokens": 1, "output_tokens": 1},
    }  # fmt: skip


def anthropic_events(text: str) -> list[dict[str, Any]]:
    start = {**anthropic_answer(""), "content": [], "stop_reason": None}
    deltas = [
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": word}}
        for word in text.split()
    ]
    return [
        {"type": "message_start", "message": start},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        *deltas,
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 1}},
        {"type": "message_stop"},
    ]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    api: Api

    def log_message(self, format: str, *args: object) -> None:
        pass

    def _body(self) -> bytes:
        if self.headers.get("transfer-encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("content-length", 0)))
        out = b""
        while size := int(self.rfile.readline(), 16):
            out += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return out

    def do_POST(self) -> None:
        seen = Seen(self.command, self.path, list(self.headers.items()))
        self.api.seen.append(seen)
        seen.body = self._body()
        anthropic = "/messages" in self.path
        time.sleep(self.api.wait)
        if self.api.answer is not None:
            self._reply(*self.api.answer)
        elif b'"stream":true' in seen.body.replace(b" ", b""):
            self._stream(anthropic)
        else:
            made = anthropic_answer("It works.") if anthropic else openai_answer("It works.")
            self._reply(200, {"content-type": "application/json"}, json.dumps(made).encode())

    do_GET = do_PUT = do_DELETE = do_POST  # noqa: N815

    def _reply(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.send_response_only(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _stream(self, anthropic: bool) -> None:
        self.send_response_only(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        events = anthropic_events("It works. ") if anthropic else openai_events("It works. ")
        lines = [f"event: {e['type']}\n" if anthropic else "" for e in events]
        data = [f"{line}data: {json.dumps(e)}\n\n" for line, e in zip(lines, events, strict=True)]
        if not anthropic:
            data.append("data: [DONE]\n\n")
        try:
            for piece in data[:2] if self.api.cut else data:
                self.wfile.write(f"{len(piece.encode()):x}\r\n{piece}\r\n".encode())
                self.wfile.flush()
                time.sleep(self.api.pause)
            if not self.api.cut:
                self.wfile.write(b"0\r\n\r\n")
        except OSError:
            self.api.gone.set()
        self.close_connection = self.api.cut


@contextmanager
def running_api() -> Iterator[Api]:
    api = Api()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"api": api}))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    api.address = f"http://127.0.0.1:{server.server_port}"
    try:
        yield api
    finally:
        server.shutdown()
        server.server_close()


@dataclass
class Running:
    """The proxy as a process. address: where it listens. lines: what it has said."""

    address: str
    process: subprocess.Popen[str]
    lines: list[str]

    def stop(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(PATIENCE)

    def said(self, pattern: str) -> re.Match[str]:
        """The first line with the pattern; waits for it."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            for line in list(self.lines):
                if found := re.search(pattern, line):
                    return found
            time.sleep(0.01)
        raise AssertionError(f"{pattern!r} is not in {self.lines}")


@contextmanager
def running_proxy(api: str, *options: str) -> Iterator[Running]:
    process = subprocess.Popen(
        [*COMMAND, "prompt", "proxy", "--port", "0", "--openai", api, "--anthropic", api, "-v", *options],
        stderr=subprocess.PIPE, text=True, cwd=ROOT, env=environment(no_proxy="*"),
    )  # fmt: skip
    lines: list[str] = []

    def read() -> None:
        assert process.stderr is not None
        for line in process.stderr:
            lines.append(line)

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    made = Running("", process, lines)
    try:
        made.address = made.said(r"listening on (http://\S+);")[1]
        yield made
    finally:
        if process.poll() is None:
            os.kill(process.pid, signal.SIGKILL)
        process.wait(PATIENCE)
        reader.join(PATIENCE)
        assert process.stderr is not None
        process.stderr.close()
