"""A hub on this machine: the part of the Hugging Face hub's HTTP interface that nacrith uses, with faults.

Two servers, as there: the hub answers questions itself and redirects requests for large files (LFS) to
another host, which has the content. Small files are redirected within the hub.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

from paths import TINY_HF

COMMIT = "0123456789abcdef0123456789abcdef01234567"
REPO = "someone/tiny-llama"
TINY_FILES = {name: (TINY_HF / name).read_bytes() for name in ("config.json", "tokenizer.json")}
TINY_FILES["model.safetensors"] = (TINY_HF / "model.safetensors").read_bytes()


class Request(NamedTuple):
    """One that has come in. server: "hub" or "content"."""

    server: str
    method: str
    path: str
    token: str | None
    range: str | None


class FakeHub:
    """Started on creation; `close` ends it. The attributes below are its faults.

    token: what requests must bear. gated: refuse it all the same. statuses: answers for the next requests
    of any kind. cuts: for the next requests for content, after how many bytes the connection ends.
    ranges: whether content is served from an offset. corrupt: change a byte of the content. headers:
    replace those of the answers to HEAD (None removes one). commits: what revisions mean.
    """

    def __init__(self, files: Mapping[str, bytes] = TINY_FILES) -> None:
        self.files = dict(files)
        self.commits = {"main": COMMIT, COMMIT: COMMIT}
        self.card: object = {"license": "apache-2.0"}
        self.token: str | None = None
        self.gated = False
        self.statuses: list[int] = []
        self.cuts: list[int] = []
        self.ranges = True
        self.corrupt = False
        self.headers: dict[str, str | None] = {}
        self.location: str | None = None
        self.listing: bytes | None = None
        self.log: list[Request] = []
        self.sent = 0  # bytes of large content
        self._servers = {name: self._serve(name) for name in ("hub", "content")}

    def address(self, name: str = "hub") -> str:
        return f"http://127.0.0.1:{self._servers[name].server_address[1]}"

    def close(self) -> None:
        for server in self._servers.values():
            server.shutdown()
            server.server_close()

    def requests(self, method: str, part: str = "") -> list[Request]:
        return [r for r in self.log if r.method == method and part in r.path]

    def partly(self, name: str, content: bytes, directory: Path) -> Path:
        """A partial file as an interrupted download leaves it."""
        folder = directory / "sources" / REPO.replace("/", "--") / COMMIT
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{name}.partial"
        path.write_bytes(content)
        return path

    def _serve(self, name: str) -> ThreadingHTTPServer:
        fake = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *args: object) -> None:
                pass

            def do_GET(self) -> None:
                fake._answer(self, name)

            def do_HEAD(self) -> None:
                fake._answer(self, name)

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        return server

    def _answer(self, request: BaseHTTPRequestHandler, name: str) -> None:
        path = unquote(urlsplit(request.path).path)
        get = request.headers.get
        self.log.append(Request(name, request.command, path, get("Authorization"), get("Range")))
        if self.statuses:
            self._reply(request, self.statuses.pop(0), {"Retry-After": "0"})
        elif name == "content":
            self._content(request, self.files[path.removeprefix("/blob/")])
        elif self.token is not None and get("Authorization") != f"Bearer {self.token}":
            self._reply(request, 401)
        elif self.gated:
            self._reply(request, 403)
        elif path.startswith(f"/api/models/{REPO}/revision/"):
            self._revision(request, path.removeprefix(f"/api/models/{REPO}/revision/"))
        elif path.startswith("/api/resolve-cache/"):
            content = self.files[path.removeprefix("/api/resolve-cache/")]
            digest = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
            self._reply(request, 200, {"ETag": f'"{digest}"', "X-Repo-Commit": COMMIT}, content)
        elif path.startswith(f"/{REPO}/resolve/"):
            revision, _, file = path.removeprefix(f"/{REPO}/resolve/").partition("/")
            self._resolve(request, self.commits.get(revision), file)
        else:
            self._reply(request, 404)

    def _revision(self, request: BaseHTTPRequestHandler, revision: str) -> None:
        if revision not in self.commits:
            self._reply(request, 404)
            return
        siblings = [{"rfilename": name} for name in self.files]
        fields = {"sha": self.commits[revision], "siblings": siblings, "cardData": self.card}
        self._reply(request, 200, {}, self.listing or json.dumps(fields).encode())

    def _resolve(self, request: BaseHTTPRequestHandler, commit: str | None, name: str) -> None:
        content = self.files.get(name)
        if commit != COMMIT:
            self._reply(request, 404, {"X-Error-Code": "RevisionNotFound"})
        elif content is None:
            self._reply(request, 404, {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": COMMIT})
        elif name.endswith((".safetensors", ".gguf")):
            digest = hashlib.sha256(content).hexdigest()
            headers = {
                "Location": self.location or f"{self.address('content')}/blob/{name}?signature=secret",
                "X-Linked-Size": str(len(content)),
                "X-Linked-Etag": f'"{digest}"',
                "X-Repo-Commit": COMMIT,
            }
            self._reply(request, 302, headers)
        else:
            self._reply(request, 307, {"Location": f"/api/resolve-cache/{name}"})

    def _content(self, request: BaseHTTPRequestHandler, content: bytes) -> None:
        asked = request.headers.get("Range")
        start, status, headers = 0, 200, {}
        if asked and self.ranges:
            start = int(asked.removeprefix("bytes=").removesuffix("-"))
            status = 206 if start < len(content) else 416
            headers = {"Content-Range": f"bytes {start}-{len(content) - 1}/{len(content)}"}
        if self.corrupt:
            content = content[:-1] + bytes([content[-1] ^ 1])
        cut = self.cuts.pop(0) if self.cuts else None
        self.sent += len(content[start:][:cut])
        self._reply(request, status, headers, content[start:], cut)

    def _reply(
        self,
        request: BaseHTTPRequestHandler,
        status: int,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
        cut: int | None = None,
    ) -> None:
        all_headers: dict[str, str | None] = {"Content-Length": str(len(body)), **(headers or {})}
        if request.command == "HEAD":
            all_headers.update((k, v) for k, v in self.headers.items() if k in all_headers)
        request.send_response(status)
        for name, value in all_headers.items():
            if value is not None:
                request.send_header(name, value)
        request.end_headers()
        if request.command != "HEAD":
            request.wfile.write(body[:cut])
        request.close_connection = True


def left(cache: Path) -> list[str]:
    """The files of downloads that are in the cache."""
    return sorted(p.name for p in (cache / "sources").rglob("*") if p.is_file())
