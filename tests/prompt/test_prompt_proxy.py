"""`nacrith prompt proxy`, the real process before an API on the loopback: what passes, changes, ends."""

from __future__ import annotations

import gzip
import http.client
import json
import signal
import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest
from clirunner import PATIENCE, hearing, nacrith
from fake_chat_api import Api, Running, running_api, running_proxy
from tool_chats import LONG, completions, messages, responses

pytest.importorskip("uvicorn", reason="the package uvicorn is not installed")
pytest.importorskip("httpx", reason="the package httpx is not installed")

CHAT = "/v1/chat/completions"
KEY = "sk-very-secret"


@pytest.fixture(scope="module")
def shared_api() -> Iterator[Api]:
    with running_api() as api:
        yield api


@pytest.fixture(scope="module")
def proxy(shared_api: Api) -> Iterator[Running]:
    with running_proxy(shared_api.address, "--cache-minimum", "0", "--max-body", "200K") as running:
        yield running


@pytest.fixture
def api(shared_api: Api) -> Api:
    shared_api.seen.clear()
    shared_api.gone.clear()
    shared_api.answer, shared_api.cut = None, False
    shared_api.wait = shared_api.pause = 0.0
    return shared_api


def connection(proxy: Running) -> http.client.HTTPConnection:
    return http.client.HTTPConnection(proxy.address.removeprefix("http://"), timeout=PATIENCE)


def ask(
    proxy: Running, path: str, body: Any = None, method: str = "POST", **headers: str
) -> tuple[http.client.HTTPResponse, bytes]:
    made = connection(proxy)
    data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    made.request(method, path, data, {"authorization": f"Bearer {KEY}", **names})
    answer = made.getresponse()
    content = answer.read()
    made.close()
    return answer, content


def tool_text(body: Any) -> str:
    found: str = (body.get("messages") or body["input"])[-1].get("content") or body["input"][-1]["output"]
    return found if isinstance(found, str) else found[0]["content"][0]["text"]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (CHAT, completions(1)),
        ("/openai/deployments/x/chat/completions?api-version=1", completions(1)),
        ("/v1/responses", responses(1)),
        ("/v1/messages", messages(1)),
        ("/v1/messages/count_tokens?beta=true", messages(1)),
    ],
)
def test_tool_results_are_shorter(api: Api, proxy: Running, path: str, body: Any) -> None:
    answer, _ = ask(proxy, path, body)
    assert answer.status == 200
    (seen,) = api.seen
    assert (seen.path, seen.method) == (path, "POST")
    assert len(tool_text(seen.json)) < 0.5 * len(tool_text(body))
    assert seen.header("authorization") == [f"Bearer {KEY}"]
    assert seen.header("host") == [api.address.removeprefix("http://")]
    assert seen.header("content-length") == [str(len(seen.body or b""))]
    names = {name.lower() for name, _ in seen.headers}
    assert not names & {"accept", "user-agent", "connection"}  # the client sent none


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/v1/models?x=%2F&y=a+b", None),
        ("DELETE", "/v1/files/%7Eab%20c", None),
        ("POST", "/v1/embeddings", json.dumps(completions(1)).encode()),
        ("POST", "/v1/threads/t/messages", json.dumps(messages(1)).encode()),
        ("POST", CHAT, b'{"messages": [no JSON ' + LONG.encode()),
        ("POST", CHAT, b"\xff\xfe\x00"),
        ("POST", CHAT, b""),
        ("PUT", CHAT, json.dumps(completions(1)).encode()),
        ("POST", CHAT, json.dumps({**completions(1), "x": "y" * 300_000}).encode()),  # over the limit
    ],
)
def test_all_else_is_passed_on(api: Api, proxy: Running, method: str, path: str, body: bytes | None) -> None:
    answer, _ = ask(proxy, path, body, method)
    assert answer.status == 200
    (seen,) = api.seen
    assert (seen.method, seen.path, seen.body) == (method, path, body or b"")


