"""One block being decoded: from its payload to the tokens of its lanes to bytes. `pool` schedules many."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nacrith.archive.blockcodec import Progress
from nacrith.codec import payload as payloads
from nacrith.codec.group import GroupDecoder
from nacrith.codec.rows import joined
from nacrith.codec.text import restore_crlf
from nacrith.errors import CorruptError
from nacrith.models.protocol import LanguageModel, Logits

_SPELLED = 2  # most bytes that tokens spell, for each byte of the block: the two digits of an escaped byte


class Tally:
    """Converts progress in tokens to bytes, in proportion, so that the sum is the block's size."""

    def __init__(self, size: int, tokens: int, progress: Progress | None) -> None:
        self._size = size
        self._tokens = tokens
        self._progress = progress
        self._done = 0

    def update(self, tokens: int) -> None:
        """tokens: those done so far."""
        if self._progress and tokens > self._done:
            before = self._size * self._done // self._tokens
            self._done = tokens
            self._progress(self._size * self._done // self._tokens - before)


class DecodeJob:
    """A block being decoded. All its lanes are at the same step.

    active: the lanes that have a token at this step, in ascending order; none when the job is finished.
    lanes: their number at the beginning. steps: those that the job takes.
    """

    def __init__(
        self,
        payload: bytes,
        size: int,
        model: LanguageModel,
        progress: Progress | None,
        prefix: Sequence[int] = (),
    ) -> None:
        """prefix: tokens that the block was coded after."""
        self.lengths, self._crlf, self.coded = payloads.parse(payload, size)
        self.active = [lane for lane, length in enumerate(self.lengths) if length]
        self.lanes = len(self.active)
        self.steps = max(self.lengths, default=0)
        if prefix and self.active[:1] not in ([], [0]):
            raise CorruptError("a block has a prefix, and nothing in its first lane: damaged")
        self.prefix = prefix
        self._size = size
        self._model = model
        self._vocabulary = model.tokenizer.vocabulary(model.vocab_size)
        self._tokens: list[list[int]] = [[] for _ in self.lengths]
        self._step = self._decoded = 0
        self._spelled = 0
        self._tally = Tally(size, sum(self.lengths), progress)
        self._error: CorruptError | None = None

    def start(self, decoder: GroupDecoder) -> None:
        """Begin. The decoder is released when the block is finished."""
        self._decoder = decoder

    def learn(self, rows: Logits, tokens: Sequence[int]) -> None:
        """The next tokens of the prefix, with their rows."""
        n = len(tokens)
        self._decoder.learn(rows, np.zeros(n, np.int32), np.arange(n), np.array(tokens, np.int32))

    @property
    def begins(self) -> bool:
        """Whether the lanes are empty at this step: at first, and when they have reached the model's maximum
        length."""
        return (self._step + len(self.prefix)) % self._model.max_length == 0

    def inputs(self) -> list[int]:
        """Of each active lane the token whose row is needed."""
        if self.begins:
            return [self._model.bos_id] * len(self.active)
        if not self._step:
            return [self.prefix[-1]] * len(self.active)
        return [self._tokens[lane][-1] for lane in self.active]

    def read(self, rows: Sequence[Logits]) -> None:
        """Decode a token of each active lane. rows: (1, V) of each."""
        lanes = self.active
        try:
            whole, first = joined(rows)
            came = self._decoder.decode(whole, np.array(lanes, np.int32), np.array(first, np.int64))
            self._spelled += self._vocabulary.length(came)
            if self._spelled > _SPELLED * self._size:
                raise CorruptError(f"a block decodes to more than its {self._size} bytes: damaged")
        except CorruptError as error:  # ends this block, not the others in the batch
            self._error = error
            self.active = []
        else:
            for lane, token in zip(lanes, came, strict=True):
                self._tokens[lane].append(token)
            self._step += 1
            self.active = [lane for lane in lanes if self.lengths[lane] > self._step]
            self._decoded += len(came)
        if not self.active:
            del self._decoder

    def tell(self) -> None:
        """Report progress."""
        self._tally.update(self._decoded)

    def content(self) -> bytes:
        """The decoded bytes, once no lane is active. CorruptError if the payload was damaged."""
        if self._error is not None:
            raise self._error
        decode = self._model.tokenizer.decode
        text = restore_crlf(b"".join(decode(tokens) for tokens in self._tokens), self._crlf)
        if len(text) != self._size:
            raise CorruptError(f"a block decodes to {len(text)} bytes, not {self._size}: damaged")
        return text
