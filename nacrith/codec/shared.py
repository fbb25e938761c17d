"""A codec that several threads share: their blocks are decoded in the lanes of one session.

A short file has too few blocks to fill a batch, and one lane decodes a quarter as many tokens per second as
sixteen lanes together. So a worker with many short files runs a thread for each of them, and all threads
share one of these codecs. There is no scheduler: a thread that waits for a block of its own executes the
next pass for all threads.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence

from nacrith.archive.blockcodec import CodecId, Progress
from nacrith.codec.lanes import Lanes
from nacrith.codec.model_codec import LANES, ModelCodec


class SharedCodec:
    """A BlockCodec that several threads may use at once; the bytes are those of `codec`."""

    def __init__(self, codec: ModelCodec, lanes: int = LANES) -> None:
        self._codec = codec
        self._count = lanes
        self._lanes: Lanes | None = None
        self._making, self._model = threading.Lock(), threading.Lock()

    @property
    def id(self) -> CodecId:
        return self._codec.id

    @property
    def lanes(self) -> int:
        return self._codec.lanes

    def verify_source(self) -> None:
        self._codec.verify_source()

    def encode(self, blocks: Sequence[bytes], progress: Progress | None = None) -> list[bytes]:
        # One block has enough rows for a pass of its own. Threads overlap only the work outside the model.
        with self._model:
            return self._codec.encode(blocks, progress)

    def decode(self, blocks: Sequence[tuple[bytes, int]], progress: Progress | None = None) -> list[bytes]:
        """As in BlockCodec; any of the threads may call `progress`."""
        jobs = self._codec.decode_jobs(blocks, progress)
        lanes = self._all_lanes()
        lanes.add(jobs)
        while any(job.left for job in jobs):
            with self._model:
                lanes.step()
        return [job.content() for job in jobs]

    def _all_lanes(self) -> Lanes:
        """The lanes, made at the first decoding: a worker that only encodes needs none."""
        with self._making:
            if self._lanes is None:
                self._lanes = self._codec.decode_lanes(self._count)
            return self._lanes
