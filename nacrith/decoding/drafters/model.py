"""A smaller model guesses: its own continuation of the text (speculative decoding, Leviathan et al. 2023).

Unlike the other drafters, which look up, this one computes, so it says what a question costs (`price`), and
the planner asks it only as far as that pays: the length of a draft follows the confidence of the drafting
model, as in DEL (Entezari Zarch et al. 2025). With the vocabulary of the target, any place of a tree may be
asked about; with another one, the drafting model goes on in bytes, which the target's tokenizer cuts into
tokens.
"""

from __future__ import annotations

import math
import time
from bisect import bisect_left
from collections.abc import Sequence
from typing import Any

from nacrith.decoding.drafters.protocol import Follower, Guess, Row, heaviest
from nacrith.models.protocol import LanguageModel, Session

_EDGES = (0.1, 0.2, 0.35, 0.5, 0.65, 0.8, 0.9, 0.97)  # of a share; a kind is the number of edges below it
_GUESSES = 3  # of a place
_SEEN = 256  # tokens of a text's end that a new session is given
_ROWS = 64  # tokens of a call
_AHEAD = 24  # tokens of the drafting model, beyond the end of the text, without a token of the target
_MARGIN = 64  # tokens that are left free in a lane for drafts
_FEW = 4  # tokens of a row that are counted as its own
_FADE = 0.9


class DraftModel:
    """A `Drafter` that is a language model. target: the model that it drafts for; both may be the same."""

    wants_rows = False
    priors = (0.05, 0.12, 0.22, 0.35, 0.5, 0.65, 0.78, 0.87, 0.93)

    def __init__(self, model: LanguageModel, target: LanguageModel) -> None:
        self.model = model
        self.shared = same_vocabulary(model, target)
        self.price = math.inf  # seconds of a question; unknown before the first
        self._target = target

    def follow(self) -> Follower:
        return _Tokens(self) if self.shared else _Bytes(self, self._target)

    def observe(self, rows: Sequence[Row]) -> None:
        """Learns nothing from rows."""

    def paid(self, seconds: float) -> None:
        """Note what a question took."""
        known = self.price < math.inf
        self.price = _FADE * self.price + (1 - _FADE) * min(seconds, 3 * self.price) if known else seconds


def same_vocabulary(a: LanguageModel, b: LanguageModel) -> bool:
    """Whether each id means the same to both models."""
    if a is b or a.tokenizer is b.tokenizer:
        return True
    if (a.vocab_size, a.bos_id) != (b.vocab_size, b.bos_id):
        return False
    return all(a.tokenizer.decode([i]) == b.tokenizer.decode([i]) for i in range(a.vocab_size))


class Reader:
    """A session of one lane that is led to any text, and keeps what the new one shares with the last."""

    def __init__(self, model: LanguageModel) -> None:
        self.model = model
        self.most = model.max_length - _MARGIN
        self._session: Session | None = None
        self._held: list[int] = []
        self.seconds = 0.0  # of the last row; without the tokens before it, if many had to be entered first

    def row(self, tokens: Sequence[int]) -> Any:
        """The weights (1, V) of what follows these tokens, of which there are 1 to `max_length`."""
        if self._session is None:
            self._session = self.model.session(1)
        tokens = list(tokens)
        same = min(len(self._held), len(tokens) - 1)  # the last token is entered again for its row
        if self._held[:same] != tokens[:same]:
            same = next(i for i in range(same) if self._held[i] != tokens[i])
        if same < len(self._held):
            try:
                self._session.rollback(0, same)
            except ValueError:  # the window has moved on; nothing at all can always be kept
                self._session.rollback(0, same := 0)
        self._held = tokens
        if len(tokens) - same > _FEW:
            for begin in range(same, len(tokens) - 1, _ROWS):
                self._session.extend([tokens[begin : min(begin + _ROWS, len(tokens) - 1)]])
            same = len(tokens) - 1
        started = time.perf_counter()
        row = self._session.extend([tokens[same:]])[0][-1:]
        self.seconds = time.perf_counter() - started
        return row


