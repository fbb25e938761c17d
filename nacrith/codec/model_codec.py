"""Blocks to payloads and back with a language model: implements archive.blockcodec.BlockCodec.

Encoding knows all tokens, so the model runs over them in large batches, block after block. Decoding
learns a token only from the row before it, so blocks are decoded side by side, one token of each per
pass; a lane that finishes takes the next block. The rows are the same integers either way: that is the
contract of exact engines, and what makes the archive decodable.

A lane that holds all it can is emptied and begins again with the start token.

A payload is a LEB128 varint, 2 * tokens + (1 if line ends were CR LF), then the range coder's bytes.
"""

from __future__ import annotations

from collections.abc import Sequence

from nacrith import predictors
from nacrith.archive.blockcodec import CodecId, Progress
from nacrith.codec.params import CodingParams
from nacrith.codec.step import DecodePort, EncodePort
from nacrith.codec.text import restore_crlf, strip_crlf
from nacrith.codec.varint import put_varint, read_varint
from nacrith.errors import CorruptError
from nacrith.models.protocol import LanguageModel
from nacrith.predictors.protocol import Ensemble

LANES = 16
"""Most blocks decoded side by side. A matter of speed and memory only."""

_ENCODE_ROWS = 256  # rows of logits held at a time when encoding: 50 MB for 49,152 symbols
_MAX_TOKENS_PER_BYTE = 3  # an escaped byte


class ModelCodec:
    """Codes blocks with one model and one set of parameters."""

    def __init__(self, model: LanguageModel, params: CodingParams) -> None:
        self.model = model
        self.params = params

    @property
    def id(self) -> CodecId:
        return CodecId(self.model.fingerprint, self.params.to_bytes(), self.model.name)

    @property
    def lanes(self) -> int:
        return 4 * LANES

    def _ensemble(self) -> Ensemble:
        params = self.params
        return predictors.make(params.predictors, self.model.vocab_size, 1 << params.capacity)

    def encode(self, blocks: Sequence[bytes], progress: Progress | None = None) -> list[bytes]:
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
        jobs = [_DecodeJob(payload, size, self._ensemble(), progress) for payload, size in blocks]
        queue = sorted((job for job in jobs if job.left), key=lambda job: job.left)
        lanes: list[_DecodeJob | None] = [None] * min(LANES, len(queue))
        session = self.model.session(max(1, len(lanes)), self.params.window)
        while True:
            inputs: list[list[int]] = []
            for i, job in enumerate(lanes):
                if job is None or not job.left:
                    job = lanes[i] = queue.pop() if queue else None
                if job is None:
                    inputs.append([])
                elif len(job.tokens) % self.model.max_length == 0:
                    session.rollback(i, 0)
                    inputs.append([self.model.bos_id])
                else:
                    inputs.append(job.tokens[-1:])
            if not any(inputs):
                break
            for job, rows in zip(lanes, session.extend(inputs), strict=True):
                if job is not None:
                    job.tokens.append(job.port.step(rows[0]))
                    job.left -= 1
                    job.tally.advance(1)
        return [job.content(self.model) for job in jobs]


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

    def __init__(self, payload: bytes, size: int, ensemble: Ensemble, progress: Progress | None) -> None:
        self.size = size
        try:
            number, start = read_varint(payload)
        except ValueError:
            raise CorruptError("a block's token count is damaged") from None
        self.left, self.crlf = number >> 1, bool(number & 1)
        if self.left > _MAX_TOKENS_PER_BYTE * size:
            raise CorruptError(f"a block of {size} bytes claims {self.left} tokens: damaged")
        self.port = DecodePort(ensemble, payload[start:])
        self.tally = _Tally(size, self.left, progress)
        self.tokens: list[int] = []

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
