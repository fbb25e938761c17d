"""Sessions of models that compute in floats: every row alone, by a plan that no caller can change.

A float row depends on the shape of the batch that it is computed in. An encoder that takes its rows from
large batches, and a decoder that must take them one by one, would therefore code with two different models
(which is why archives of this kind elsewhere turn to noise in the middle). Here a row always is a step of
one token behind what its own lane holds, and a lane that is full begins again at a length that depends on
nothing but the `Plan`. So on one machine and build a row depends on the tokens of its lane alone, however
they came: the codec may call as it likes, and blocks stay independent.

A context may have several places, each for a lane, of which a step computes all rows in one batch, always
of the same shape: a place without a token gets one that is taken back. That a row then depends on neither its
place nor its company is a property of the backend that nobody promises; the codec checks it (`ModelCodec`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from nacrith.arith import F32
from nacrith.coder.cdf import MAX_SYMBOLS
from nacrith.errors import ModelError
from nacrith.lazy import lazy
from nacrith.models.exact.tree import I64, NONE, Tree, TreeSession
from nacrith.models.floats import binding
from nacrith.models.protocol import LOGIT_BITS, Logits, Tokenizer
from nacrith.models.tokenizer.byte_bpe import ByteTokenizer

MAX_LENGTH = 1 << 30
"""Tokens that a lane can hold: a bound for the codec's sake, memory ends before."""

ROLLBACK = 256
"""What is promised; any rollback works."""

LEAST_WINDOW = 16

_LOG2E = 1.4426950408889634
_LOWEST = -(1 << 30)


class Context(Protocol):
    """What a backend provides: places, each with a sequence of tokens and what the model knows of it."""

    def prime(self, place: int, tokens: Sequence[int]) -> None:
        """Forget what the place holds, then hold `tokens` (possibly none), taken in in batches of a fixed
        size."""
        ...

    def step(self, tokens: Sequence[int | None]) -> Sequence[F32]:
        """Append a token to each place, or none: the logits (V,) of what follows in each, valid until the
        next call and meaningless where there was no token."""
        ...

    def cut(self, place: int, length: int) -> None:
        """Forget all but the first `length` tokens of a place."""
        ...


