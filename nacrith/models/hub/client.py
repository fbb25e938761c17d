"""The HTTP interface of the Hugging Face hub, as far as pulling a model needs it.

Three requests: what a revision is and holds, the size and hash of a file, its bytes from an offset.
The standard library serves them. The package huggingface_hub would do no more for us and less in one
respect: it compares the size of a download and not its hash, keeps the float weights in a cache that
conversion makes redundant, reads its settings when imported, and brings a dozen packages along.

The environment has the meaning it has there: HF_ENDPOINT, HF_TOKEN, HF_HUB_OFFLINE. The token goes to
the endpoint only, never to where a redirect leads. Reference: huggingface.co/docs/hub/api.
"""

from __future__ import annotations

import http.client
import io
import re
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from email.message import Message
from typing import IO, Any
from urllib.parse import quote, urlsplit

from nacrith import jsontext, settings
from nacrith.errors import ModelError, ModelMissingError
from nacrith.models.store.reference import COMMIT, HubFile, Reference

ENDPOINT = "https://huggingface.co"
TIMEOUT = 30.0  # seconds that a server may keep silent
PATIENCE = 60.0  # seconds that a response may take, and
PACE = 1024  # bytes a second, for which it may take a second more
_HEAD_MAX = 1 << 20  # bytes before the body, interim responses included
ATTEMPTS = 5  # in a row without progress, before a request is given up
_CONNECTIONS = 3  # fewer, where nothing answers: most often there is no network, and somebody waits
BACKOFF = 1.0  # seconds before the first repetition, doubled for each further one
_ANSWER_MAX = 1 << 25  # bytes of JSON; the listing of a repository with 100,000 files
_WAIT_MAX = 60.0  # seconds, whatever Retry-After says
_TRANSIENT = (429, 500, 502, 503, 504)
NETWORK_ERRORS = (OSError, http.client.HTTPException)
"""What reading from a connection may raise. (`URLError` is an `OSError`.)"""


@dataclass(frozen=True)
class Revision:
    """A commit of a repository and the paths of its files. licence: "" where it names none."""

    repo: str
    commit: str
    files: tuple[str, ...]
    licence: str