def _kind(share: float) -> int:
    return bisect_left(_EDGES, share)


class _Tokens:
    """Same vocabulary. A state is the path of drafts beyond the text."""

    def __init__(self, drafter: DraftModel) -> None:
        self._drafter = drafter
        self._reader = Reader(drafter.model)
        self._text: list[int] = []
        self._begun = False

    def extend(self, tokens: Sequence[int]) -> None:
        self._text += tokens

    def start(self) -> tuple[int, ...] | None:
        if not self._begun or len(self._text) > self._reader.most:
            bos = self._drafter.model.bos_id
            self._text = [bos, *self._text[max(1, len(self._text) - _SEEN) :]]
        return ()

    def guesses(self, state: tuple[int, ...]) -> list[Guess]:
        (row,) = heaviest(self._reader.row([*self._text, *state]), [()])
        self._drafter.paid(self._reader.seconds)
        self._begun = True
        found = list(zip(row.ids, row.shares, strict=True))[:_GUESSES]
        return [Guess(token, _kind(share), (*state, token)) for token, share in found]


class _Bytes:
    """Another vocabulary. A state is a number of bytes beyond the text, along the one continuation that the
    drafting model finds likeliest, token by token.

    A token of the target is guessed when at least one more follows it in the tokenization of the
    continuation: what stands at its end may still become part of a longer one.
    """

    def __init__(self, drafter: DraftModel, target: LanguageModel) -> None:
        self._drafter, self._target = drafter, target
        self._reader = Reader(drafter.model)
        self._new: list[int] = []  # tokens of the target that are not in `_ids` yet
        self._ids: list[int] = []  # the text, by the drafting model's tokenizer, behind its start token
        self._ahead = b""  # the continuation, which consists of
        self._drafts: list[int] = []
        self._ends: list[int] = []  # in `_ahead`, and
        self._shares: list[float] = []
        self._over = False

    def extend(self, tokens: Sequence[int]) -> None:
        self._new += tokens

    def start(self) -> int:
        if self._new:
            self._enter(self._target.tokenizer.decode(self._new), len(self._new))
            self._new = []
        return 0

    def _enter(self, data: bytes, count: int) -> None:
        """Go on in the text; drafts that came true stay as they are."""
        tokenizer = self._drafter.model.tokenizer
        if self._ahead.startswith(data) and len(data) in self._ends:
            n = self._ends.index(len(data)) + 1
            self._ids += self._drafts[:n]
            self._drafts, self._shares = self._drafts[n:], self._shares[n:]
            self._ends = [end - len(data) for end in self._ends[n:]]
            self._ahead = self._ahead[len(data) :]
            return
        # A token at the border may have become part of a longer one.
        before = tokenizer.decode(self._ids[-8:])
        self._ids[-8:] = tokenizer.encode(before + data)
        self._drafts, self._ends, self._shares, self._ahead, self._over = [], [], [], b"", False
        if count > _SEEN or len(self._ids) > self._reader.most:
            del self._ids[:-_SEEN]

    def guesses(self, state: int) -> list[Guess]:
        seconds = 0.0
        while True:
            ids = self._target.tokenizer.encode(self._ahead[state:])
            if len(ids) > 1:
                break
            if self._over or len(self._drafts) >= _AHEAD:
                return []
            self._draft()
            seconds += self._reader.seconds
        size = len(self._target.tokenizer.decode(ids[:1]))
        self._drafter.paid(seconds)
        if not size:
            return []
        share, begin = 1.0, 0
        for end, own in zip(self._ends, self._shares, strict=True):
            if end > state and begin < state + size:
                share *= own
            begin = end
        return [Guess(ids[0], _kind(share), state + size)]

    def _draft(self) -> None:
        """One token more of the continuation."""
        model = self._drafter.model
        (row,) = heaviest(self._reader.row([model.bos_id, *self._ids, *self._drafts]), [()])
        data = model.tokenizer.decode(row.ids[:1])
        self._over = not data
        if data:
            self._ahead += data
            self._drafts.append(row.ids[0])
            self._shares.append(row.shares[0])
            self._ends.append(len(self._ahead))
