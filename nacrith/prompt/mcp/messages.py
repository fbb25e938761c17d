"""What becomes of each line between an MCP client and the server behind us.

Two answers of the server change: the list of its tools gets one tool more, and in the result of a tool long
texts are replaced by shorter ones, with a notice after them. Servers often give the same text once more as a
string in `structuredContent`; it is replaced there too, and nothing else there is, since it may have to
satisfy a schema. Calls of the additional tool are answered here. All else is passed on byte for byte: other
methods, notifications, errors, and any line that is not understood, whatever version of the protocol it is.
"""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Any

from nacrith import jsontext
from nacrith.errors import PromptError
from nacrith.prompt.mcp.originals import NAME, OTHER_NAME, Originals, notice, tool
from nacrith.prompt.structured import walk
from nacrith.prompt.toolresults import Shortened, ToolResults, query_of
from nacrith.workers import Patient

MAX_LINE = 16 << 20
"""Bytes; a longer line is passed on without reading it."""

_NOTICE = 120  # characters of the shortest notice
_WAITING = 10_000  # requests without an answer that are remembered


class Messages:
    """The state of one session. Lines come without their end.

    audit: nothing changes, and what would be saved is logged. say: gets lines for the log.
    """

    def __init__(
        self, results: ToolResults, *, audit: bool = False, say: Callable[[str], None] = lambda line: None
    ) -> None:
        self._results, self._audit, self._say = results, audit, say
        self._patient = Patient()
        self._originals = Originals()
        self._lock = threading.Lock()
        self._waiting: OrderedDict[str, tuple[str, str]] = OrderedDict()  # method and query
        self._name, self._offered = NAME, False
        self.before = self.after = 0

    def from_client(self, line: bytes) -> tuple[bytes | None, bytes | None]:
        """What to send to the server, and what to answer to the client."""
        message = _parsed(line)
        method = message.get("method")
        params = message.get("params")
        params = params if isinstance(params, dict) else {}
        with self._lock:
            if method == "notifications/cancelled":
                self._waiting.pop(_key(params.get("requestId")), None)
            if "id" not in message or method not in ("tools/list", "tools/call"):
                return line, None
            arguments = params.get("arguments")
            if method == "tools/call" and self._is_ours(params.get("name"), arguments):
                return None, self._answer(message["id"], arguments)
            self._waiting[_key(message["id"])] = method, query_of(arguments)
            if len(self._waiting) > _WAITING:
                self._waiting.popitem(last=False)
        return line, None

    def from_server(self, line: bytes) -> bytes:
        """What to send to the client."""
        message = _parsed(line)
        if "method" in message or "id" not in message:
            return line
        with self._lock:
            method, query = self._waiting.pop(_key(message["id"]), ("", ""))
        result = message.get("result")
        if not isinstance(result, dict):
            return line
        try:
            if method == "tools/list":
                return self._with_tool(line, result)
            if method == "tools/call" and not result.get("isError"):
                return self._shorter(line, result, query)
        except Exception as error:  # whatever it is, the answer is passed on as it is
            self._say(f"a message is passed on as it is ({type(error).__name__})")
        return line

    def close(self) -> None:
        self._patient.close()

    def _is_ours(self, name: Any, arguments: Any) -> bool:
        if self._audit or name != self._name:
            return False
        return self._offered or (isinstance(arguments, dict) and arguments.get("id") in self._originals)

    def _answer(self, number: Any, arguments: Any) -> bytes:
        try:
            text, failed = self._originals.retrieve(arguments), False
        except PromptError as error:
            text, failed = str(error), True
        result = {"content": [{"type": "text", "text": text}], "isError": failed, "resultType": "complete"}
        return json.dumps({"jsonrpc": "2.0", "id": number, "result": result}).encode()

    def _with_tool(self, line: bytes, result: dict[str, Any]) -> bytes:
        tools = result.get("tools")
        if self._audit or not isinstance(tools, list):
            return line
        with self._lock:
            if any(isinstance(t, dict) and t.get("name") == NAME for t in tools):
                self._name = OTHER_NAME
            if result.get("nextCursor"):  # more pages follow
                return line
            self._offered = True
            definition = json.dumps(tool(self._name))
        return _edited(line, {}, ("result", "tools"), definition, not tools)

    def _shorter(self, line: bytes, result: dict[str, Any], query: str) -> bytes:
        content = result.get("content")
        found: dict[int, tuple[str, Shortened]] = {}
        for i, block in enumerate(content if isinstance(content, list) else ()):
            text = block.get("text") if isinstance(block, dict) and block.get("type") == "text" else None
            if isinstance(text, str):
                made = self._patient.run(self._results.shorten, text, query, _NOTICE)
                if made is not None:
                    found[i] = text, made
        before = sum(len(text) for text, _ in found.values())
        after = sum(len(made.text) for _, made in found.values())
        if not found:
            return line
        self.before, self.after = self.before + before, self.after + after
        would = "would be " if self._audit else ""
        self._say(f"a tool result {would}shortened: {before:,} to {after:,} characters")
        if self._audit:
            return line
        with self._lock:
            about = [(self._originals.add(text, made), text, made) for text, made in found.values()]
            name = self._name
        note = notice(name, about)
        block = json.dumps({"type": "text", "text": note})
        texts: dict[tuple[str | int, ...], str] = {
            ("result", "content", i, "text"): made.text for i, (_, made) in found.items()
        }
        same = {text: f"{made.text}\n\n{note}" for text, made in found.values()}
        texts.update(_equal(result.get("structuredContent"), same, ("result", "structuredContent")))
        return _edited(line, texts, ("result", "content"), block, False)


def _parsed(line: bytes) -> dict[str, Any]:
    """The message; an empty one for a line that is not to be understood."""
    try:
        value = jsontext.parse(line, finite=False, unique=True) if len(line) <= MAX_LINE else None
    except jsontext.JsonError:
        value = None
    return value if isinstance(value, dict) else {}


def _equal(
    value: Any, texts: dict[str, str], path: tuple[str | int, ...]
) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """The paths of strings in a value that are keys of `texts`, with what `texts` has for them."""
    if isinstance(value, str) and value in texts:
        yield path, texts[value]
    elif isinstance(value, dict | list):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _equal(inner, texts, (*path, key))


def _key(number: Any) -> str:
    return json.dumps(number, default=str)  # 1 and "1" are different requests


def _edited(
    line: bytes,
    texts: dict[tuple[str | int, ...], str],
    array: tuple[str | int, ...],
    value: str,
    empty: bool,
) -> bytes:
    """The line with other strings at some paths, and one more value at the end of an array."""
    source = line.decode()
    out, position = [], 0
    for kind, path, start, end in walk(source):
        if kind == '"' and path in texts:
            out += [source[position:start], json.dumps(texts[path])[1:-1]]
            position = end
        elif kind == "]" and path == array:
            out += [source[position:start], "" if empty else ",", value]
            position = start
    return "".join([*out, source[position:]]).encode()