class Hub:
    """A hub's endpoint, and the token for it, as the environment has them."""

    def __init__(self) -> None:
        self.endpoint = settings.hub_endpoint(ENDPOINT).rstrip("/")
        parts = urlsplit(self.endpoint)
        if parts.scheme not in ("http", "https") or not parts.netloc:
            raise ModelError(f"HF_ENDPOINT: {self.endpoint!r} is not an address; use {ENDPOINT}")
        self._token = settings.hub_token()
        self._opener = urllib.request.build_opener(_Redirects, _Http, _Https)

    def revision(self, repo: str, revision: str) -> Revision:
        """The commit that `revision` is now."""
        url = f"{self.endpoint}/api/models/{quote(repo)}/revision/{quote(revision, safe='')}"
        with self._send("GET", url, f"{repo}@{revision}") as response:
            try:
                fields = jsontext.parse(_answer(response))
                commit = str(fields["sha"])
                files = tuple(str(entry["rfilename"]) for entry in fields["siblings"])
                card = fields.get("cardData")
                licence = card.get("license") if isinstance(card, dict) else None
            except NETWORK_ERRORS as error:
                raise self._failure(error, f"{repo}@{revision}") from None
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise self._odd(f"{repo}@{revision}", f"unreadable answer ({error})") from None
        if not COMMIT.fullmatch(commit) or (COMMIT.fullmatch(revision) and commit != revision):
            raise self._odd(f"{repo}@{revision}", f"commit {commit[:50]!r} for revision {revision}")
        return Revision(repo, commit, files, licence if isinstance(licence, str) else "")

    def stat(self, origin: Reference, path: str) -> HubFile:
        """Size and hash of a file, which stand in the headers of the hub's own answer, before it
        redirects to wherever the content is. (A mirror may redirect to the hub.) origin: pinned to a
        commit."""
        what = f"{origin.repo}: {path}"
        with self._send("HEAD", self._url(origin, path), what) as response:
            headers = response.headers
            size = headers.get("X-Linked-Size")
            if size is None and response.status == 200:
                size = headers.get("Content-Length")
            digest = headers.get("X-Linked-Etag") or headers.get("ETag") or ""
        digest = digest.removeprefix("W/").strip('"')
        if headers.get("X-Repo-Commit", origin.revision) != origin.revision:
            raise self._odd(what, "another commit than the one asked for")
        if size is None or not re.fullmatch("[0-9]{1,18}", size):
            raise self._odd(what, f"size {size!r}")
        if not re.fullmatch("[0-9a-f]{40}|[0-9a-f]{64}", digest):
            raise self._odd(what, f"no hash to check the file by (ETag {digest[:80]!r})")
        return HubFile(path, int(size), digest)

    def open(self, origin: Reference, path: str, offset: int) -> Any:
        """The response with the content from byte `offset`; status 200 means that it begins at 0 all
        the same, and 416 that the server knows no such place."""
        headers = {"Range": f"bytes={offset}-"} if offset else {}
        what = f"{origin.repo}: {path}"
        return self._send("GET", self._url(origin, path), what, headers, accept=(416,))

    def _url(self, origin: Reference, path: str) -> str:
        assert origin.pinned
        return f"{self.endpoint}/{quote(origin.repo)}/resolve/{origin.revision}/{quote(path)}"

    def _send(
        self,
        method: str,
        url: str,
        what: str,
        headers: Mapping[str, str] | None = None,
        accept: tuple[int, ...] = (),
    ) -> Any:
        """The response, after some patience with a server that has trouble. Typed Any: for our purposes
        an `HTTPError` is a response too."""
        request = urllib.request.Request(url, headers={"User-Agent": "nacrith", **(headers or {})})
        request.method = method
        request.add_header("Accept-Encoding", "identity")  # else sizes and offsets mean nothing
        if self._token:
            request.add_unredirected_header("Authorization", f"Bearer {self._token}")
        for attempt in range(ATTEMPTS):
            try:
                return self._opener.open(request, timeout=TIMEOUT)
            except urllib.error.HTTPError as error:
                if error.code in accept or (method == "HEAD" and error.code in (301, 302, 303, 307, 308)):
                    return error
                error.close()
                if error.code not in _TRANSIENT or attempt + 1 == ATTEMPTS:
                    raise self._failure(error, what) from None
                pause(attempt, error.headers.get("Retry-After"))
            except NETWORK_ERRORS as error:
                if attempt + 1 >= _CONNECTIONS:
                    raise self._failure(error, what) from None
                pause(attempt)
            except ValueError as error:
                raise self._odd(what, f"a redirect to no address ({error})") from None
        raise AssertionError("the last attempt returns or raises")

    def _odd(self, what: str, why: str) -> ModelError:
        why = _printable(why)
        return ModelError(f"{what}: {self.endpoint} gives {why}; check HF_ENDPOINT, or try again later")

    def _failure(self, error: Exception, what: str) -> ModelError:
        if not isinstance(error, urllib.error.HTTPError):
            reason = error.reason if isinstance(error, urllib.error.URLError) else error
            said = _printable(getattr(reason, "strerror", None) or str(reason) or type(reason).__name__)
            return ModelError(
                f"{what}: cannot reach {self.endpoint} ({said}); check the connection, then run the same"
                " command again: it goes on where it stopped"
            )
        code = error.code
        if code == 401 and self._token:
            return ModelError(f"{what}: the hub refuses the token (401): set HF_TOKEN to one that is valid")
        if code == 401:  # which is also what it says of a repository that does not exist
            return ModelError(
                f"{what}: the hub knows no public model of this name (401): check the name; for a private"
                " or gated one set HF_TOKEN"
            )
        if code == 403:
            return ModelError(
                f"{what}: the hub refuses access (403): accept the model's terms on its page there, and set"
                " HF_TOKEN to a token of that account that may read it"
            )
        if code == 404:
            return ModelError(
                f"{what}: the hub has no such repository, revision or file (404); check the name"
            )
        if code == 429:
            return ModelError(
                f"{what}: the hub wants fewer requests (429): wait some minutes, or set HF_TOKEN"
            )
        return ModelError(
            f"{what}: {self.endpoint} answers {code} {_printable(str(error.reason))}; try again later"
        )


