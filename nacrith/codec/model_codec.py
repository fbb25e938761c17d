"""Blocks to payloads and back with a language model: implements archive.blockcodec.BlockCodec.

Encoding knows all tokens, so the model runs over them in large batches, block after block. Decoding
learns a token only from the row before it, so blocks are decoded side by side, one token of each per
pass, and more where guesses at what follows come true (`speculation`); a lane that finishes takes the
next block. The rows are the same integers either way: that is the contract of exact engines, and what
makes the archive decodable.

Of a model in floats the same holds only on one machine, and at the price that its sessions compute every row
alone (`models.stepping`): then nothing is gained by lanes or guesses, and there are none. Since nobody
promises that such a machine repeats itself, encoding ends with decoding what it made.

A lane that holds all it can is emptied and begins again with the start token.

A payload is a LEB128 varint, 2 * tokens + (1 if line ends were CR LF), then the range coder's bytes.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import cast

from nacrith import predictors
from nacrith.archive.blockcodec import CodecId, Progress
from nacrith.codec import speculation
from nacrith.codec.params import CodingParams
from nacrith.codec.speculation import Drafter, Odds, Pace
from nacrith.codec.step import DecodePort, EncodePort
from nacrith.codec.text import restore_crlf, strip_crlf
from nacrith.codec.varint import put_varint, read_varint
from nacrith.errors import CorruptError, ModelError
from nacrith.models.floats import BoundModel
from nacrith.models.protocol import LanguageModel, Logits
from nacrith.predictors.protocol import Ensemble

LANES = 16
"""Most blocks decoded side by side. A matter of speed and memory only."""

_ENCODE_ROWS = 256  # rows of logits held at a time when encoding: 50 MB for 49,152 symbols
_MAX_TOKENS_PER_BYTE = 3  # an escaped byte


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
        self._side_by_side = LANES if model.portable else 1

    @property
    def id(self) -> CodecId:
        return CodecId(self.model.fingerprint, self.params.to_bytes(), self.model.name)

    @property
    def lanes(self) -> int:
        return 4 * self._side_by_side

    def _ensemble(self) -> Ensemble:
        params = self.params
        return predictors.make(params.predictors, self.model.vocab_size, 1 << params.capacity)

    def encode(self, blocks: Sequence[bytes], progress: Progress | None = None) -> list[bytes]:
        if not self.model.portable:
            return self._encode_verified(blocks, progress)
        return self._encode(blocks, progress)

    def _encode_verified(self, blocks: Sequence[bytes], progress: Progress | None) -> list[bytes]:
        """Each payload is decoded before the next block is begun. A difference is an error and not a matter
        for a fallback codec: what differs once would differ in the blocks that happened to pass, too."""
        payloads = []
        tell = progress and _halved(progress)
        for block in blocks:
            (payload,) = self._encode([block], tell)
            try:
                same = self.decode([(payload, len(block))], tell) == [block]
            except CorruptError:
                same = False
            if not same:
                raise ModelError(
                    f"{self.model.name} does not compute the same twice with this backend, so that nothing"
                    " could be decoded; nothing was written. Use --backend exact"
                )
            payloads.append(payload)
        return payloads

    def _encode(self, blocks: Sequence[bytes], progress: Progress | None) -> list[bytes]:
        payloads: list[bytes] = []
        waiting: list[tuple[bytes, bool]] = []
        for block in blocks:
            stripped = strip_crlf(block)
            waiting.append(stripped)
            # Short blocks share a batch, so that the model always sees enough rows at a time.
            if (
                sum(len(data) for data, _ in waiting) >= 4 * _ENCODE_ROWS
                or len(waiting) == self._side_by_side
            ):
                payloads += self._encode_group(waiting, progress)
                waiting = []
        return payloads + self._encode_group(waiting, progress)

    def _encode_group(self, blocks: list[tuple[bytes, bool]], progress: Progress | None) -> list[bytes]:
        if not blocks:
            return []
        tokens = [list(self.model.tokenizer.encode(data)) for data, _ in blocks]
        ports = [EncodePort(self._ensemble()) for _ in blocks]
        tallies = [
            _Tally(len(restore_crlf(*block)), len(ids), progress)
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
        jobs = [_DecodeJob(payload, size, progress) for payload, size in blocks]
        queue = sorted((job for job in jobs if job.left), key=lambda job: job.left)
        lanes: list[_DecodeJob | None] = [None] * min(self._side_by_side, len(queue))
        session = self.model.session(max(1, len(lanes)), self.params.window)
        odds, pace = Odds(), Pace()
        while True:
            for i, job in enumerate(lanes):
                if job is None or not job.left:
                    job = lanes[i] = queue.pop() if queue else None
                    if job is not None:
                        job.start(self._ensemble(), Drafter(self.model.vocab_size, odds))
                if job is not None and len(job.tokens) % self.model.max_length == 0:
                    session.rollback(i, 0)
            active = sum(job is not None for job in lanes)
            if not active:
                break
            worth = pace.worth(active) if self.worth is None else self.worth
            inputs = [[] if job is None else job.inputs(self.model, self.drafts, worth) for job in lanes]
            lengths = session.lengths
            begin = time.perf_counter()
            answers = session.extend(inputs)
            pace.observe(sum(map(len, inputs)), time.perf_counter() - begin)
            for i, (job, rows) in enumerate(zip(lanes, answers, strict=True)):
                if job is not None:
                    used = job.read(rows)
                    if used < len(rows):
                        session.rollback(i, lengths[i] + used)
        return [job.content(self.model) for job in jobs]


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


class _Tally:
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


class _DecodeJob:
    """A block being decoded."""

    def __init__(self, payload: bytes, size: int, progress: Progress | None) -> None:
        self.size = size
        try:
            number, start = read_varint(payload)
        except ValueError:
            raise CorruptError("a block's token count is damaged") from None
        self.left, self.crlf = number >> 1, bool(number & 1)
        if self.left > _MAX_TOKENS_PER_BYTE * size:
            raise CorruptError(f"a block of {size} bytes claims {self.left} tokens: damaged")
        self.payload = payload[start:]
        self.tally = _Tally(size, self.left, progress)
        self.tokens: list[int] = []

    def start(self, ensemble: Ensemble, drafter: Drafter) -> None:
        """Gives the block what it needs while it has a lane."""
        self._port = DecodePort(ensemble, self.payload)
        self._drafter = drafter

    def inputs(self, model: LanguageModel, drafts: int, worth: float) -> list[int]:
        """The token whose row is wanted next, and guesses at those that follow."""
        held = len(self.tokens) % model.max_length
        first = self.tokens[-1] if held else model.bos_id
        most = min(drafts, self.left - 1, model.max_length - held - 1, model.rollback_limit - 1)
        self._draft = self._drafter.draft(most, worth)
        return [first, *self._draft]

    def read(self, rows: Logits) -> int:
        """Decodes a token from the first row, and on as long as the guesses are right. The rows used."""
        came: list[int] = []
        for row, guess in zip(rows, [*self._draft, None], strict=True):
            came.append(self._port.step(row))
            if came[-1] != guess:
                break
        self._drafter.judge(came)
        for token in came:
            self._drafter.update(token)
        self.tokens += came
        self.left -= len(came)
        self.tally.advance(len(came))
        if not self.left:
            del self._port, self._drafter
        return len(came)

    def content(self, model: LanguageModel) -> bytes:
        text = restore_crlf(model.tokenizer.decode(self.tokens), self.crlf)
        if len(text) != self.size:
            raise CorruptError(f"a block decodes to {len(text)} bytes, not {self.size}: damaged")
        return text


def _shifted(ids: list[int], bos: int | None, begin: int, end: int) -> list[int]:
    """The inputs that predict ids[begin:end]: each the token before, the first `bos` if given."""
    if begin >= len(ids):
        return []
    first = ids[begin - 1] if bos is None else bos
    return [first, *ids[begin : min(end, len(ids)) - 1]]
