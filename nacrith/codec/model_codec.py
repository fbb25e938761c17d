"""Blocks to payloads and back with a language model: implements archive.blockcodec.BlockCodec.

Encoding knows all tokens, so the model runs over them in large batches, block after block. Decoding
learns a token only from the row before it, so blocks are decoded side by side (`lanes`). The rows are the
same integers either way: that is the contract of exact engines, and what makes the archive decodable.

Of a model in floats the same holds only on one machine, and at the price that its sessions take one token of
each lane at a time, in batches of a fixed number of lanes (`models.floats.session`): then nothing is gained
by guesses, and there are none. Since nobody promises that such a machine repeats itself, or that a row does
not depend on what else is in its batch, encoding ends with decoding what it made, in other lanes.

A lane that holds all it can is emptied and begins again with the start token.

A payload is a LEB128 varint, 2 * tokens + (1 if line ends were CR LF), then the range coder's bytes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

from nacrith import predictors
from nacrith.archive.blockcodec import CodecId, Progress
from nacrith.codec import speculation
from nacrith.codec.lanes import DecodeJob, Lanes, Tally
from nacrith.codec.params import CodingParams
from nacrith.codec.step import EncodePort
from nacrith.codec.text import restore_crlf, strip_crlf
from nacrith.errors import CorruptError, ModelError
from nacrith.models.floats.binding import BoundModel
from nacrith.models.protocol import LanguageModel
from nacrith.predictors.protocol import Ensemble
from nacrith.varint import put_varint

LANES = 16
"""Most blocks decoded side by side. A matter of speed and memory only."""

_ENCODE_ROWS = 256  # rows of logits held at a time when encoding: 50 MB for 49,152 symbols


class ModelCodec:
    """Codes blocks with one model and one set of parameters.

    drafts: most tokens that decoding guesses ahead in a lane, 0 for none. worth: the chance of being right
    from which a guess is made, None to measure what pays. Both are matters of speed only.
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
        return predictors.make(params.predictors, self.model.vocab_size, 1 << params.capacity)

    def encode(self, blocks: Sequence[bytes], progress: Progress | None = None) -> list[bytes]:
        if not self.model.portable:
            return self._encode_verified(blocks, progress)
        return self._encode(blocks, progress)

    def _encode_verified(self, blocks: Sequence[bytes], progress: Progress | None) -> list[bytes]:
        """As many blocks as there are lanes are decoded before the next ones are begun, in other lanes and
        other company: there the longest is the first, here the last. A difference is an error and not a
        matter for a fallback codec: what differs once would differ in blocks that happened to pass, too."""
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
                    f"{self.model.name} does not compute the same twice with this backend, so that nothing"
                    f" could be decoded; nothing was written. Use {fewer}--backend exact"
                )
            payloads += made
        return payloads

    def _encode(self, blocks: Sequence[bytes], progress: Progress | None) -> list[bytes]:
        payloads: list[bytes] = []
        waiting: list[tuple[bytes, bool]] = []
        for block in blocks:
            stripped = strip_crlf(block)
            waiting.append(stripped)
            # Short blocks share a batch, so that the model always sees enough rows at a time.
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
        """The blocks, for lanes of this codec."""
        return [DecodeJob(payload, size, self.model, progress) for payload, size in blocks]

    def decode_lanes(self, count: int) -> Lanes:
        """So many lanes; of a model in floats, those of its batches."""
        self.model.prepare()
        count = max(1, count) if self.model.portable else self._lanes
        window, worth = self.params.window, self.worth
        return Lanes(self.model, window, count, self._ensemble, drafts=self.drafts, worth=worth)


def binding_of(model: LanguageModel) -> Mapping[str, str]:
    """What an archive records of a model that is not portable; nothing of one that is."""
    return {} if model.portable else cast(BoundModel, model).binding


def _halved(progress: Progress) -> Progress:
    """For content that is gone through twice."""
    done = 0

    def tell(size: int) -> None:
        nonlocal done
        before, done = done, done + size
        progress(done // 2 - before // 2)

    return tell


def _shifted(ids: list[int], bos: int | None, begin: int, end: int) -> list[int]:
    """The inputs that predict ids[begin:end]: each the token before, the first `bos` if given."""
    if begin >= len(ids):
        return []
    first = ids[begin - 1] if bos is None else bos
    return [first, *ids[begin : min(end, len(ids)) - 1]]
