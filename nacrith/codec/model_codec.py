"""Codes blocks to payloads and back with a language model; implements archive.blockcodec.BlockCodec.

When encoding, all tokens are known, so the model runs over them in large batches. When decoding, a token is
known only after the row before it, so several blocks are decoded in one batch (`lanes`). Exact engines
guarantee that the rows are the same integers either way, which is why the archive can be decoded.

A floating-point model gives the same rows only on one machine, and only if each pass takes one token of
every lane in a batch with a fixed number of lanes (`models.floats.session`). Speculative drafts would gain
nothing there, so there are none. No such library guarantees that its results repeat or that a row does not
depend on the rest of its batch. So encoding decodes its own output, with the blocks in other lanes.

When a lane has reached the model's maximum length, its KV cache is emptied and it continues with the start
token.

A payload is a LEB128 varint, 2 * tokens + (1 if line ends were CR LF), followed by the range coder's bytes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import cast

from nacrith.archive.blockcodec import CodecId, Progress
from nacrith.codec import speculation
from nacrith.codec.decode_job import DecodeJob, Tally
from nacrith.codec.lanes import Lanes
from nacrith.codec.params import CodingParams
from nacrith.codec.step import EncodePort
from nacrith.codec.text import restore_crlf, strip_crlf
from nacrith.errors import CorruptError, ModelError
from nacrith.models.floats.binding import BoundModel
from nacrith.models.protocol import LanguageModel
from nacrith.predictors import registry
from nacrith.predictors.protocol import Ensemble
from nacrith.varint import put_varint

LANES = 16
"""Maximum number of blocks decoded in one batch. It affects speed and memory only."""

_ENCODE_ROWS = 256  # rows of logits held at a time when encoding: 50 MB for 49,152 symbols


class ModelCodec:
    """Codes blocks with one model and one set of parameters.

    drafts: most drafted tokens in a lane and pass; 0 for none. worth: least probability of being right at
    which a token is drafted; None to measure what pays. Both affect speed only.
    """

    def __init__(
        self,
        model: LanguageModel,
        params: CodingParams,
        *,
        drafts: int = speculation.LONGEST,
        worth: float | None = None,
    ) -> None:
        self.model = model
        self.params = params
        self.drafts = drafts if model.portable else 0
        self.worth = worth
        self._lanes = LANES if model.portable else cast(BoundModel, model).lanes

    @property
    def id(self) -> CodecId:
        return CodecId(self.model.fingerprint, self.params.to_bytes(), self.model.name)

    @property
    def lanes(self) -> int:
        return 4 * self._lanes

    def verify_source(self) -> None:
        self.model.verify_source()

    def _ensemble(self) -> Ensemble:
        params = self.params
        return registry.make(params.predictors, self.model.vocab_size, 1 << params.capacity)

    def encode(self, blocks: Sequence[bytes], progress: Progress | None = None) -> list[bytes]:
        if not self.model.portable:
            return self._encode_verified(blocks, progress)
        return self._encode(blocks, progress)

    def _encode_verified(self, blocks: Sequence[bytes], progress: Progress | None) -> list[bytes]:
        """Encode a batch of blocks, then decode it before the next batch.

        Decoding puts the blocks into other lanes: there the longest is first, here it is last. A difference
        is an error; a fallback codec for that block alone would be no remedy, since blocks that happened to
        pass could still differ the next time.
        """
        payloads = []
        tell = progress and _halved(progress)
        for at in range(0, len(blocks), self._lanes):
            some = blocks[at : at + self._lanes]
            order = sorted(range(len(some)), key=lambda i: len(some[i]))
            idle = [b""] * (self._lanes - len(some))
            coded = self._encode_group(
                [strip_crlf(block) for block in (*idle, *(some[i] for i in order))], tell
            )
            by_block = dict(zip(order, coded[len(idle) :], strict=True))
            made = [by_block[i] for i in range(len(some))]
            jobs = [(payload, len(block)) for payload, block in zip(made, some, strict=True)]
            try:
                same = self.decode(jobs, tell) == list(some)
            except CorruptError:
                same = False
            if not same:
                fewer = "NACRITH_LANES=1 or " if self._lanes > 1 else ""
                raise ModelError(
                    f"{self.model.name} does not give the same results twice with this backend, so that an"
                    f" archive could not be decoded; nothing was written. Use {fewer}--backend exact"
                )
            payloads += made
        return payloads

    def _encode(self, blocks: Sequence[bytes], progress: Progress | None) -> list[bytes]:
        payloads: list[bytes] = []
        waiting: list[tuple[bytes, bool]] = []
        for block in blocks:
            stripped = strip_crlf(block)
            waiting.append(stripped)
            # Short blocks share a batch, so that the model always gets enough rows at a time.
            if sum(len(data) for data, _ in waiting) >= 4 * _ENCODE_ROWS or len(waiting) == LANES:
                payloads += self._encode_group(waiting, progress)
                waiting = []
        return payloads + self._encode_group(waiting, progress)

    def _encode_group(self, blocks: list[tuple[bytes, bool]], progress: Progress | None) -> list[bytes]:
        if not blocks:
            return []
        self.model.prepare()
        tokens = [list(self.model.tokenizer.encode(data)) for data, _ in blocks]
        ports = [EncodePort(self._ensemble()) for _ in blocks]
        tallies = [
            Tally(len(restore_crlf(*block)), len(ids), progress)
            for block, ids in zip(blocks, tokens, strict=True)
        ]
        session = self.model.session(len(blocks), self.params.window)
        share = max(1, _ENCODE_ROWS // len(blocks))
        limit = self.model.max_length
        end = 0
        while end < max(map(len, tokens)):
            begin, end = end, min(end + share, end - end % limit + limit)
            starts = begin % limit == 0
            if starts:
                for i in range(len(blocks)):
                    session.rollback(i, 0)
            inputs = [_shifted(ids, self.model.bos_id if starts else None, begin, end) for ids in tokens]
            for i, rows in enumerate(session.extend(inputs)):
                ports[i].steps(rows, tokens[i][begin:end])
                tallies[i].advance(len(rows))
        return [
            put_varint(2 * len(ids) + crlf) + port.finish()
            for ids, port, (_, crlf) in zip(tokens, ports, blocks, strict=True)
        ]

    def decode(self, blocks: Sequence[tuple[bytes, int]], progress: Progress | None = None) -> list[bytes]:
        jobs = self.decode_jobs(blocks, progress)
        lanes = self.decode_lanes(min(LANES, len(jobs)))
        lanes.add(jobs)
        while lanes.step():
            pass
        return [job.content() for job in jobs]

    def decode_jobs(
        self, blocks: Sequence[tuple[bytes, int]], progress: Progress | None = None
    ) -> list[DecodeJob]:
        """The blocks as jobs for the lanes of this codec."""
        return [DecodeJob(payload, size, self.model, progress) for payload, size in blocks]

    def decode_lanes(self, count: int) -> Lanes:
        """A session's worth of lanes: `count`, or the fixed batch size of a floating-point model."""
        self.model.prepare()
        count = max(1, count) if self.model.portable else self._lanes
        drafter = partial(speculation.LookupDrafter, self.model.vocab_size, speculation.Odds())
        return Lanes(
            self.model,
            self.params.window,
            count,
            self._ensemble,
            drafter,
            drafts=self.drafts,
            worth=self.worth,
        )


def binding_of(model: LanguageModel) -> Mapping[str, str]:
    """The binding that an archive of this model records; empty for a portable model."""
    return {} if model.portable else cast(BoundModel, model).binding


def _halved(progress: Progress) -> Progress:
    """Progress for content that is processed twice."""
    done = 0

    def tell(size: int) -> None:
        nonlocal done
        before, done = done, done + size
        progress(done // 2 - before // 2)

    return tell


def _shifted(ids: list[int], bos: int | None, begin: int, end: int) -> list[int]:
    """The inputs whose rows predict ids[begin:end]: for each token the one before it, or first `bos` if
    given."""
    if begin >= len(ids):
        return []
    first = ids[begin - 1] if bos is None else bos
    return [first, *ids[begin : min(end, len(ids)) - 1]]
