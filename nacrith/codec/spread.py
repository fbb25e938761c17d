"""The blocks of one content over several processes, each with its model on a device of its own.

Blocks are independent, so it does not matter who codes them: the bytes are those of one process. The
processes are spawned, so that none inherits threads or CUDA, and claim their resources (GPU, threads)
before they import a library that would take others. For many files there is `nacrith batch`.
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
"""Bytes of content, at least, that a worker is given to encode at a time."""


class SpreadCodec:
    """A BlockCodec over one worker for each of `resources`. NacrithError of `make` if there can be none.

    Not thread-safe. The processes end with `stop`, or with this one, or when coding fails for any reason
    but damaged content: what is left of them then cannot be relied on.
    """

    def __init__(self, make: Make, resources: Sequence[Resources]) -> None:
        self._workers: list[_Worker] = []
        try:
            # The first alone: what has to be converted or compiled is so once.
            for worker_resources in resources:
                self._workers.append(_Worker(make, worker_resources))
                if len(self._workers) == 1:
                    self._id, lanes = self._workers[0].begun()
            if any(worker.begun()[0] != self._id for worker in self._workers[1:]):
                raise ModelError(
                    "the devices are not alike, and archives made with this backend are bound to one kind of"
                    " device: name only one, or several of a kind"
                )
        except BaseException:
            self.stop()
            raise
        self.lanes = lanes * len(self._workers)

    @property
    def id(self) -> CodecId:
        return self._id

    @property
    def usable(self) -> bool:
        """Whether all workers are alive."""
        return bool(self._workers) and all(worker.process.is_alive() for worker in self._workers)

    def stop(self) -> None:
        """End all workers at once. Nothing can be coded any more."""
        for worker in self._workers:
            worker.process.kill()
        for worker in self._workers:
            worker.process.join()
            worker.pipe.close()
        self._workers = []

    def verify_source(self) -> None:
        for worker in self._workers:  # each has loaded it
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
        # All at once, a share for each: lanes stay full as long as there are blocks.
        longest_first = sorted(range(len(blocks)), key=lambda i: -blocks[i][1])
        shares = [longest_first[n :: len(self._workers)] for n in range(len(self._workers))]
        return self._share("decode", blocks, [share for share in shares if share], progress)

    def _share(
        self, way: str, blocks: Sequence[Any], chunks: Iterable[list[int]], progress: Progress | None
    ) -> list[bytes]:
        """Have workers do the chunks, which are numbers of blocks, as they get free."""
        if not self._workers:
            raise ModelError("the worker processes have ended; begin again with new ones")
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
    """A process with its pipe."""

    def __init__(self, make: Make, resources: Resources) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=_child, args=(theirs, make, resources), daemon=True)
        self.process.start()
        theirs.close()

    def begun(self) -> tuple[CodecId, int]:
        """The codec's id and lanes, once it is made."""
        return self._answer(lambda _: None)

    def call(self, way: str, blocks: list[Any], progress: Progress) -> list[bytes]:
        with contextlib.suppress(OSError):  # it has died, which its answer tells
            self.pipe.send((way, blocks))
        return self._answer(progress)

    def _answer(self, progress: Progress) -> Any:
        while True:
            try:
                message = self.pipe.recv()
            except (EOFError, OSError):
                self.process.join()
                raise ModelError(
                    f"a worker process has died (exit code {self.process.exitcode}); see whether memory ran"
                    " out, on the device too, and use fewer devices or a smaller model"
                ) from None
            if isinstance(message, Exception):
                raise message
            if not isinstance(message, int):
                return message
            progress(message)


def _child(pipe: Connection, make: Make, resources: Resources) -> None:
    """The life of a worker: it ends with the pipe."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent hears it too, and ends us
    resources.claim()
    try:
        codec = make(resources.threads)
        pipe.send((codec.id, codec.lanes))
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
