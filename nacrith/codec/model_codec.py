"""Codes blocks to payloads and back with a language model; implements archive.blockcodec.BlockCodec.

A block is a group of lanes (`text`), coded in the order of a schedule by one coder (`group`). When encoding,
all tokens are known, so the model runs over many steps of all lanes at a time (`encoding`). When decoding, a
token is known only after the row before it, so the lanes of several groups advance together (`pool`). Exact
engines guarantee that the rows are the same integers either way, which is why the archive can be decoded.

A floating-point model gives the same rows only on one machine, and only if each pass takes one token of
every lane in a batch with a fixed number of lanes (`models.floats.session`). No such library guarantees that
its results repeat or that a row does not depend on the rest of its batch. So encoding decodes its own output,
with the lanes in other places.

When a lane has reached the model's maximum length, its KV cache is emptied and it continues with the start
token.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, cast

from nacrith.archive.blockcodec import CodecId, Progress
from nacrith.codec import encoding, group
from nacrith.codec.decode_job import DecodeJob
from nacrith.codec.encoding import EncodeJob
from nacrith.codec.params import CodingParams
from nacrith.codec.pool import LANES, Pool
from nacrith.codec.prefix import tokens_of
from nacrith.codec.text import LANE_SIZE
from nacrith.cores import usable_cores
from nacrith.errors import CorruptError, ModelError
from nacrith.models.protocol import LanguageModel
from nacrith.workers import Workers

if TYPE_CHECKING:
    from nacrith.models.floats.binding import BoundModel

_BATCH = 1 << 21
"""Bytes of content worth decoding at a time: enough for the lanes of a pool twice over."""

_MEMORY = 1 << 29
"""Bytes of the coders of the groups that are decoded at a time, unless one alone needs more."""


class ModelCodec:
    """Codes blocks with one model and one set of parameters.

    lanes: most of a group when encoding; with a floating-point model no more than its batch has. lane_size:
    bytes to aim for in a lane. threads: of the coders; None for one per core. prefix: the one that `params`
    name.
    """

    shared = False
    """Set by a caller whose threads all use this codec: their blocks are decoded in one pool. There is no
    scheduler: a thread that waits for a block of its own executes the next pass for all threads."""

    def __init__(
        self,
        model: LanguageModel,
        params: CodingParams,
        *,
        lanes: int = 16,
        lane_size: int = LANE_SIZE,
        threads: int | None = None,
        prefix: bytes = b"",
    ) -> None:
        self.model = model
        self._prefix = tokens_of(prefix, model) if prefix else ()
        self.params = params
        self._places = None if model.portable else cast("BoundModel", model).lanes
        self._lanes = min(lanes, self._places or lanes)
        self._lane_size = lane_size
        self._workers = Workers(threads or usable_cores())
        self._pool: Pool | None = None  # of all threads
        self._making, self._running = threading.Lock(), threading.RLock()

    @property
    def id(self) -> CodecId:
        return CodecId(self.model.fingerprint, self.params.to_bytes(), self.model.name)

    @property
    def batch(self) -> int:
        return _BATCH

    def verify_source(self) -> None:
        self.model.verify_source()

    def encode(self, blocks: Sequence[bytes], progress: Progress | None = None) -> list[bytes]:
        payloads: list[bytes] = []
        if not blocks:
            return payloads
        with self._running:  # a call has enough rows for passes of its own
            self.model.prepare()
            for jobs in self._batches(blocks):
                verified = self._places is not None
                payloads += self._verified(jobs, progress) if verified else self._encode(jobs, progress)
        return payloads

    def _batches(self, blocks: Sequence[bytes]) -> Iterator[list[EncodeJob]]:
        """Blocks share a batch as long as there are lanes, so that the model gets enough rows at a time, and
        several coders have work."""
        waiting: list[EncodeJob] = []
        lanes = 0
        for block in blocks:
            job = EncodeJob(block, self.model, self._lanes, self._lane_size)
            if waiting and lanes + len(job.tokens) > (self._places or LANES):
                yield waiting
                waiting, lanes = [], 0
            waiting.append(job)
            lanes += len(job.tokens)
        yield waiting

    def _encode(
        self, jobs: Sequence[EncodeJob], progress: Progress | None, places: int | None = None
    ) -> list[bytes]:
        vocabulary = self.model.tokenizer.vocabulary(self.model.vocab_size)
        return encoding.encode_batch(
            jobs,
            self.model,
            self.params.window,
            lambda lengths: group.encoder(vocabulary, self.params, self._all(lengths)),
            progress,
            self._workers,
            places,
            self._prefix,
        )

    def _all(self, lengths: Sequence[int]) -> list[int]:
        """The numbers of tokens that a coder meets in lanes of so many."""
        return [lengths[0] + len(self._prefix), *lengths[1:]]

    def _verified(self, jobs: Sequence[EncodeJob], progress: Progress | None) -> list[bytes]:
        """Encode a batch of blocks, then decode it before the next batch.

        Decoding puts the lanes into other places: there the longest block has the first ones, here it has the
        last. A difference is an error; a fallback codec for that block alone would be no remedy, since blocks
        that happened to pass could still differ the next time.
        """
        tell = progress and _halved(progress)
        order = sorted(range(len(jobs)), key=lambda i: -max(jobs[i].lengths, default=0))
        made = self._encode([jobs[i] for i in order], tell, self._places)
        try:
            back = self.decode([(made[n], len(jobs[i].block)) for n, i in enumerate(order)], tell)
        except CorruptError:
            back = []
        if back != [jobs[i].block for i in order]:
            fewer = "NACRITH_LANES=1 or " if self._places != 1 else ""
            raise ModelError(
                f"{self.model.name} does not give the same results twice with this backend, so that an"
                f" archive could not be decoded; nothing was written. Use {fewer}--backend exact"
            )
        return [made[order.index(i)] for i in range(len(jobs))]

    def decode(self, blocks: Sequence[tuple[bytes, int]], progress: Progress | None = None) -> list[bytes]:
        """As in BlockCodec; of the threads that share this codec, any may call `progress`."""
        jobs = [DecodeJob(payload, size, self.model, progress, self._prefix) for payload, size in blocks]
        lanes = [job.lanes for job in jobs]
        if self._places is not None and max(lanes, default=0) > self._places:
            raise CorruptError(f"a block claims {max(lanes)} lanes, its model has {self._places}: damaged")
        pool = self._pool_for(lanes)
        pool.add(jobs)
        while any(job.active for job in jobs):
            with self._running:
                pool.step()
        return [job.content() for job in jobs]

    def _pool_for(self, lanes: Sequence[int]) -> Pool:
        """The pool that all threads share, or one of its own for blocks of this many lanes each."""
        if not self.shared or max(lanes, default=0) > (self._places or LANES):
            return self._new_pool(max(1, *lanes, min(LANES, sum(lanes))))
        with self._making:
            if self._pool is None:
                self._pool = self._new_pool(LANES)
            return self._pool

    def _new_pool(self, lanes: int) -> Pool:
        self.model.prepare()
        model, params = self.model, self.params
        vocabulary = model.tokenizer.vocabulary(model.vocab_size)
        return Pool(
            model,
            params.window,
            self._places or lanes,
            max(1, _MEMORY // group.memory(params)),
            lambda job: group.decoder(vocabulary, params, self._all(job.lengths), job.coded),
            self._workers,
        )


def binding_of(model: LanguageModel) -> Mapping[str, str]:
    """The binding that an archive of this model records; empty for a portable model."""
    return {} if model.portable else cast("BoundModel", model).binding


def _halved(progress: Progress) -> Progress:
    """Progress for content that is processed twice."""
    done = 0

    def tell(size: int) -> None:
        nonlocal done
        before, done = done, done + size
        progress(done // 2 - before // 2)

    return tell