def pause(attempt: int, wanted: str | None = None) -> None:
    """Wait before repetition number `attempt`; `wanted`: seconds that the server asks for."""
    seconds = BACKOFF * 2**attempt
    if wanted is not None and re.fullmatch("[0-9]{1,6}", wanted):
        seconds = max(seconds, float(wanted))
    time.sleep(min(seconds, _WAIT_MAX))


def _answer(response: http.client.HTTPResponse) -> bytes:
    """All of it. ValueError if it is too much, TooSlowError if it takes too long."""
    answer, begin = bytearray(), time.monotonic()
    while chunk := response.read1(1 << 16):
        answer += chunk
        if len(answer) > _ANSWER_MAX:
            raise ValueError(f"more than {_ANSWER_MAX:,} bytes")
        if time.monotonic() - begin > 5 * PATIENCE:
            raise TooSlowError(f"{len(answer):,} bytes in {5 * PATIENCE:.0f} seconds")
    return bytes(answer)


def _printable(text: str) -> str:
    """What a server says, for a message: nothing that would mean something to a terminal."""
    return "".join(c if c.isprintable() else "?" for c in text[:300])


class TooSlowError(TimeoutError):
    """A server sends, but so little that it would never end."""


class _Paced(io.RawIOBase):
    """What comes from a server, as long as it comes fast enough. (A timeout of the socket begins again with
    each byte.)"""

    def __init__(self, raw: io.RawIOBase) -> None:
        self._raw = raw
        self._begin = time.monotonic()
        self._count = 0
        self.in_head = True

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        count = self._raw.readinto(buffer)
        self._count += count or 0
        seconds = time.monotonic() - self._begin
        if seconds > PATIENCE + self._count / PACE:
            raise TooSlowError(f"{self._count:,} bytes in {seconds:.0f} seconds")
        if self.in_head and self._count > _HEAD_MAX:
            raise http.client.HTTPException(f"more than {_HEAD_MAX:,} bytes before any content")
        return count

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Response(http.client.HTTPResponse):
    def __init__(self, sock: socket.socket, *args: Any, **options: Any) -> None:
        super().__init__(sock, *args, **options)
        self.fp.close()
        self._paced = _Paced(sock.makefile("rb", buffering=0))
        self.fp = io.BufferedReader(self._paced)

    def begin(self) -> None:
        super().begin()
        self._paced.in_head = False


class _Connection(http.client.HTTPConnection):
    response_class = _Response


class _SecureConnection(http.client.HTTPSConnection):
    response_class = _Response


class _Http(urllib.request.HTTPHandler):
    def http_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(_Connection, req)


class _Https(urllib.request.HTTPSHandler):
    def https_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(_SecureConnection, req)


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects: with the token on the same host, without it elsewhere.

    A HEAD request stops at a redirect to elsewhere that tells what we ask for: the hub's own answer.
    """

    def http_error_302(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Message
    ) -> Any:
        try:
            return super().http_error_302(req, fp, code, msg, headers)  # type: ignore[arg-type]
        except (ValueError, urllib.error.URLError) as error:
            if not isinstance(error, urllib.error.HTTPError):  # that one carries the response on
                fp.close()
            raise

    http_error_301 = http_error_303 = http_error_307 = http_error_308 = http_error_302

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: Message,
        newurl: str,
    ) -> urllib.request.Request | None:
        old, new = urlsplit(req.full_url), urlsplit(newurl)
        if new.scheme != old.scheme and new.scheme != "https":
            raise urllib.error.URLError(f"it redirects to {new.scheme}://{new.hostname}, which is not secure")
        same = (old.scheme, old.netloc.lower()) == (new.scheme, new.netloc.lower())
        if req.get_method() == "HEAD" and not same and headers.get("X-Linked-Size") is not None:
            return None
        request = super().redirect_request(req, fp, code, msg, headers, newurl)  # type: ignore[arg-type]
        if request is not None:
            request.method = req.get_method()
            token = req.unredirected_hdrs.get("Authorization")
            if same and token:
                request.add_unredirected_header("Authorization", token)
        return request


def require_network(what: str) -> None:
    """ModelMissingError if the environment forbids to use the network."""
    name = settings.offline()
    if name:
        raise ModelMissingError(
            f"{what}: not on this machine, and {name} forbids to fetch it: unset {name} and run the"
            " command again, or copy the model from another machine"
        )
