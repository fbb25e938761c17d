"""One block being decoded: from its payload to tokens to bytes. `lanes` schedules many of them."""

from __future__ import annotations

from nacrith.archive.blockcodec import Progress
from nacrith.codec.lanes import Drafter
from nacrith.codec.step import DecodePort
from nacrith.codec.text import restore_crlf
from nacrith.errors import CorruptError
from nacrith.models.protocol import LanguageModel, Logits
from nacrith.predictors.protocol import Ensemble
from nacrith.varint import read_varint

_MAX_TOKENS_PER_BYTE = 3  # of an escaped byte
_TOKEN_COUNT_BYTES = 5  # at most, of the varint at the start of a payload


class Tally:
    """Converts progress in tokens to bytes, in proportion, so that the sum is the block's size."""

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
    """A block being decoded; implements `lanes.Job`. left: tokens still to be decoded."""

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
        """Take a lane. Both arguments are released when the block is finished."""
        self._port = DecodePort(ensemble, self.payload)
        self._drafter = drafter

    def inputs(self, drafts: int, worth: float) -> list[int]:
        """The token whose row is needed next, followed by drafted tokens."""
        model = self._model
        held = len(self.tokens) % model.max_length
        first = self.tokens[-1] if held else model.bos_id
        most = min(drafts, self.left - 1, model.max_length - held - 1, model.rollback_limit - 1)
        self._draft = self._drafter.draft(most, worth)
        return [first, *self._draft]

    def read(self, rows: Logits) -> int:
        """Decode one token from the first row, and further ones while the draft is right; the rows used."""
        came: list[int] = []
        try:
            for row, drafted in zip(rows, [*self._draft, None], strict=True):
                came.append(self._port.step(row))
                if came[-1] != drafted:
                    break
        except CorruptError as error:  # ends this block, not the others in the batch
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
        """The decoded bytes, once nothing is left. CorruptError if the payload was damaged."""
        if self._error is not None:
            raise self._error
        text = restore_crlf(self._model.tokenizer.decode(self.tokens), self.crlf)
        if len(text) != self.size:
            raise CorruptError(f"a block decodes to {len(text)} bytes, not {self.size}: damaged")
        return text
