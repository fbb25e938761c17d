"""Decoding side by side: lanes of one session, each with a block, all a step further in one pass.

A pass of the model costs little more for many rows than for one, so what is decoded at a time is one
token of every block in hand, and more where guesses at what follows come true (`speculation`). A lane
that finishes takes the next block, so the batch stays full while there are blocks. Which blocks share a
pass changes no byte: rows of exact models do not depend on each other, and others are coded only if theirs do
not either (see `ModelCodec`).
"""

from __future__ import annotations

import time
from bisect import insort
from collections import deque
from collections.abc import Callable, Iterable

from nacrith.archive.blockcodec import Progress
from nacrith.codec.speculation import Drafter, Odds, Pace
from nacrith.codec.step import DecodePort
from nacrith.codec.text import restore_crlf
from nacrith.errors import CorruptError
from nacrith.models.protocol import LanguageModel, Logits
from nacrith.predictors.protocol import Ensemble
from nacrith.varint import read_varint

_MAX_TOKENS_PER_BYTE = 3  # an escaped byte
_TOKEN_COUNT_BYTES = 5  # at most, of the varint at the start of a payload


class Lanes:
    """Blocks being decoded, and those that wait for a lane.

    ensemble: makes the predictors of a block. drafts: most tokens guessed ahead in a lane. worth: see
    ModelCodec.
    """

    def __init__(
        self,
        model: LanguageModel,
        window: int,
        lanes: int,
        ensemble: Callable[[], Ensemble],
        *,
        drafts: int,
        worth: float | None,
    ) -> None:
        self._model = model
        self._ensemble = ensemble
        self._drafts = drafts
        self._worth = worth
        self._session = model.session(lanes, window)
        self._lanes: list[DecodeJob | None] = [None] * lanes
        self._arrived: deque[DecodeJob] = deque()
        self._waiting: list[DecodeJob] = []  # the longest last, which is the next: short ones fill the end
        self._odds, self._pace = Odds(), Pace()

    def add(self, jobs: Iterable[DecodeJob]) -> None:
        """May be called by any thread at any time, also while another one takes a step."""
        self._arrived.extend(job for job in jobs if job.left)

    def step(self) -> bool:
        """Decode a token of every lane, or more; False if there was nothing to do."""
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

    def _next(self) -> DecodeJob | None:
        while self._arrived:
            insort(self._waiting, self._arrived.popleft(), key=lambda job: job.left)
        if not self._waiting:
            return None
        job = self._waiting.pop()
        job.start(self._ensemble(), Drafter(self._model.vocab_size, self._odds))
        return job


class Tally:
    """Turns tokens done into bytes done: in proportion, so that they add up to the block's size."""

    def __init__(self, size: int, tokens: int, progress: Progress | None) -> None:
        self._size = size
        self._tokens = tokens
        self._progress = progress
        self._done = 0

    def advance(self, tokens: int) -> None:
        if self._progress and tokens:
            before = self._size * self._done // self._tokens
            self._done += tokens
            self._progress(self._size * self._done // self._tokens - before)


class DecodeJob:
    """A block being decoded. left: tokens still to come."""

    def __init__(self, payload: bytes, size: int, model: LanguageModel, progress: Progress | None) -> None:
        self.size = size
        try:
            number, start = read_varint(payload, _TOKEN_COUNT_BYTES)
        except ValueError:
            raise CorruptError("a block's token count is damaged") from None
        self.left, self.crlf = number >> 1, bool(number & 1)
        if self.left > _MAX_TOKENS_PER_BYTE * size:
            raise CorruptError(f"a block of {size} bytes claims {self.left} tokens: damaged")
        self.payload = payload[start:]
        self.tokens: list[int] = []
        self._model = model
        self._tally = Tally(size, self.left, progress)
        self._error: CorruptError | None = None

    def start(self, ensemble: Ensemble, drafter: Drafter) -> None:
        """Gives the block what it needs while it has a lane."""
        self._port = DecodePort(ensemble, self.payload)
        self._drafter = drafter

    def inputs(self, drafts: int, worth: float) -> list[int]:
        """The token whose row is wanted next, and guesses at those that follow."""
        model = self._model
        held = len(self.tokens) % model.max_length
        first = self.tokens[-1] if held else model.bos_id
        most = min(drafts, self.left - 1, model.max_length - held - 1, model.rollback_limit - 1)
        self._draft = self._drafter.draft(most, worth)
        return [first, *self._draft]

    def read(self, rows: Logits) -> int:
        """Decodes a token from the first row, and on as long as the guesses are right. The rows used."""
        came: list[int] = []
        try:
            for row, guess in zip(rows, [*self._draft, None], strict=True):
                came.append(self._port.step(row))
                if came[-1] != guess:
                    break
        except CorruptError as error:  # ends this block, and not those beside it
            self._error = error
            self.left = len(came)
        self._drafter.judge(came)
        for token in came:
            self._drafter.update(token)
        self.tokens += came
        self.left -= len(came)
        self._tally.advance(len(came))
        if not self.left:
            del self._port, self._drafter
        return len(came)

    def content(self) -> bytes:
        """What was decoded, once nothing is left. CorruptError if it cannot be right."""
        if self._error is not None:
            raise self._error
        text = restore_crlf(self._model.tokenizer.decode(self.tokens), self.crlf)
        if len(text) != self.size:
            raise CorruptError(f"a block decodes to {len(text)} bytes, not {self.size}: damaged")
        return text
