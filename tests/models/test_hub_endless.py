"""Servers that send, and never come to an end; mirrors; and what a server says, in messages."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from fake_hub import COMMIT, REPO, TINY_FILES, FakeHub

from nacrith.errors import ModelError
from nacrith.models.hub import client as hub
from nacrith.models.hub.pull import pull


@contextmanager
def server(answer: Callable[[socket.socket], None], ended: threading.Event | None = None) -> Iterator[str]:
    """What sends whatever `answer` does, to each who asks. `ended` is set if one has taken it to its end."""
    listening = socket.create_server(("127.0.0.1", 0))

    def serve(connection: socket.socket) -> None:
        with connection, suppress(OSError):
            connection.recv(65536)
            answer(connection)
            if ended:
                ended.set()

    def accept() -> None:
        with suppress(OSError):
            while True:
                threading.Thread(target=serve, args=(listening.accept()[0],), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    with listening:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        listening.shutdown(socket.SHUT_RDWR)


def drip(connection: socket.socket, content: bytes) -> None:
    """50 bytes a second, of which the content given here is worth a minute or more."""
    for byte in content:
        connection.sendall(bytes([byte]))
        time.sleep(0.02)


def drip_head(connection: socket.socket) -> None:
    drip(connection, b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 500)


def drip_body(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
    drip(connection, b" " * 3000)


def early_answers(connection: socket.socket) -> None:
    while True:
        connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n" * 1000)


def endless_head(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\n")
    while True:
        connection.sendall(b"HTTP/1.1 103 Early Hints\r\nX: " + b"y" * 60000 + b"\r\n\r\n")


@pytest.mark.parametrize("answer", [drip_head, drip_body, early_answers, endless_head])
def test_an_answer_that_never_ends(
    cache: Path, monkeypatch: pytest.MonkeyPatch, answer: Callable[[socket.socket], None]
) -> None:
    monkeypatch.setattr(hub, "PATIENCE", 0.2)
    ended = threading.Event()
    with server(answer, ended) as address:
        monkeypatch.setenv("HF_ENDPOINT", address)
        with pytest.raises(ModelError, match=r"cannot reach|more than"):
            pull(REPO)
    assert not ended.is_set()


def test_content_that_drips(fake: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    """It gets further with each try, and would take days."""
    ended = threading.Event()

    def content(request: BaseHTTPRequestHandler, _content: bytes) -> None:
        monkeypatch.setattr(hub, "PATIENCE", 0.5)  # from now on: what went before may take its time
        drip_body(request.connection)
        ended.set()

    monkeypatch.setattr(hub, "ATTEMPTS", 3)
    monkeypatch.setattr(fake, "_content", content)
    with pytest.raises(ModelError, match=r"stopped at .* bytes in"):
        pull(REPO)
    assert not ended.is_set()


def test_what_a_server_says_is_no_command_to_the_terminal(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "ATTEMPTS", 1)

    def answer(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 418 \x1b]0;owned\x07\x9b31mhot\r\nContent-Length: 0\r\n\r\n")

    with server(answer) as address:
        monkeypatch.setenv("HF_ENDPOINT", address)
        with pytest.raises(ModelError, match="418") as caught:
            pull(REPO)
    assert str(caught.value).isprintable()
    assert "hot" in str(caught.value)


@pytest.fixture
def mirror(fake: FakeHub, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[str, str | None]]]:
    """In front of the hub: answers questions itself, redirects everything else there. Its log."""
    log: list[tuple[str, str | None]] = []

    class Mirror(BaseHTTPRequestHandler):
        def log_message(self, *args: object) -> None:
            pass

        def do_GET(self) -> None:
            log.append((self.command, self.headers.get("Authorization")))
            if self.path.startswith("/api/"):
                fake._answer(self, "hub")
            else:
                fake._reply(self, 308, {"Location": fake.address() + self.path})

        do_HEAD = do_GET  # noqa: N815 - the name that the library calls

    running = ThreadingHTTPServer(("127.0.0.1", 0), Mirror)
    threading.Thread(target=running.serve_forever, args=(0.01,), daemon=True).start()
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{running.server_address[1]}")
    yield log
    running.shutdown()
    running.server_close()


def test_a_mirror_that_redirects_to_the_hub(
    fake: FakeHub, mirror: list[tuple[str, str | None]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Followed to where sizes and hashes are told, without the token, which is the mirror's."""
    monkeypatch.setenv("HF_TOKEN", "secret")
    path, new = pull(REPO)
    assert new
    assert path.is_file()
    assert {token for _, token in mirror} == {"Bearer secret"}
    resolved = fake.requests("HEAD", f"/resolve/{COMMIT}/")
    assert len(resolved) == len(TINY_FILES)
    assert all(r.token is None for r in fake.log if not r.path.startswith("/api/models/"))
    assert not [r for r in fake.log if r.server == "content" and r.method == "HEAD"]
