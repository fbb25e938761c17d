"""Runs an MCP server as a process, and passes lines between it and our client, which talks to us as to it.

The server's error stream is ours. If the client closes its end, the server gets a moment to finish; if the
server ends, so do we, with its exit code.
"""

from __future__ import annotations

import contextlib
import subprocess
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence

from nacrith.prompt.mcp.messages import Messages

_GRACE = 1.5  # seconds; clients give us two
_KILL = 1.0


class Relay:
    """A running server. command: what starts it. write: takes bytes for the client. Raises OSError."""

    def __init__(self, command: Sequence[str], messages: Messages, write: Callable[[bytes], object]) -> None:
        self._messages, self._write = messages, write
        self._lock = threading.Lock()
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)

    def run(self, chunks: Iterable[bytes]) -> int:
        """Pass lines on until one side ends; the server's exit code, as `subprocess` has it.

        chunks: what the client sends, in pieces of any size.
        """
        # A daemon, since the client may keep its end open when the server is gone.
        threading.Thread(target=self._from_client, args=(chunks,), daemon=True).start()
        assert self._process.stdout is not None
        try:
            for line in lines(iter(self._read, b"")):
                self._send(self._messages.from_server(line) + b"\n")
        finally:
            self._end()
            self._process.stdout.close()
        return self._process.wait()

    def stop(self) -> None:
        """End the server if it still runs, without waiting for it."""
        if self._process.poll() is None:
            self._process.terminate()

    def _end(self) -> None:
        for seconds, end in ((_GRACE, self._process.terminate), (_KILL, self._process.kill)):
            try:
                self._process.wait(seconds)
            except subprocess.TimeoutExpired:
                end()

    def _read(self) -> bytes:
        assert self._process.stdout is not None
        return self._process.stdout.read(1 << 16)

    def _from_client(self, chunks: Iterable[bytes]) -> None:
        server = self._process.stdin
        assert server is not None
        with contextlib.suppress(OSError):  # the server is gone; `run` notices
            for line in lines(chunks):
                forward, answer = self._messages.from_client(line)
                if answer is not None:
                    self._send(answer + b"\n")
                if forward is not None:
                    data = memoryview(forward + b"\n")
                    while data:
                        data = data[server.write(data) or 0 :]
        with contextlib.suppress(OSError):
            server.close()
        self._end()

    def _send(self, data: bytes) -> None:
        with self._lock:
            self._write(data)


def lines(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The lines in a stream of pieces, without their ends; the last one may lack its end."""
    held: list[bytes] = []
    for chunk in chunks:
        *whole, rest = chunk.split(b"\n")
        for line in whole:
            yield b"".join([*held, line]).removesuffix(b"\r")
            held = []
        if rest:
            held.append(rest)
    if held:
        yield b"".join(held)