def test_chunked_requests_within_and_over_the_limit(api: Api, proxy: Running) -> None:
    for extra in (0, 300_000):
        data = json.dumps({**completions(1), "x": "y" * extra}).encode()
        made = connection(proxy)
        pieces = (data[i : i + 5000] for i in range(0, len(data), 5000))
        made.request("POST", CHAT, pieces, encode_chunked=True, headers={"transfer-encoding": "chunked"})
        assert made.getresponse().status == 200
        made.close()
        assert (api.seen[-1].body == data) == bool(extra)
        assert api.seen[-1].json["x"] == "y" * extra


def test_gzip_both_ways(api: Api, proxy: Running) -> None:
    packed = gzip.compress(b'{"id": "x"}')
    api.answer = 200, {"content-type": "application/json", "content-encoding": "gzip"}, packed
    data = gzip.compress(json.dumps(completions(1)).encode())
    answer, content = ask(proxy, CHAT, data, content_encoding="gzip")
    assert (content, answer.headers["content-encoding"]) == (packed, "gzip")
    assert not api.seen[-1].header("content-encoding")
    assert len(tool_text(api.seen[-1].json)) < 0.5 * len(LONG)
    for body, encoding in (
        (data, "br"),
        (data[:-9], "gzip"),
        (gzip.compress(b" " * 10**7 + json.dumps(completions(1)).encode()), "gzip"),  # over the limit
    ):
        ask(proxy, CHAT, body, content_encoding=encoding)
        assert (api.seen[-1].body, api.seen[-1].header("content-encoding")) == (body, [encoding])


def test_errors_of_the_api_come_back_as_they_are(api: Api, proxy: Running) -> None:
    said = b'{"error": {"message": "slow down"}}'
    api.answer = 429, {"retry-after": "7", "x-request-id": "r", "set-cookie": "a=b", "server": "theirs"}, said
    answer, content = ask(proxy, CHAT, completions(1))
    assert (answer.status, content) == (429, said)
    assert answer.headers["retry-after"] == "7"
    assert answer.headers.get_all("server") == ["theirs"]
    api.answer = None
    ask(proxy, CHAT, completions(1))
    assert not api.seen[-1].header("cookie")


def test_a_stream_arrives_as_it_is_sent(api: Api, proxy: Running) -> None:
    api.pause = 0.2
    made = connection(proxy)
    begin = time.monotonic()
    made.request("POST", CHAT, json.dumps({**completions(1), "stream": True}))
    answer = made.getresponse()
    answer.readline()
    first = time.monotonic() - begin
    rest = answer.read()
    assert rest.endswith(b"data: [DONE]\n\n")
    assert first < 0.5 * (time.monotonic() - begin)
    made.close()


def test_a_stream_that_is_cut_is_not_a_stream_that_ends(api: Api, proxy: Running) -> None:
    api.cut = True
    made = connection(proxy)
    made.request("POST", CHAT, json.dumps({**completions(1), "stream": True}))
    answer = made.getresponse()
    with pytest.raises((http.client.IncompleteRead, ConnectionError)):
        answer.read()
    made.close()


@pytest.mark.parametrize("wait", [0.0, 0.5])
def test_a_client_that_leaves_ends_the_request(api: Api, proxy: Running, wait: float) -> None:
    api.wait, api.pause = wait, 0.05
    made = connection(proxy)
    made.request("POST", CHAT, b'{"stream":true}')
    leaving = made.sock
    if wait:
        while not api.seen:
            time.sleep(0.01)
    else:
        made.getresponse().readline()
    leaving.shutdown(socket.SHUT_RDWR)
    made.close()
    assert api.gone.wait(PATIENCE)


def test_an_address_that_is_no_path_is_refused(proxy: Running) -> None:
    made = connection(proxy)
    made.putrequest("GET", "http://elsewhere.example/x", skip_host=True)
    made.putheader("host", "elsewhere.example")
    made.endheaders()
    answer = made.getresponse()
    assert answer.status == 400
    made.close()


