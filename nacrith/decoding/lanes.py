"""The loop: lanes of one session, each with a text that grows by one token, or several, a pass.

The newest token of a text is not in its lane yet: it is the root of the tree that a pass evaluates, and the
drafts hang below it. From the root on, the token of each place is chosen from its row as plain decoding would
choose it; if it is among the drafts below, the walk goes on there, otherwise it ends (rule R1: a draft is
accepted if and only if it is the token that would have been chosen). So drafts decide how many tokens a pass
yields, and nothing else.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np

from nacrith.decoding.banned import Banned
from nacrith.decoding.constraint import Constraint, pick
from nacrith.decoding.drafters.protocol import Follower, Row, heaviest
from nacrith.decoding.planner import Planner, Tree
from nacrith.decoding.sampling import Sampling
from nacrith.decoding.text import TextStream
from nacrith.models.protocol import LanguageModel, Logits

PREFILL = 64
"""Tokens of a call that enters a prompt. Each has a row of weights, of V x 4 bytes, so there is a limit."""

END, LENGTH, STOP, STUCK = "end", "length", "stop", "stuck"
"""Why an answer ended: the model began another text, max_tokens or the model's limit, a stop text, or no
token that the constraint allows."""


class Line:
    """One prompt and its answer so far.

    prompt: token ids, at least one. taken: all tokens in the order in which they came, those before a cut
    (`Banned`) included. passes: of the model, the prompt's aside; drafted: tokens that these
    verified; seconds: since the prompt was begun. finish: END, LENGTH, STOP, STUCK, or empty while it goes
    on.
    """

    def __init__(
        self,
        prompt: Sequence[int],
        most: int,
        sampling: Sampling,
        stream: TextStream,
        constraint: Constraint | None = None,
        banned: Sequence[str] = (),
    ) -> None:
        self.constraint = constraint
        self.banned = Banned(banned, stream)
        self.coupled = True  # whether the answer is that of plain decoding with the same seed
        self.checks = 0
        self.weights: list[float] = []  # of the picks under a constraint, at least one for each token
        self.prompt = list(prompt)
        self.tokens: list[int] = []
        self.taken: list[int] = []
        self._shown = 0  # tokens that were given to the stream
        self.sampling = sampling
        self.stream = stream
        self.most = most
        self.finish = "" if most > 0 else LENGTH
        self.passes = self.drafted = 0
        self.prefill_seconds = self.seconds = 0.0

    @property
    def newest(self) -> int:
        return (self.tokens or self.prompt)[-1]

    def choose(self, row: Logits, ahead: Sequence[int], model: LanguageModel) -> int | None:
        """The token that follows the answer and these tokens; None if the constraint allows none. A row
        (V,)."""
        place = len(self.tokens) + len(ahead)
        rule, out = self.constraint, self.banned.excluded.get(place, set())
        sampling = self.sampling.renewed(self.banned.undone)
        if len(out) == len(row):
            return None
        if out:
            row = row.copy()
            row[list(out)] = np.iinfo(row.dtype).min
        if rule is None:
            return sampling.choose(row, place)
        before = [*self.tokens, *ahead]
        text = model.tokenizer.decode(before)

        def allowed(token: int) -> bool:
            if token in out:
                return False
            if token == model.bos_id:
                return rule.complete(text)
            longer = model.tokenizer.decode([*before, token])
            return len(longer) > len(text) and rule.allows(longer)

        found = pick(sampling, row, place, allowed)
        self.checks += found.checks
        self.weights.append(found.weight)
        return found.token

    def take(self, token: int, model: LanguageModel) -> str:
        """Append a token, or cut the answer where a banned phrase began; returns a piece of the text."""
        self.tokens.append(token)
        self.taken.append(token)
        begun = self.banned.begun(self.tokens, self._shown)
        if begun is not None:
            self.banned.undo(self.tokens, begun)
            del self.weights[begun:]
            return ""
        piece = self._show(self.banned.certain(self.tokens, self._shown))
        if token == model.bos_id:
            self.finish = END
        elif self.stream.stopped:
            self.finish = STOP
        elif len(self.tokens) >= self.most or len(self.prompt) + len(self.tokens) >= model.max_length:
            self.finish = LENGTH
        return piece + self.end() if self.finish else piece

    def end(self) -> str:
        """The last piece of the text."""
        return self._show(len(self.tokens)) + self.stream.finish()

    def _show(self, count: int) -> str:
        """The text of the tokens up to the first `count` that was not shown."""
        piece = ""
        while self._shown < count and not self.stream.stopped:
            piece += self.stream.push(self.tokens[self._shown])
            self._shown += 1
        return piece


class _Lane:
    """A place of the session: the tokens that it holds, and the line that it works on.

    unseen: tokens of the line that its followers have not been told yet."""

    def __init__(self) -> None:
        self.held: list[int] = []
        self.line: Line | None = None
        self.followers: list[Follower] = []
        self.unseen: list[int] = []

    def inform(self) -> None:
        for follower in self.followers if self.unseen else ():
            follower.extend(self.unseen)
        self.unseen = []


class Lanes:
    """Lanes of a new session of `model`. `step` makes one pass for all lines that were begun and not
    finished."""

    def __init__(self, model: LanguageModel, lanes: int, planner: Planner, window: int | None = None) -> None:
        self.model = model
        self.planner = planner
        self._session = model.session(lanes, window)
        self._lanes = [_Lane() for _ in range(lanes)]
        self._learns = any(drafter.wants_rows for drafter in planner.drafters)

    def free(self) -> list[int]:
        """The lanes without a line in work."""
        return [i for i, lane in enumerate(self._lanes) if lane.line is None]

    def begin(self, place: int, line: Line) -> None:
        """Start a line in a free lane. What its prompt shares with the lane's last text is not computed
        again."""
        started = time.perf_counter()
        lane = self._lanes[place]
        self._enter(place, line.prompt)
        if not line.finish:
            lane.line = line
        line.prefill_seconds = time.perf_counter() - started
        line.seconds = line.prefill_seconds

    def _enter(self, place: int, text: Sequence[int]) -> None:
        """Make a lane hold all of a text but its newest token, and its drafters know the text."""
        lane, wanted = self._lanes[place], list(text[:-1])
        self._go_back(place, common(lane.held, wanted))
        while (done := len(lane.held)) < len(wanted):
            part = wanted[done : done + PREFILL]
            rows = self._session.extend(self._only(place, part))[place]
            lane.held += part
            if self._learns:
                self._teach(heaviest(rows, [_before(lane.held, done + i) for i in range(len(part))]))
        lane.followers = [drafter.follow() for drafter in self.planner.drafters]
        lane.unseen = list(text)
        lane.inform()  # here, where it is no part of what a pass takes

    def step(self) -> list[tuple[Line, str]]:
        """One pass: the lines that went on, and the pieces of text that they went on by."""
        started = time.perf_counter()
        active = [(place, lane, lane.line) for place, lane in enumerate(self._lanes) if lane.line is not None]
        resting = self.planner.resting
        if not resting:
            for _, lane, _ in active:
                lane.inform()
        limits = [self._room(lane, line) for _, lane, line in active]
        trees = self._plan([place for place, _, _ in active], [line for _, _, line in active], limits)
        begun = time.perf_counter()
        rows = self._evaluate([place for place, _, _ in active], trees)
        chosen, stuck = [], []
        for (place, lane, line), tree, own in zip(active, trees, rows, strict=True):
            path, tokens = self._walk(line, tree, own)
            if tree.size:
                self._session.keep(place, [0, *(node + 1 for node in path)])
            lane.held += [line.newest, *(tree.tokens[node] for node in path)]
            lane.unseen += tokens
            chosen.append(tokens)
            stuck.append(len(tokens) == len(path))
        ended = time.perf_counter()
        for (_, _, line), tree, own, tokens in zip(active, trees, rows, chosen, strict=True):
            if self._learns and not resting:
                self._teach(self._seen(line, tree, own))
            self.planner.settle(tree, tokens)
        out = []
        for (place, _, line), tree, tokens, ends in zip(active, trees, chosen, stuck, strict=True):
            line.passes += 1
            line.drafted += tree.size
            out.append((line, self._take(place, line, tokens, ends)))
        seconds = time.perf_counter() - started
        for line, _ in out:
            line.seconds += seconds
        extra = 0.0 if resting else seconds - (ended - begun)
        self.planner.observe(sum(tree.size for tree in trees), ended - begun, extra)
        return out

    def _plan(self, places: Sequence[int], lines: Sequence[Line], limits: Sequence[int]) -> list[Tree]:
        """A tree for each line in work."""
        return self.planner.plan([self._lanes[place].followers for place in places], limits)

    def _take(self, place: int, line: Line, tokens: Sequence[int], stuck: bool) -> str:
        piece, undone = "", line.banned.undone
        for token in tokens:
            piece += line.take(token, self.model)
            if line.banned.undone > undone:
                self._enter(place, [*line.prompt, *line.tokens])
                return piece
            if line.finish:
                break
        if stuck and not line.finish:
            line.finish = STUCK
            piece += line.end()
        if line.finish:
            self._lanes[place].line = None
        return piece

    def _room(self, lane: _Lane, line: Line) -> int:
        """The most tokens that may be drafted: what would be of use, and what the lane has room for."""
        left = self.model.max_length - len(lane.held) - 1
        return max(0, min(line.most - len(line.tokens) - 1, left))

    def _evaluate(self, places: Sequence[int], trees: Sequence[Tree]) -> list[Logits]:
        """The rows of each line in work: of its newest token, then of the drafts that are verified."""
        tokens: list[list[int]] = [[] for _ in self._lanes]
        parents: list[list[int]] = [[] for _ in self._lanes]
        for place, tree in zip(places, trees, strict=True):
            line = self._lanes[place].line
            assert line is not None
            tokens[place] = [line.newest, *tree.tokens[: tree.size]]
            parents[place] = [-1, *(parent + 1 for parent in tree.parents[: tree.size])]
        if any(tree.size for tree in trees):
            rows = self._session.extend_tree(tokens, parents)
            for place, tree in zip(places, trees, strict=True):
                if not tree.size:
                    self._session.keep(place, [0])
        else:
            rows = self._session.extend(tokens)
        return [rows[place] for place in places]

    def _walk(self, line: Line, tree: Tree, rows: Logits) -> tuple[list[int], list[int]]:
        """The accepted nodes, and the tokens that were chosen: one more, unless the constraint allows
        none."""
        path: list[int] = []
        tokens: list[int] = []
        node = -1
        while True:
            token = line.choose(rows[node + 1], tokens, self.model)
            if token is None:
                return path, tokens
            tokens.append(token)
            child = tree.child(node, token, tree.size) if token != self.model.bos_id else None
            if child is None:
                return path, tokens
            path.append(child)
            node = child

    def _seen(self, line: Line, tree: Tree, rows: Logits) -> list[Row]:
        text = [*line.prompt[-2:], *line.tokens[-2:]]
        befores = [_before(text, len(text) - 1)]
        for node in range(tree.size):
            parent = tree.parents[node]
            above = text[-1] if parent < 0 else tree.tokens[parent]
            befores.append((above, tree.tokens[node]))
        return heaviest(rows, befores)

    def _teach(self, rows: list[Row]) -> None:
        for drafter in self.planner.drafters:
            if drafter.wants_rows:
                drafter.observe(rows)

    def _go_back(self, place: int, length: int) -> None:
        lane = self._lanes[place]
        if length == len(lane.held):
            return
        try:
            self._session.rollback(place, length)
        except ValueError:  # the window has moved on; nothing at all can always be kept
            length = 0
            self._session.rollback(place, 0)
        del lane.held[length:]

    def _only(self, place: int, tokens: Sequence[int]) -> list[Sequence[int]]:
        return [tokens if i == place else [] for i in range(len(self._lanes))]


def _before(text: Sequence[int], place: int) -> tuple[int, ...]:
    return tuple(text[max(0, place - 1) : place + 1])


def common(a: Sequence[int], b: Sequence[int]) -> int:
    """How many tokens two texts begin with in common."""
    for n, (x, y) in enumerate(zip(a, b, strict=False)):
        if x != y:
            return n
    return min(len(a), len(b))
