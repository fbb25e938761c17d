"""An MCP server over standard input and output, run as a script: tools that return long and short texts.

Arguments: names of what it does otherwise: `pages` lists tools in two pages, `clash` has a tool named
retrieve, `dies` ends in the middle of a call, `chatty` writes what is no message first.
"""

from __future__ import annotations

import json
import sys
from typing import Any

LONG = " ".join(
    f"The committee of town {i} met in the large hall and spoke about the weather. "
    f"The mayor of town {i} said that its bridge will be closed."
    for i in range(40)
)
PRECISE = "0.12345678901234567890"  # has more digits than a float


def tools(modes: list[str]) -> list[dict[str, Any]]:
    names = ["read", "short", "fail", "image", *(["retrieve"] if "clash" in modes else [])]
    return [{"name": name, "description": "", "inputSchema": {"type": "object"}} for name in names]


def call(name: str, arguments: dict[str, Any]) -> str:
    """The result as JSON."""
    if name == "read":
        text = json.dumps(LONG.replace("town 7 ", "town 7é ") if arguments.get("odd") else LONG)
        return f'{{"content": [{{"type": "text", "text": {text}}}], "_meta": {{"n": {PRECISE}}}}}'
    text = LONG if name in ("fail", "retrieve") else "A short text."
    result = {"content": [{"type": "text", "text": text}], "isError": name == "fail"}
    if name == "image":
        result["content"] = [{"type": "image", "data": "A" * 4000, "mimeType": "image/png"}]
    return json.dumps(result)


def result_of(method: str, params: dict[str, Any], modes: list[str]) -> str:
    if method == "initialize":
        capabilities = {"tools": {}}
        info = {"name": "fake", "version": "1"}
        version = params["protocolVersion"]
        return json.dumps({"protocolVersion": version, "capabilities": capabilities, "serverInfo": info})
    if method == "tools/list":
        found = tools(modes)
        if "pages" not in modes:
            return json.dumps({"tools": found})
        if "cursor" not in params:
            return json.dumps({"tools": found[:2], "nextCursor": "2"})
        return json.dumps({"tools": found[2:]})
    if method == "tools/call":
        return call(params["name"], params.get("arguments") or {})
    return ""


def main() -> None:
    modes = sys.argv[1:]
    if "chatty" in modes:
        print("starting ...", flush=True)
    for line in sys.stdin:
        message = json.loads(line)
        method = message.get("method", "")
        if "id" not in message:
            continue
        if method == "tools/call" and "dies" in modes:
            sys.exit(7)
        number = json.dumps(message["id"])
        result = result_of(method, message.get("params") or {}, modes)
        said = f'"result": {result}' if result else '"error": {"code": -32601, "message": "no such method"}'
        print(f'{{"jsonrpc": "2.0", "id": {number}, {said}}}', flush=True)


if __name__ == "__main__":
    main()
