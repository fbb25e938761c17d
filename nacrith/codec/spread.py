"""Codes the blocks of one content in several processes, each with its model on its own device.

Blocks are independent, so the bytes are the same as those of one process. The processes are spawned, so that
none inherits threads or CUDA, and claim their resources (GPU, threads) before they import a library that
would take others. For many files there is `nacrith batch`.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from multiprocessing.connection import Connection
from typing import Any

from nacrith.archive.blockcodec import BlockCodec, CodecId, Progress
from nacrith.errors import CorruptError, ModelError, NacrithError, sendable
from nacrith.settings import Resources
from nacrith.workers import run_all

Make = Callable[[int], BlockCodec]
"""Makes the codec of a worker, in its process, for the given number of threads. It is pickled: it must be a
function of a module, or a partial of one."""

_CHUNK = 1 << 15
"""Least number of content bytes that a worker is given to encode at a time."""


class SpreadCodec:
    """A BlockCodec over one worker for each of `resources`. Raises the NacrithError of `make` if a worker
    cannot start.

    Not thread-safe. The processes end with `stop`, with the parent process, and when coding fails for any
    reason but damaged content, since their state is then unknown.
    """

    def __init__(self, make: Make, resources: Sequence[Resources]) -> None:
        self._workers: list[_Worker] = []
        try:
            # The first one starts alone, so that a conversion or compilation happens only once.
            for worker_resources in resources:
                self._workers.append(_Worker(make, worker_resources))
                if len(self._workers) == 1:
                    self._id, batch = self._workers[0].begun()
            if any(worker.begun()[0] != self._id for worker in self._workers[1:]):
                raise ModelError(
                    "the devices differ, and archives made with this backend are bound to one kind of device:"
                    " name only one, or several of a kind"
                )
        except BaseException:
            self.stop()
            raise
        self.batch = batch * len(self._workers)

    @property
    def id(self) -> CodecId:
        return self._id

    @property
    def usable(self) -> bool:
        """Whether all workers are alive."""
        return bool(self._workers) and all(worker.process.is_alive() for worker in self._workers)

    def stop(self) -> None:
        """Kill all workers at once. Nothing can be coded afterwards."""
        for worker in self._workers:
            worker.process.kill()
        for worker in self._workers:
            worker.process.join()
            worker.pipe.close()
        self._workers = []

    def verify_source(self) -> None:
        for worker in self._workers:  # every worker has loaded the file
            worker.call("verify_source", [], lambda _: None)

    def encode(self, blocks: Sequence[bytes], progress: Progress | None = None) -> list[bytes]:
        chunks: list[list[int]] = []
        room = 0
        for i, block in enumerate(blocks):
            if room <= 0:
                chunks.append([])
                room = _CHUNK
            chunks[-1].append(i)
            room -= len(block)
        return self._share("encode", blocks, chunks, progress)

    def decode(self, blocks: Sequence[tuple[bytes, int]], progress: Progress | None = None) -> list[bytes]:
        # One share for each worker from the start, so that its lanes stay full.
        longest_first = sorted(range(len(blocks)), key=lambda i: -blocks[i][1])
        shares = [longest_first[n :: len(self._workers)] for n in range(len(self._workers))]
        return self._share("decode", blocks, [share for share in shares if share], progress)

    def _share(
        self, way: str, blocks: Sequence[Any], chunks: Iterable[list[int]], progress: Progress | None
    ) -> list[bytes]:
        """Let free workers take the next chunk until all are coded. A chunk is a list of block numbers."""
        if not self._workers:
            raise ModelError("the worker processes have ended; create new ones")
        results: dict[int, bytes] = {}
        waiting = deque(chunks)
        lock = threading.Lock()

        def tell(size: int) -> None:
            with lock:
                if progress is not None:
                    progress(size)

        def serve(worker: _Worker) -> None:
            while True:
                try:
                    chunk = waiting.popleft()
                except IndexError:
                    return
                try:
                    done = worker.call(way, [blocks[i] for i in chunk], tell)
                except BaseException:
                    waiting.clear()
                    raise
                results.update(zip(chunk, done, strict=True))

        try:
            run_all([partial(serve, worker) for worker in self._workers], len(self._workers))
        except CorruptError:
            raise
        except BaseException:
            self.stop()
            raise
        return [results[i] for i in range(len(blocks))]


class _Worker:
    """A worker process and the pipe to it."""

    def __init__(self, make: Make, resources: Resources) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=_child, args=(theirs, make, resources), daemon=True)
        self.process.start()
        theirs.close()

    def begun(self) -> tuple[CodecId, int]:
        """The codec's id and batch, once the worker has made it."""
        return self._answer(lambda _: None)

    def call(self, way: str, blocks: list[Any], progress: Progress) -> list[bytes]:
        with contextlib.suppress(OSError):  # the worker has died, which _answer reports
            self.pipe.send((way, blocks))
        return self._answer(progress)

    def _answer(self, progress: Progress) -> Any:
        while True:
            try:
                message = self.pipe.recv()
            except (EOFError, OSError):
                self.process.join()
                raise ModelError(
                    f"a worker process has died (exit code {self.process.exitcode}); check whether memory"
                    " ran out, on the device too, and use fewer devices or a smaller model"
                ) from None
            if isinstance(message, Exception):
                raise message
            if not isinstance(message, int):
                return message
            progress(message)


def _child(pipe: Connection, make: Make, resources: Resources) -> None:
    """Main function of a worker, which ends when the pipe is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent gets it too, and stops its workers
    resources.claim()
    try:
        codec = make(resources.threads)
        pipe.send((codec.id, codec.batch))
        while True:
            way, blocks = pipe.recv()
            try:
                if way == "verify_source":
                    codec.verify_source()
                    pipe.send(None)
                else:
                    pipe.send(getattr(codec, way)(blocks, pipe.send))
            except NacrithError as error:
                pipe.send(sendable(error, ModelError))
    except (EOFError, BrokenPipeError):
        return
    except Exception as error:
        pipe.send(sendable(error, ModelError))
