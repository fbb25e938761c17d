"""`nacrith prompt mcp` in front of another server: shorter results, `retrieve`, and all else unchanged."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from clirunner import COMMAND, PATIENCE, ROOT, environment, nacrith
from fake_mcp_server import LONG, PRECISE

from nacrith.prompt.mcp.messages import Messages
from nacrith.prompt.mcp.relay import lines
from nacrith.prompt.toolresults import ToolResults

SERVER = [sys.executable, str(Path(__file__).parents[1] / "support" / "fake_mcp_server.py")]


class Client:
    """A client that speaks JSON-RPC over the pipes of a process."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process, self.number = process, 0

    def send(self, line: bytes) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line + b"\n")
        self.process.stdin.flush()

    def line(self) -> bytes:
        assert self.process.stdout is not None
        return self.process.stdout.readline()

    def ask(self, method: str, **params: Any) -> dict[str, Any]:
        self.number += 1
        message = {"jsonrpc": "2.0", "id": self.number, "method": method, "params": params}
        self.send(json.dumps(message).encode())
        made: dict[str, Any] = json.loads(self.line())
        assert made["id"] == self.number
        return made

    def call(self, tool: str, **arguments: Any) -> list[str]:
        result = self.ask("tools/call", name=tool, arguments=arguments)["result"]
        return [block["text"] for block in result["content"]]


@contextmanager
def wrapped(*modes: str, options: tuple[str, ...] = ()) -> Iterator[Client]:
    process = subprocess.Popen(
        [*COMMAND, "prompt", "mcp", *options, "--", *SERVER, *modes],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT, env=environment(),
    )  # fmt: skip
    with process:
        try:
            yield Client(process)
        finally:
            if process.poll() is None:
                process.kill()


def identifier(notice: str) -> str:
    found = re.search(r'id "(\w+)"', notice)
    assert found is not None
    return found[1]


def test_results_are_shorter_and_what_was_cut_comes_back() -> None:
    with wrapped() as client:
        client.ask("initialize", protocolVersion="2025-06-18", capabilities={}, clientInfo={})
        names = [tool["name"] for tool in client.ask("tools/list")["result"]["tools"]]
        assert names == ["read", "short", "fail", "image", "retrieve"]
        text, notice = client.call("read", path="x")
        assert len(text) < 0.5 * len(LONG)
        assert len(text) + len(notice) < 0.6 * len(LONG)
        key = identifier(notice)
        assert client.call("retrieve", id=key) == [LONG]
        assert client.call("retrieve", id=key, start=100, end=2000) == [LONG[100:2000]]
        cut = next(f"town {i} " for i in range(40) if f"of town {i} met" not in text)
        (found,) = client.call("retrieve", id=key, find=f"COMMITTEE {cut}")
        for line in found.splitlines():
            start, end, passage = re.fullmatch(r"(\d+)-(\d+): (.*)", line).groups()  # type: ignore[union-attr]
            assert LONG[int(start) : int(end)].rstrip("\n") == passage
            assert passage not in text
        assert f"committee of {cut}met" in found
        assert client.call("read", path="x") == [text, notice]


def test_what_is_not_changed_is_passed_on_byte_for_byte() -> None:
    with wrapped("chatty") as client:
        assert client.line() == b"starting ...\n"
        assert client.call("short") == ["A short text."]
        assert client.call("fail") == [LONG]
        assert client.ask("tools/call", name="image")["result"]["content"][0]["data"] == "A" * 4000
        assert client.ask("resources/list")["error"]["code"] == -32601
        call = {"jsonrpc": "2.0", "id": "s", "method": "tools/call", "params": {"name": "read"}}
        client.send(json.dumps(call).encode())
        assert f'"_meta": {{"n": {PRECISE}}}'.encode() in client.line()


def test_pages_and_a_tool_of_the_same_name() -> None:
    with wrapped("pages", "clash") as client:
        first = client.ask("tools/list")["result"]
        assert [tool["name"] for tool in first["tools"]] == ["read", "short"]
        second = client.ask("tools/list", cursor=first["nextCursor"])["result"]
        assert [tool["name"] for tool in second["tools"]][-2:] == ["retrieve", "nacrith_retrieve"]
        _, notice = client.call("read")
        assert "nacrith_retrieve returns" in notice
        assert client.call("nacrith_retrieve", id=identifier(notice)) == [LONG]
        assert client.call("retrieve")[0] != LONG  # theirs, as long, and shortened too


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "call the tool that returned it again"),
        ({"id": 5}, "call the tool that returned it again"),
        ({"id": "0123456789ab"}, "call the tool that returned it again"),
        ({"id": "KEY", "start": -1}, "start is a number"),
        ({"id": "KEY", "end": True}, "end is a number"),
    ],
)
def test_what_cannot_be_retrieved(arguments: dict[str, Any], message: str) -> None:
    messages = Messages(ToolResults())
    key = identifier(session(messages, LONG)[-1])
    messages.from_client(b'{"jsonrpc":"2.0","id":2,"method":"tools/list"}')
    messages.from_server(b'{"jsonrpc":"2.0","id":2,"result":{"tools":[]}}')
    arguments = {k: key if v == "KEY" else v for k, v in arguments.items()}
    call = {"jsonrpc": "2.0", "id": 3, "method": "tools/call"}
    forward, answer = messages.from_client(
        json.dumps({**call, "params": {"name": "retrieve", "arguments": arguments}}).encode()
    )
    assert forward is None
    assert answer is not None
    result = json.loads(answer)["result"]
    assert result["isError"]
    assert message in result["content"][0]["text"]


