"""Encodes a batch of blocks: all tokens are known, so a pass of the model computes many steps of every lane.

The rows of a pass go to the coders of the groups in the order of the schedule (`group`). They run beside the
next pass and beside each other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import numpy as np

from nacrith.archive.blockcodec import Progress
from nacrith.codec import payload
from nacrith.codec.decode_job import Tally
from nacrith.codec.group import GroupEncoder
from nacrith.codec.prefix import teach
from nacrith.codec.rows import joined
from nacrith.codec.text import lanes_of, strip_crlf
from nacrith.models.protocol import LanguageModel, Logits
from nacrith.workers import Workers

ROWS = 256
"""Rows of a pass, 50 MB for 49,152 symbols; those of two passes are held."""

_Pass = tuple[int, list[Logits]]
"""The first step of a pass of the model, and for each lane the rows of its tokens from that step on."""

NewEncoder = Callable[[Sequence[int]], GroupEncoder]
"""Makes the coder of a group from the number of tokens of each lane."""


class EncodeJob:
    """A block being encoded. tokens: of each lane."""

    def __init__(self, block: bytes, model: LanguageModel, lanes: int, lane_size: int) -> None:
        """lanes, lane_size: as of `lanes_of`."""
        text, self._crlf = strip_crlf(block)
        encode = model.tokenizer.encode
        self.tokens = [np.array(encode(lane), np.int32) for lane in lanes_of(text, encode, lanes, lane_size)]
        self.block = block

    @property
    def lengths(self) -> list[int]:
        return [len(tokens) for tokens in self.tokens]

    def start(self, new_encoder: NewEncoder, progress: Progress | None) -> None:
        """Make the coder, unless the block is empty."""
        self._encoder = new_encoder(self.lengths) if self.tokens else None
        self._tally = Tally(len(self.block), sum(self.lengths), progress)
        self._coded = 0

    def learn(self, rows: Logits, tokens: Sequence[int]) -> None:
        """The next tokens of a prefix, with their rows."""
        assert self._encoder is not None
        n = len(tokens)
        self._encoder.learn(rows, np.zeros(n, np.int32), np.arange(n), np.array(tokens, np.int32))

    def code(self, begin: int, rows: Sequence[Logits]) -> None:
        """Code the steps from `begin` on. rows: for each lane (n, V), n = 0 where the lane has ended."""
        counts = np.array([len(r) for r in rows], np.int64)
        if not counts.any():
            return
        lanes = np.repeat(np.arange(len(rows), dtype=np.int32), counts)
        steps = np.arange(len(lanes)) - np.repeat(np.cumsum(counts) - counts, counts)
        tokens = np.concatenate([ids[begin : begin + n] for ids, n in zip(self.tokens, counts, strict=True)])
        whole, first = joined(rows)
        at = np.repeat(np.array(first, np.int64), counts) + steps
        order = np.lexsort((lanes, steps))
        assert self._encoder is not None
        self._encoder.encode(whole, lanes[order], at[order], tokens[order])
        self._coded += len(order)

    def tell(self) -> None:
        """Report progress."""
        self._tally.update(self._coded)

    def payload(self) -> bytes:
        """Of a block whose tokens have all been coded."""
        head = payload.head(self.lengths, self._crlf)
        return head if self._encoder is None else head + self._encoder.finish()


def encode_batch(
    jobs: Sequence[EncodeJob],
    model: LanguageModel,
    window: int,
    new_encoder: NewEncoder,
    progress: Progress | None,
    workers: Workers,
    places: int | None = None,
    prefix: Sequence[int] = (),
) -> list[bytes]:
    """The payloads of jobs that share passes of the model.

    places: of the session, at least as many as lanes; None for just as many. The lanes take the last places
    first. workers: run the coders and the model. prefix: tokens that the blocks are coded after;
    `new_encoder` counts them to lane 0.
    """
    for job in jobs:
        job.start(new_encoder, progress)
    lanes = [tokens for job in jobs for tokens in job.tokens]
    ends = np.cumsum([len(job.tokens) for job in jobs]).tolist()
    passes = _passes(jobs, model, window, places or len(lanes), prefix)
    coding: list[Callable[[], _Pass | None]] = []
    while (found := workers.run([lambda: next(passes, None), *coding])[0]) is not None:
        begin, rows = found
        for job in jobs:
            job.tell()
        parts = [rows[end - len(job.tokens) : end] for job, end in zip(jobs, ends, strict=True)]
        coding = [partial(job.code, begin, part) for job, part in zip(jobs, parts, strict=True)]
    for job in jobs:
        job.tell()
    return [job.payload() for job in jobs]


def _passes(
    jobs: Sequence[EncodeJob], model: LanguageModel, window: int, places: int, prefix: Sequence[int]
) -> Iterator[_Pass]:
    lanes = [tokens for job in jobs for tokens in job.tokens]
    if not lanes:
        return
    session = model.session(places, window)
    free = list(range(places))
    for job in jobs if prefix else ():
        if own := [free.pop() for _ in job.tokens]:
            teach(session, own, prefix, model, window, job.learn)
    share = max(1, ROWS // len(lanes))
    limit = model.max_length
    end = 0
    while end < max(map(len, lanes)):
        held = (end + len(prefix)) % limit
        begin, end = end, min(end + share, end - held + limit)
        inputs: list[Sequence[int]] = [()] * places
        for i, ids in enumerate(lanes):
            if not held:
                session.rollback(places - 1 - i, 0)
            before = model.bos_id if not held else prefix[-1] if not begin else None
            inputs[places - 1 - i] = _shifted(ids, before, begin, end)
        rows = session.extend(inputs)
        yield begin, rows[::-1][: len(lanes)]


def _shifted(ids: np.ndarray, bos: int | None, begin: int, end: int) -> list[int]:
    """The inputs whose rows predict ids[begin:end]: for each token the one before it, or first `bos` if
    given."""
    if begin >= len(ids):
        return []
    first = int(ids[begin - 1]) if bos is None else bos
    return [first, *ids[begin : min(end, len(ids)) - 1].tolist()]
