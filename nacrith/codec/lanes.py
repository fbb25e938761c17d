"""Batched decoding: the lanes of one session, one block in each, advance together in one pass of the model.

A pass of the model costs little more for many rows than for one. So each pass computes the next token of
every block that has a lane, and drafted tokens beyond it (`speculation`). A lane whose block is finished
takes the next block, so the batch stays full while blocks wait. Which blocks share a pass changes no byte:
the rows of exact models do not depend on each other, and an archive of a floating-point model is written only
after its blocks were decoded in other lanes (see `ModelCodec`).
"""

from __future__ import annotations

import time
from bisect import insort
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from nacrith.codec.speculation import Pace
from nacrith.models.protocol import LanguageModel, Logits
from nacrith.predictors.protocol import Ensemble


class Drafter(Protocol):
    """Drafts the tokens that follow in one block."""

    def draft(self, most: int, worth: float) -> list[int]:
        """At most `most` tokens. worth: the least probability of a token that pays for its row."""
        ...

    def judge(self, tokens: list[int]) -> None:
        """tokens: those decoded after the last draft. The drafter learns how good its draft was."""
        ...

    def update(self, token: int) -> None:
        """Append one decoded token to the context."""
        ...


class Job(Protocol):
    """A block to be decoded in a lane."""

    @property
    def left(self) -> int:
        """Tokens still to be decoded; 0 when the job is finished."""
        ...

    @property
    def tokens(self) -> Sequence[int]:
        """The tokens decoded so far."""
        ...

    def start(self, ensemble: Ensemble, drafter: Drafter) -> None:
        """Called once, when the job gets a lane."""
        ...

    def inputs(self, drafts: int, worth: float) -> list[int]:
        """Tokens to be computed next: the last one decoded, then at most `drafts` drafted tokens."""
        ...

    def read(self, rows: Logits) -> int:
        """Decode from the rows of `inputs`, at least one token; the number of rows used."""
        ...


class Lanes:
    """Blocks being decoded, and blocks that wait for a lane.

    ensemble, drafter: make the predictors and the drafter of a block. drafts: most drafted tokens in a lane
    and pass. worth: see ModelCodec.
    """

    def __init__(
        self,
        model: LanguageModel,
        window: int,
        lanes: int,
        ensemble: Callable[[], Ensemble],
        drafter: Callable[[], Drafter],
        *,
        drafts: int,
        worth: float | None,
    ) -> None:
        self._model = model
        self._ensemble = ensemble
        self._drafter = drafter
        self._drafts = drafts
        self._worth = worth
        self._session = model.session(lanes, window)
        self._lanes: list[Job | None] = [None] * lanes
        self._arrived: deque[Job] = deque()
        self._waiting: list[Job] = []  # by length; the longest is last and is taken first
        self._pace = Pace()

    def add(self, jobs: Iterable[Job]) -> None:
        """Queue jobs. May be called by any thread at any time, also while another one is in `step`."""
        self._arrived.extend(job for job in jobs if job.left)

    def step(self) -> bool:
        """Decode at least one token in every lane; False if there was nothing to do."""
        session = self._session
        for i, job in enumerate(self._lanes):
            if job is None or not job.left:
                job = self._lanes[i] = self._next()
            if job is not None and len(job.tokens) % self._model.max_length == 0:
                session.rollback(i, 0)
        active = sum(job is not None for job in self._lanes)
        if not active:
            return False
        worth = self._pace.worth(active) if self._worth is None else self._worth
        inputs = [[] if job is None else job.inputs(self._drafts, worth) for job in self._lanes]
        lengths = session.lengths
        begin = time.perf_counter()
        answers = session.extend(inputs)
        self._pace.observe(sum(map(len, inputs)), time.perf_counter() - begin)
        for i, (job, rows) in enumerate(zip(self._lanes, answers, strict=True)):
            if job is not None:
                used = job.read(rows)
                if used < len(rows):
                    session.rollback(i, lengths[i] + used)
        return True

    def _next(self) -> Job | None:
        while self._arrived:
            insort(self._waiting, self._arrived.popleft(), key=lambda job: job.left)
        if not self._waiting:
            return None
        job = self._waiting.pop()
        job.start(self._ensemble(), self._drafter())
        return job