def test_nothing_secret_is_logged_and_a_signal_ends_it(api: Api) -> None:
    with running_proxy(api.address, "--cache-minimum", "0") as proxy:
        ask(proxy, f"{CHAT}?key={KEY}", completions(1), x_api_key=KEY)
        ask(proxy, f"{CHAT}?key={KEY}", b'{"mayor": 1, "mayor": 2}')
        proxy.said(r"POST /v1/chat/completions: 1 tool results, 1 shortened \(1 of them new\)")
        proxy.said(r"passed on as it is \(JsonError\)")
        assert proxy.stop(signal.SIGTERM) == -signal.SIGTERM
        proxy.said(r"2 requests; tool results: 2,859 to [\d,]+ characters, \d+ % less; 1 requests passed on")
        text = "".join(proxy.lines)
        assert KEY not in text
        assert "mayor" not in text


def test_audit_changes_nothing_and_says_what_it_would(api: Api) -> None:
    with running_proxy(api.address, "--cache-minimum", "0", "--audit") as proxy:
        for turns in (1, 2):
            body = json.dumps(completions(turns)).encode()
            ask(proxy, CHAT, body)
            assert api.seen[-1].body == body
        proxy.said(r"2 tool results, 2 would be shortened \(1 of them new\)")


def test_a_running_answer_may_end_when_the_proxy_is_stopped(api: Api) -> None:
    api.pause = 0.1
    with hearing(signal.SIGINT), running_proxy(api.address) as proxy:
        made = connection(proxy)
        made.request("POST", CHAT, b'{"stream":true}')
        answer = made.getresponse()
        answer.readline()
        proxy.process.send_signal(signal.SIGINT)
        assert answer.read().endswith(b"data: [DONE]\n\n")
        made.close()
        assert proxy.process.wait(PATIENCE) == -signal.SIGINT


def test_an_api_that_is_not_there() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{unused.getsockname()[1]}"
        with running_proxy(address) as proxy:
            answer, content = ask(proxy, CHAT, completions(1))
            assert answer.status == 502
            assert "cannot be reached" in json.loads(content)["error"]["message"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--openai", "api.example"), "no address of an API"),
        (("--anthropic", "ftp://x"), "no address of an API"),
        (("--openai", "https://x:y"), "no address of an API"),
        (("--port", "70000"), "70000"),
        (("--host", "192.0.2.1"), "192.0.2.1"),
    ],
)
def test_mistakes_are_one_line(options: tuple[str, ...], words: str) -> None:
    done = nacrith("prompt", "proxy", *options)
    assert done.code == 1
    assert done.said(words)


# --- real clients --------------------------------------------------------------------------------------


def test_the_client_of_openai(api: Api, proxy: Running) -> None:
    openai = pytest.importorskip("openai", reason="the package openai is not installed")
    body = completions(1)
    with openai.OpenAI(api_key=KEY, base_url=f"{proxy.address}/v1", max_retries=0) as client:
        assert client.chat.completions.create(**body).choices[0].message.content == "It works."
        words = [
            part.choices[0].delta.content for part in client.chat.completions.create(**body, stream=True)
        ]
        assert words == ["", "It", "works.", None]
        assert all(len(tool_text(seen.json)) < 0.5 * len(LONG) for seen in api.seen)
        api.answer = 401, {"content-type": "application/json"}, b'{"error": {"message": "no such key"}}'
        with pytest.raises(openai.AuthenticationError, match="no such key"):
            client.chat.completions.create(**body)


def test_the_client_of_anthropic(api: Api, proxy: Running) -> None:
    anthropic = pytest.importorskip("anthropic", reason="the package anthropic is not installed")
    body = messages(1, marked=True)
    with anthropic.Anthropic(api_key=KEY, base_url=proxy.address, max_retries=0) as client:
        assert client.messages.create(**body).content[0].text == "It works."
        with client.messages.stream(**body) as stream:
            assert list(stream.text_stream) == ["It", "works."]
        assert all(len(tool_text(seen.json)) < 0.5 * len(LONG) for seen in api.seen)
        assert api.seen[0].json["messages"] == api.seen[1].json["messages"]
        assert [*api.seen[0].header("x-api-key"), *api.seen[0].header("authorization")][0].endswith(KEY)
        api.answer = 529, {"content-type": "application/json"}, b'{"error": {"type": "overloaded_error"}}'
        with pytest.raises(anthropic.APIStatusError, match="529"):
            client.messages.create(**body)
