"""How long the proxy delays a request, beside the same request sent directly.

    python -m bench.prompts.proxy [--rounds N] [--sizes KB...]

Starts an API on the loopback that answers at once, and `nacrith prompt proxy` before it. Each request is an
agent loop that the proxy has seen grow, so that nothing is left to compress: what is measured is the delay
that remains at every turn. Requests go directly and through the proxy by turns. Prints a table and saves
nothing.
Needs `pip install ".[proxy]"`.
"""

from __future__ import annotations

import argparse
import http.client
import json
import re
import statistics
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from bench.common import NACRITH, ROOT
from bench.prompts.loops import loop

_PATH = "/v1/chat/completions"
_ANSWER = b'{"id": "x", "choices": []}'
_SEED = 0  # of a loop in OpenAI's format


class _Api(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, format: str, *arguments: object) -> None:
        pass

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(200)
        self.send_header("content-length", str(len(_ANSWER)))
        self.end_headers()
        self.wfile.write(_ANSWER)


def growing(size: int) -> list[bytes]:
    """The requests of a loop until one has `size` bytes."""
    out: list[bytes] = []
    for request in loop(_SEED, 200):
        out.append(json.dumps(request).encode())
        if len(out[-1]) >= size:
            break
    return out


def ask(connection: http.client.HTTPConnection, body: bytes) -> float:
    """Milliseconds until the answer is there."""
    begin = time.perf_counter()
    connection.request("POST", _PATH, body)
    answer = connection.getresponse()
    if answer.read() != _ANSWER:
        raise SystemExit(f"status {answer.status} from the proxy or the API")
    return 1000 * (time.perf_counter() - begin)


def measure(direct: str, proxied: str, size: int, rounds: int) -> tuple[int, list[float], list[float]]:
    """Bytes of the request, and milliseconds of each round directly and through the proxy."""
    requests = growing(size)
    ways = [http.client.HTTPConnection(address, timeout=600) for address in (direct, proxied)]
    for body in requests:
        ask(ways[1], body)
    times: tuple[list[float], list[float]] = [], []
    for _ in range(rounds):
        for way, found in zip(ways, times, strict=True):
            found.append(ask(way, requests[-1]))
    for way in ways:
        way.close()
    return len(requests[-1]), *times


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--sizes", type=int, nargs="+", default=[20, 100, 300, 1000], metavar="KB")
    chosen = parser.parse_args(arguments)
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Api)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    direct = f"127.0.0.1:{server.server_port}"
    command = [*NACRITH, "prompt", "proxy", "--port", "0", "--openai", f"http://{direct}"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=ROOT)
    try:
        assert process.stderr is not None
        found: Any = re.search(r"listening on http://(\S+);", process.stderr.readline())
        if found is None:
            raise SystemExit("the proxy does not start: pip install '.[proxy]'")
        print("| request | direct | proxy | adds (median) | adds (95 %) |\n|---:|---:|---:|---:|---:|")
        for size in chosen.sizes:
            total, plain, through = measure(direct, found[1], 1000 * size, chosen.rounds)
            added = sorted(b - a for a, b in zip(plain, through, strict=True))
            middle, high = statistics.median(added), added[int(0.95 * (len(added) - 1))]
            ways = f"{statistics.median(plain):.1f} ms | {statistics.median(through):.1f} ms"
            print(f"| {total / 1000:.0f} KB | {ways} | {middle:.1f} ms | {high:.1f} ms |", flush=True)
    finally:
        process.terminate()
        process.wait()
        server.shutdown()
    return 0


if __name__ == "__main__":
    sys.exit(main())
