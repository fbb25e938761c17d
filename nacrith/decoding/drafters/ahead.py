"""A model that drafts while the target verifies, in a thread of its own, for machines with a core to spare.

PEARL (Liu et al. 2025) in the form that rule R1 allows. A pass takes the drafts that are there and waits for
none, so that the length of a draft is what was made during the pass before. While it verifies them, drafting
goes on behind them (post-verify), and if they come true, the next drafts are there already. Behind a token
that came otherwise there are none yet: the pass then verifies the newest token alone while the first draft
for its place is made, and that draft is only compared with what came (pre-verify). When a draft is ready
depends on the machine, and the tokens of an answer do not.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Sequence
from typing import Any, NamedTuple

from nacrith.decoding.drafters.model import DraftModel
from nacrith.decoding.drafters.protocol import Follower, Guess, Row

_AHEAD = 12  # drafts that wait, at most
_BEHIND = 3  # tokens by which drafting may lag; then it enters the text anew, many tokens a call


class Place(NamedTuple):
    """A state: a place in the drafts that there were when the pass was planned."""

    line: tuple[Guess, ...]
    at: int


class Ahead:
    """A `Drafter` whose answers cost no time: they were made by another thread, or there are none."""

    wants_rows = False
    price = 0.0

    def __init__(self, model: DraftModel) -> None:
        self._model = model
        self.priors = model.priors

    def follow(self) -> Follower:
        return _Follower(self._model.follow())

    def observe(self, rows: Sequence[Row]) -> None:
        """Learns nothing from rows."""


class _Follower:
    def __init__(self, inner: Follower) -> None:
        self._work = _Work(inner)
        thread = threading.Thread(target=self._work.run, name="nacrith-ahead", daemon=True)
        thread.start()
        weakref.finalize(self, _end, self._work, thread)

    def extend(self, tokens: Sequence[int]) -> None:
        self._work.extend(tokens)

    def start(self) -> Place | None:
        line = self._work.made()
        return Place(line, 0) if line else None

    def guesses(self, state: Place) -> list[Guess]:
        if state.at == len(state.line):
            return []
        token, kind, _ = state.line[state.at]
        return [Guess(token, kind, Place(state.line, state.at + 1))]


def _end(work: _Work, thread: threading.Thread) -> None:
    """No thread outlives its follower: it may be in native code, of a model that is about to be freed."""
    work.close()
    if thread is not threading.current_thread():
        thread.join()


class _Work:
    """What the two threads share. All but `_inner`, which belongs to the drafting thread, is read and written
    under the lock."""

    def __init__(self, inner: Follower) -> None:
        self._inner = inner
        self._changed = threading.Condition()
        self._line: list[Guess] = []  # drafts that follow the text
        self._owed: list[int] = []  # tokens of the text for whose places no draft is made yet
        self._new: list[int] = []  # tokens of the text that `_inner` does not have
        self._lost = True  # whether drafting must begin anew, from the end of the text
        self._closed = False
        self._error: BaseException | None = None

    def extend(self, tokens: Sequence[int]) -> None:
        """The text goes on: keep the drafts that came true."""
        with self._changed:
            self._new += tokens
            for token in tokens:
                if self._lost:
                    break
                if not self._line:
                    self._owed.append(token)
                elif self._line.pop(0).token != token:
                    self._lost = True
            self._lost |= len(self._owed) > _BEHIND
            if self._lost:
                self._line, self._owed = [], []
            self._changed.notify()

    def made(self) -> tuple[Guess, ...]:
        """The drafts so far. What went wrong in the thread is raised here."""
        with self._changed:
            if self._error is not None:
                raise self._error
            return tuple(self._line)

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify()

    def run(self) -> None:
        try:
            self._draft()
        except BaseException as error:
            with self._changed:
                self._error, self._line = error, []

    def _draft(self) -> None:
        state: Any = None
        while True:
            with self._changed:
                while not self._closed and not (self._new if self._lost else len(self._line) < _AHEAD):
                    self._changed.wait()
                if self._closed:
                    return
                new, anew = self._new, self._lost
                if anew:
                    self._new, self._lost = [], False
            if anew:
                self._inner.extend(new)
                state = self._inner.start()
            found = [] if state is None else self._inner.guesses(state)
            with self._changed:
                if self._lost:
                    continue
                if found and self._owed and found[0].token == self._owed[0]:
                    self._owed.pop(0)
                elif found and not self._owed:
                    self._line.append(found[0])
                else:  # nothing to say, or something else came: go on where the text goes on
                    self._lost, self._line, self._owed = True, [], []
                    continue
                state = found[0].state
