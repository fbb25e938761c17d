"""Runs the command line in forks of one process that has imported it, for `clirunner.nacrith`.

A run is a process of its own, with pipes, environment and directory as given, so it differs from
`python -m nacrith` in one thing only: it does not spend 0.3 s of processor time on imports first. Tests of
what happens at the start, of terminals and of signals start an interpreter.

A request on the socket is a length (4 bytes), with the three descriptors of the standard streams, and JSON:
arguments, directory, environment, umask. The answer is the exit code, as `subprocess` has it, in 4 bytes.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import json
import os
import pkgutil
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path

_COUNT = struct.Struct("<i")


class ForkServer:
    """The process that runs things, as a test sees it. patience: seconds before it gives up on a run."""

    def __init__(self, environment: Mapping[str, str], directory: Path, patience: float) -> None:
        self._socket, theirs = socket.socketpair()
        self._socket.settimeout(patience)
        self._process = subprocess.Popen(
            [sys.executable, __file__, str(theirs.fileno())],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            pass_fds=[theirs.fileno()],
            env={**environment, "OPENBLAS_NUM_THREADS": "1"},
            cwd=directory,
        )
        theirs.close()
        atexit.register(self._stop)

    def _stop(self) -> None:
        self._socket.close()
        self._process.wait()

    def run(
        self, arguments: Sequence[str], stdin: bytes, directory: str, environment: Mapping[str, str]
    ) -> tuple[int, bytes, bytes]:
        """Exit code, standard output, standard error."""
        os.umask(mask := os.umask(0))
        request = json.dumps([list(arguments), directory, dict(environment), mask]).encode()
        with ExitStack() as opened:
            (read_in, write_in), (read_out, write_out), (read_err, write_err) = (os.pipe() for _ in range(3))
            out, err = (opened.enter_context(open(f, "rb")) for f in (read_out, read_err))
            socket.send_fds(self._socket, [_COUNT.pack(len(request))], [read_in, write_out, write_err])
            for descriptor in (read_in, write_out, write_err):
                os.close(descriptor)
            self._socket.sendall(request)
            feeding = threading.Thread(target=_feed, args=(write_in, stdin))
            feeding.start()
            said: list[bytes] = []
            hearing = threading.Thread(target=lambda: said.append(err.read()))
            hearing.start()
            written = out.read()
            hearing.join()
            feeding.join()
        code = self._socket.recv(_COUNT.size, socket.MSG_WAITALL)
        return _COUNT.unpack(code)[0], written, said[0]


def _feed(descriptor: int, data: bytes) -> None:
    with suppress(BrokenPipeError), open(descriptor, "wb", buffering=0) as file:
        while data:
            data = data[file.write(data) :]


_LEFT_OUT = ("__main__", "floats", "integrations", "ray", "torch", "training")
"""Words in the names of modules that only tests of them need, or that import what takes long."""


def import_commands() -> None:
    """Import whatever commands import when they need it, so that no fork does it again."""
    for library in (
        "brotli",
        "bz2",
        "constriction",
        "difflib",
        "importlib.readers",
        "lzma",
        "numpy.ma",
        "zstandard",
    ):
        importlib.import_module(library)
    import nacrith

    for module in pkgutil.walk_packages(nacrith.__path__, "nacrith."):
        if not any(word in module.name for word in _LEFT_OUT):
            importlib.import_module(module.name)
    gc.freeze()  # a fork that ends would go through all of this, and so copy it: half of its time


def _serve(requests: socket.socket) -> None:
    while True:
        header, streams, _, _ = socket.recv_fds(requests, _COUNT.size, 3)
        if not header:
            return
        request = requests.recv(_COUNT.unpack(header)[0], socket.MSG_WAITALL)
        child = os.fork()
        if child == 0:
            requests.close()
            _become(*json.loads(request), streams)
            return
        for descriptor in streams:
            os.close(descriptor)
        requests.sendall(_COUNT.pack(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])))


def _become(
    arguments: list[str], directory: str, environment: dict[str, str], mask: int, streams: list[int]
) -> None:
    """This process is a command from now on. It ends by SystemExit, as an interpreter would."""
    from nacrith.cli.entry import main

    for number, descriptor in enumerate(streams):
        os.dup2(descriptor, number)
        os.close(descriptor)
    os.chdir(directory)
    os.umask(mask)
    os.environ.clear()
    os.environ.update(environment)
    main(arguments)


if __name__ == "__main__":
    import_commands()
    _serve(socket.socket(fileno=int(sys.argv[1])))
