"""One batch for many callers: what several threads decode at a time fills the lanes of one session.

A short file has too few blocks to keep the model busy: one lane decodes a quarter as many tokens a second
as sixteen do together. So a worker that has many of them gives each a thread, and all threads one of
these codecs. There is no scheduler: whoever waits for a block of its own takes the next step for all.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence

from nacrith.archive.blockcodec import CodecId, Progress
from nacrith.codec.lanes import Lanes
from nacrith.codec.model_codec import LANES, ModelCodec


class SharedCodec:
    """A BlockCodec that may be used by several threads at once; the bytes are those of `codec`."""

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
        # A block has rows enough for a pass of its own; what several threads gain is all else they do.
        with self._model:
            return self._codec.encode(blocks, progress)

    def decode(self, blocks: Sequence[tuple[bytes, int]], progress: Progress | None = None) -> list[bytes]:
        """As ever; `progress` is called from any of the threads."""
        jobs = self._codec.decode_jobs(blocks, progress)
        lanes = self._all_lanes()
        lanes.add(jobs)
        while any(job.left for job in jobs):
            with self._model:
                lanes.step()
        return [job.content() for job in jobs]

    def _all_lanes(self) -> Lanes:
        """Made for the first who decodes: a worker that encodes needs none."""
        with self._making:
            if self._lanes is None:
                self._lanes = self._codec.decode_lanes(self._count)
            return self._lanes
