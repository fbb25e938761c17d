"""Batched decoding: the lanes of one session, in which the groups of several blocks advance together.

A pass of the model costs little more for many rows than for one. So each pass computes the next row of every
lane of every group that is active, and each group's coder decodes its tokens of them. A lane that has ended
is free for the next group, so the batch stays full while blocks wait. Which groups share a pass changes no
byte: the rows of exact models do not depend on each other, and an archive of a floating-point model is
written only after its blocks were decoded in other places (see `ModelCodec`).
"""

from __future__ import annotations

from bisect import insort
from collections import deque
from collections.abc import Callable, Iterable
from functools import partial

from nacrith.codec.decode_job import DecodeJob
from nacrith.codec.group import GroupDecoder
from nacrith.codec.prefix import teach
from nacrith.models.protocol import LanguageModel
from nacrith.workers import Workers

LANES = 32
"""Lanes of a pool, unless one group alone has more. It affects speed and memory only."""


class Pool:
    """Blocks being decoded, and blocks that wait for lanes.

    lanes: of the session; no job may have more. groups: most that are active at once, which bounds their
    memory. decoder: makes the coder of a job. workers: run the coders.
    """

    def __init__(
        self,
        model: LanguageModel,
        window: int,
        lanes: int,
        groups: int,
        decoder: Callable[[DecodeJob], GroupDecoder],
        workers: Workers,
    ) -> None:
        self._model, self._window = model, window
        self._session = model.session(lanes, window)
        self._free = list(range(lanes))[::-1]  # the next place is the last
        self._places: dict[DecodeJob, dict[int, int]] = {}  # of active jobs: the place of each lane
        self._groups = groups
        self._decoder = decoder
        self._arrived: deque[DecodeJob] = deque()
        self._waiting: list[DecodeJob] = []  # by steps; the longest is last and is taken first
        self._workers = workers

    def add(self, jobs: Iterable[DecodeJob]) -> None:
        """Queue jobs. May be called by any thread at any time, also while another one is in `step`."""
        self._arrived.extend(job for job in jobs if job.active)

    def step(self) -> None:
        """Decode a token of every active lane, if there is any."""
        self._start_waiting()
        jobs = list(self._places)
        if not jobs:
            return
        inputs: list[list[int]] = [[] for _ in self._session.lengths]
        for job in jobs:
            places = self._places[job]
            for lane, token in zip(job.active, job.inputs(), strict=True):
                if job.begins:
                    self._session.rollback(places[lane], 0)
                inputs[places[lane]] = [token]
        rows = self._session.extend(inputs)
        self._workers.run(
            [partial(job.read, [rows[self._places[job][lane]] for lane in job.active]) for job in jobs]
        )
        for job in jobs:
            job.tell()
            self._release(job)

    def _start_waiting(self) -> None:
        """Give lanes to the jobs that wait, the longest first, as long as there are enough."""
        while self._arrived:
            insort(self._waiting, self._arrived.popleft(), key=lambda job: job.steps)
        while (
            self._waiting and self._waiting[-1].lanes <= len(self._free) and len(self._places) < self._groups
        ):
            job = self._waiting.pop()
            job.start(self._decoder(job))
            places = self._places[job] = {lane: self._free.pop() for lane in job.active}
            if job.prefix:
                own = list(places.values())
                teach(self._session, own, job.prefix, self._model, self._window, job.learn)

    def _release(self, job: DecodeJob) -> None:
        """Free the places of the lanes that have ended."""
        places = self._places[job]
        if len(places) == len(job.active):
            return
        for lane in set(places) - set(job.active):
            self._free.append(places.pop(lane))
        self._free.sort(reverse=True)
        if not places:
            del self._places[job]