def session(messages: Messages, *texts: str, **arguments: Any) -> list[str]:
    """The texts that a client gets for a result with these texts."""
    call = {"jsonrpc": "2.0", "id": 1, "method": "tools/call"}
    messages.from_client(json.dumps({**call, "params": {"name": "x", "arguments": arguments}}).encode())
    content = [{"type": "text", "text": text} for text in texts]
    answer = json.dumps({"jsonrpc": "2.0", "id": 1, "result": {"content": content}}).encode()
    return [block["text"] for block in json.loads(messages.from_server(answer))["result"]["content"]]


def test_a_query_of_the_call_counts() -> None:
    bridge, hall = (
        session(Messages(ToolResults()), LONG, query=q)[0] for q in ("the bridge", "a large hall")
    )
    assert bridge.count("bridge") > hall.count("bridge")


def test_the_same_text_as_a_structured_value_is_shortened_too() -> None:
    messages = Messages(ToolResults())
    messages.from_client(b'{"id":1,"method":"tools/call","params":{"name":"x"}}')
    result = {
        "content": [{"type": "text", "text": LONG}],
        "structuredContent": {"result": LONG, "all": [1.50, LONG + "."], "x": "y"},
    }
    made = json.loads(messages.from_server(json.dumps({"id": 1, "result": result}).encode()))["result"]
    text, notice = (block["text"] for block in made["content"])
    assert made["structuredContent"] == {
        "result": f"{text}\n\n{notice}",
        "all": [1.50, LONG + "."],
        "x": "y",
    }


def test_an_empty_list_of_tools_gets_one() -> None:
    messages = Messages(ToolResults())
    messages.from_client(b'{"id":1,"method":"tools/list"}')
    made = json.loads(messages.from_server(b'{"id":1,"result":{"tools":[ ]}}'))
    assert [tool["name"] for tool in made["result"]["tools"]] == ["retrieve"]


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"no JSON",
        b"\xff\xfe",
        b"[1]",
        b'[{"id":1,"result":{"tools":[]}}]',
        b'{"id":1,"result":{"tools":{}}}',
        b'{"id":1,"result":5}',
        b'{"id":1,"result":{"tools":[],"tools":[]}}',
        b'{"id":[{}],"result":{"tools":[]}}',
        b'{"id":"1","result":{"tools":[]}}',
        b'{"id":1,"error":{"code":1,"message":"x"}}',
        b'{"id":1,"method":"sampling/createMessage","params":{"tools":[]}}',
    ],
)
def test_lines_that_are_no_answer_stay(line: bytes) -> None:
    messages = Messages(ToolResults())
    messages.from_client(b'{"id":1,"method":"tools/list"}')
    assert messages.from_server(line) == line
    assert messages.from_client(line) == (line, None)


def test_several_texts_have_one_notice() -> None:
    other = LONG.replace("committee", "council")
    first, short, second, notice = session(Messages(ToolResults()), LONG, "Short.", other)
    assert (short, "council" in second, "council" in first) == ("Short.", True, False)
    assert len(set(re.findall(r'id "(\w+)"', notice))) == 2


def test_audit_changes_nothing_and_says_what_it_would() -> None:
    with wrapped(options=("--audit",)) as client:
        names = [tool["name"] for tool in client.ask("tools/list")["result"]["tools"]]
        assert "retrieve" not in names
        assert client.call("read") == [LONG]
        assert client.process.stdin is not None
        client.process.stdin.close()
        assert client.process.wait(PATIENCE) == 0
        assert client.process.stderr is not None
        said = client.process.stderr.read().decode()
        assert re.search(r"a tool result would be shortened: 5,\d+ to [\d,]+ characters", said)
        assert "mayor" not in said


def test_the_end_of_either_side_ends_both() -> None:
    with wrapped("dies") as client:
        client.send(b'{"id":1,"method":"tools/call","params":{"name":"read"}}')
        assert client.line() == b""
        assert client.process.wait(PATIENCE) == 7
        assert client.process.stderr is not None
        assert b"ended with the exit code 7" in client.process.stderr.read()
    missing = nacrith("prompt", "mcp", "--", "/no/such/server")
    assert missing.code == 1
    assert missing.said("cannot start /no/such/server")


def test_lines_of_any_pieces() -> None:
    assert list(lines([b"a\nb", b"", b"c\r\n\n", b"d"])) == [b"a", b"bc", b"", b"d"]


def test_the_client_of_the_mcp_package() -> None:
    mcp = pytest.importorskip("mcp", reason="the package mcp is not installed")

    async def talk() -> None:
        arguments = ["-m", "nacrith", "prompt", "mcp", "--", *SERVER]
        server = mcp.StdioServerParameters(
            command=sys.executable, args=arguments, env=environment(), cwd=str(ROOT)
        )
        async with mcp.stdio_client(server) as (read, write), mcp.ClientSession(read, write) as client:
            await client.initialize()
            assert "retrieve" in [tool.name for tool in (await client.list_tools()).tools]
            text, notice = (await client.call_tool("read", {})).content
            assert len(text.text) < 0.5 * len(LONG)
            back = await client.call_tool("retrieve", {"id": identifier(notice.text)})
            assert [block.text for block in back.content] == [LONG]

    asyncio.run(asyncio.wait_for(talk(), PATIENCE))