@dataclass(frozen=True)
class Plan:
    """A place holds at most `capacity` tokens. When another one comes, it begins again with the lane's
    first token (the start token, which attention leans on) and its latest `keep` - 1."""

    capacity: int
    keep: int

    @classmethod
    def of(cls, window: int, max_context: int) -> Plan:
        """Rows see `window` tokens at least, where the model has room for twice as many. ValueError for a
        window outside LEAST_WINDOW .. max_context."""
        if not LEAST_WINDOW <= window <= max_context:
            raise ValueError(f"window {window} is not within {LEAST_WINDOW}..{max_context}")
        capacity = min(2 * window, max_context)
        return cls(capacity, capacity // 2)

    def begun(self, length: int) -> int:
        """The length at which the place of a lane of `length` tokens last began again; 0 if never."""
        if length <= self.capacity:
            return 0
        fresh = self.capacity - self.keep
        return self.capacity + (length - self.capacity - 1) // fresh * fresh

    def held(self, length: int) -> int:
        """Tokens in the place of a lane of `length` tokens."""
        begun = self.begun(length)
        return length - begun + self.keep if begun else length


def check_model(path: Path, vocab: int, max_context: int, bos_id: int, tokenizer: Tokenizer) -> None:
    """ModelError for what cannot be coded with."""
    if not bos_id < vocab <= MAX_SYMBOLS or tokenizer.vocab_size > vocab:
        raise ModelError(
            f"{path}: the tokenizer has {tokenizer.vocab_size} tokens and the model rows for {vocab}: they do"
            " not belong together, or the model has no token to spare for bytes without one"
        )
    if max_context < LEAST_WINDOW:
        raise ModelError(f"{path}: made for {max_context} tokens, and {LEAST_WINDOW} is the least")


def fixed_point(logits: F32) -> Logits:
    """Log2 weights of natural logits, relative to the largest: elementwise and correctly rounded, so that
    equal logits give equal integers everywhere."""
    top = np.float64(logits.max())
    if not np.isfinite(top):
        raise ModelError("the model computed something that is no number; use another backend or dtype")
    x = (logits.astype(np.float64) - top) * (_LOG2E * (1 << LOGIT_BITS))
    return np.maximum(np.rint(x), _LOWEST).astype(np.int32)


class SteppingModel:
    """What models in floats have in common: of LanguageModel all but name, fingerprint and bos_id, which a
    subclass sets as well as the attributes below."""

    portable = False
    rollback_limit = ROLLBACK
    max_length = MAX_LENGTH

    lanes = 1
    """Places of a context."""

    fingerprint: bytes
    max_context: int
    vocab_size: int
    path: Path | None = None
    """Of the weights, if they are in a file or directory."""
    _definition: bytes
    """Of the tokenizer."""

    @lazy
    def tokenizer(self) -> ByteTokenizer:
        return ByteTokenizer.from_definition(self._definition)

    def prepare(self) -> None:
        """All has been loaded."""

    def verify_source(self) -> None:
        if self.path is not None and binding.fingerprint(self.path) != self.fingerprint:
            raise ModelError(
                f"{self.path}: has been changed since the model was loaded; run the command again"
            )

    def session(self, lanes: int = 1, window: int | None = None) -> SteppingSession:
        """Fresh lanes; ValueError for a window that `Plan.of` does not take."""
        plan = Plan.of(self.max_context if window is None else window, self.max_context)
        return SteppingSession(lambda: self._context(plan), plan, lanes, self.vocab_size, self.lanes)

    def _context(self, plan: Plan) -> Context:
        raise NotImplementedError


class _Row:
    """The lanes that share a context, which is made when one of them is first used."""

    def __init__(self, start: Callable[[], Context], places: int) -> None:
        self._start, self._places = start, places

    @lazy
    def context(self) -> Context:
        return self._start()

    def step(self, tokens: Mapping[int, int]) -> Sequence[F32]:
        """tokens: by place. The logits of all places."""
        return self.context.step([tokens.get(place) for place in range(self._places)])


class _Lane:
    """The tokens of a lane and the place that follows them."""

    def __init__(self, row: _Row, place: int, plan: Plan) -> None:
        self.row, self.place, self._plan = row, place, plan
        self._ready = True  # the place holds what it should
        self.tokens: list[int] = []

    def make_room(self) -> None:
        """Bring the place to where the lane is, and see that a token can be appended."""
        if not self._ready:
            self._restore()
        if self._plan.held(len(self.tokens)) == self._plan.capacity:
            self.row.context.prime(self.place, self._kept(len(self.tokens)))

    def truncate(self, length: int) -> None:
        plan, before = self._plan, len(self.tokens)
        del self.tokens[length:]
        if length == before:
            return
        if not length or plan.begun(length) != plan.begun(before):
            self._ready = False
        elif self._ready:
            self.row.context.cut(self.place, plan.held(length))

    def _kept(self, begun: int) -> list[int]:
        """What the place begins with at this length of the lane."""
        return [self.tokens[0], *self.tokens[begun - self._plan.keep + 1 : begun]] if begun else []

    def _restore(self) -> None:
        """In the steps that led to where the lane is."""
        begun = self._plan.begun(len(self.tokens))
        self.row.context.prime(self.place, self._kept(begun))
        for token in self.tokens[begun:]:
            self.row.step({self.place: token})
        self._ready = True


class _Lanes:
    """The lanes as `TreeSession` wants to see them."""

    def __init__(self, lanes: list[_Lane]) -> None:
        self.lanes = lanes

    @property
    def lengths(self) -> list[int]:
        return [len(lane.tokens) for lane in self.lanes]

    def truncate(self, lane: int, length: int) -> None:
        held = len(self.lanes[lane].tokens)
        if not 0 <= length <= held:
            raise ValueError(f"lane {lane} holds {held} tokens, not {length}")
        self.lanes[lane].truncate(length)


class SteppingSession(TreeSession):
    """Lanes in the places of contexts; implements models.protocol.Session.

    start: makes a context of so many places.
    """

    def __init__(
        self, start: Callable[[], Context], plan: Plan, lanes: int, vocab: int, places: int = 1
    ) -> None:
        self._rows = [_Row(start, places) for _ in range(-(-lanes // places))]
        self._lanes = [_Lane(self._rows[i // places], i % places, plan) for i in range(lanes)]
        self._vocab = vocab
        self._planted: list[I64] = [np.empty(0, np.int64)] * lanes  # tokens of the waiting trees, in preorder
        self.cache = _Lanes(self._lanes)
        self.trees = [NONE] * lanes

    def extend(self, tokens: Sequence[Sequence[int]]) -> list[Logits]:
        if len(tokens) != len(self._lanes):
            raise ValueError(f"tokens for {len(tokens)} lanes, not {len(self._lanes)}")
        return self._extend([np.asarray(t, np.int64) for t in tokens], None)

    def _extend(self, ids: list[I64], trees: list[Tree] | None) -> list[Logits]:
        for tokens in ids:
            if len(tokens) and not 0 <= tokens.min() <= tokens.max() < self._vocab:
                raise ValueError(f"a token is not within 0..{self._vocab - 1}")
        out = [np.empty((len(tokens), self._vocab), np.int32) for tokens in ids]
        lengths = self.cache.lengths
        for n in range(max(map(len, ids), default=0)):
            active = {i: int(tokens[n]) for i, tokens in enumerate(ids) if n < len(tokens)}
            if trees is not None:
                for i in active:
                    self._lanes[i].truncate(lengths[i] + int(trees[i].depths[n]))
            for i, logits in self._step(active):
                out[i][n] = fixed_point(logits)
        for i, tokens in enumerate(ids):
            if len(tokens):
                self.trees[i] = NONE if trees is None else trees[i]
            if trees is not None:
                self._lanes[i].truncate(lengths[i])
                self._planted[i] = tokens
        return out

    def _step(self, tokens: Mapping[int, int]) -> Iterator[tuple[int, F32]]:
        """tokens: by lane, each to be appended to it. Lanes and logits."""
        for row in self._rows:
            mine = {i: token for i, token in tokens.items() if self._lanes[i].row is row}
            if not mine:
                continue
            for i in mine:
                self._lanes[i].make_room()
            logits = row.step({self._lanes[i].place: token for i, token in mine.items()})
            for i, token in mine.items():
                self._lanes[i].tokens.append(token)
                yield i, logits[self._lanes[i].place]

    def _append(self, lane: int, places: I64) -> None:
        for token in self._planted[lane][places].tolist():
            for _ in self._step({lane: token}):
                pass
