"""`generate`: an answer to one prompt, as it comes; `generate_all`: the answers to many.

With an exact model the tokens depend on the model, the prompt and the `Sampling` alone, not on the drafter,
the engine, the machine or the other prompts of a batch.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from nacrith.decoding.answer import Generated
from nacrith.decoding.constraint import Constraint
from nacrith.decoding.drafters import Which, drafters
from nacrith.decoding.drafters.recursive import Recursive
from nacrith.decoding.lanes import STUCK, Lanes, Line
from nacrith.decoding.planner import Planner
from nacrith.decoding.sampled import SampledLanes
from nacrith.decoding.sampling import Sampling
from nacrith.decoding.text import TextStream
from nacrith.errors import DecodingError
from nacrith.models.protocol import LanguageModel

Prompt = str | bytes | Sequence[int]
"""Text, bytes, or token ids after the model's start token."""


@dataclass(frozen=True)
class Statistics:
    """What an answer took. passes: of the model, after the prompt's; drafted: tokens that were verified;
    accepted: of these, those in the answer; checks: of a constraint; undone: how often a banned phrase was
    taken back. Seconds are of wall time;
    `prompt_seconds` is part of `seconds`."""

    passes: int
    drafted: int
    accepted: int
    checks: int
    undone: int
    seconds: float
    prompt_seconds: float


class Answer(Generated):
    """An answer. Iterating over it generates it, and yields pieces of its text as they become certain.

    prompt: the token ids, the start token included. sampling, most and stop: as asked for. The fingerprint of
    the model and these determine the answer.
    """

    def __init__(
        self,
        model: LanguageModel,
        prompt: Prompt,
        most: int,
        sampling: Sampling,
        stop: Sequence[str] = (),
        constraint: Constraint | None = None,
        banned: Sequence[str] = (),
    ) -> None:
        if most < 0:
            raise DecodingError(f"max_tokens {most}: give a number of tokens")
        ids = prompt_ids(model, prompt)
        self.prompt = ids
        self.sampling = sampling
        self.most = most
        self.stop = tuple(stop)
        self.line = Line(ids, most, sampling, TextStream(model.tokenizer, stop), constraint, banned)
        self._pieces: Iterator[str] = iter(())

    @property
    def tokens_per_pass(self) -> float:
        """Tokens for each pass of the model: 1 without a drafter; 0 if there was no pass."""
        return len(self.line.tokens) / self.line.passes if self.line.passes else 0.0

    @property
    def weight(self) -> float:
        """With a constraint: an unbiased estimate of the probability that the model gave to what is allowed,
        place by place; 0 if it got stuck. Weighted by it, answers to one prompt are a sample of the allowed
        ones. Without a constraint 1."""
        if self.finish == STUCK:
            return 0.0
        return math.prod(self.line.weights[: len(self.line.tokens)])

    @property
    def statistics(self) -> Statistics:
        line = self.line
        accepted = len(line.taken) - line.passes
        return Statistics(
            line.passes,
            line.drafted,
            accepted,
            line.checks,
            line.banned.undone,
            line.seconds,
            line.prefill_seconds,
        )


def generate(
    model: LanguageModel,
    prompt: Prompt,
    *,
    max_tokens: int = 256,
    drafter: Which = "auto",
    seed: int = 0,
    temperature: float = 0.0,
    top_k: int = 0,
    top_p: float = 1.0,
    min_p: float = 0.0,
    stop: Sequence[str] = (),
    constraint: Constraint | None = None,
    banned: Sequence[str] = (),
) -> Answer:
    """An answer to `prompt`, generated while it is iterated over; `Answer.run` generates it at once.

    max_tokens: the most tokens. drafter: None, a name (see `drafters.drafters`) or drafters, which may be
    kept from answer to answer; it changes the speed only, except for "rsd:NAME" with a temperature: then the
    answers have the distribution of plain decoding, but a seed gives another one. seed, temperature, top_k,
    top_p, min_p: see `Sampling`. stop: texts that end the answer. constraint: a rule, such as `Json`, `Regex`
    or `Schema`. banned: phrases, in any case of letters, that the answer must not have. DecodingError for a
    value that is not allowed or a prompt that is too long.
    """
    sampling = Sampling(temperature, top_k, top_p, min_p, seed)
    answer = Answer(model, prompt, max_tokens, sampling, stop, constraint, banned)
    answer._pieces = stream(model, answer, drafter)
    return answer


def stream(model: LanguageModel, answer: Answer, drafter: Which) -> Iterator[str]:
    """Generate an answer that was prepared; yields pieces of its text as they become certain."""
    lanes = lanes_of(model, 1, drafter)
    lanes.begin(0, answer.line)
    while not answer.finish:
        for _, piece in lanes.step():
            if piece:
                yield piece


def generate_all(
    model: LanguageModel, answers: Sequence[Answer], *, drafter: Which = "auto", lanes: int = 8
) -> Iterator[int]:
    """Generate `answers` in `lanes` lanes at once; yields the index of each as it is finished.

    Prompts that begin alike follow each other in a lane, which computes what they have in common once.
    """
    if lanes < 1:
        raise DecodingError(f"lanes {lanes}: give at least 1")
    if not answers:
        return
    waiting = _parts(answers, lanes)
    session = lanes_of(model, len(waiting), drafter)
    index = {id(answer.line): i for i, answer in enumerate(answers)}
    while True:
        for place in session.free():
            while waiting[place]:
                answer = answers[waiting[place].pop(0)]
                session.begin(place, answer.line)
                if not answer.finish:
                    break
                yield index[id(answer.line)]
        if len(session.free()) == len(waiting):
            return
        for line, _ in session.step():
            if line.finish:
                yield index[id(line)]


def lanes_of(model: LanguageModel, count: int, which: Which) -> Lanes:
    """Lanes with what `drafters` makes, and with the rule of verification that it needs."""
    made = drafters(which, model)
    if isinstance(made, Recursive):
        return SampledLanes(model, count, made)
    return Lanes(model, count, Planner(made))


def _parts(answers: Sequence[Answer], lanes: int) -> list[list[int]]:
    """The indices of the answers, sorted by their prompts and cut into runs of equal length, one for each
    lane."""
    order = sorted(range(len(answers)), key=lambda i: answers[i].prompt)
    count = min(lanes, len(order))
    return [order[len(order) * i // count : len(order) * (i + 1) // count] for i in range(count)]


def prompt_ids(model: LanguageModel, prompt: Prompt) -> list[int]:
    """The token ids of a prompt, with the start token. DecodingError if they do not fit the model."""
    if isinstance(prompt, str):
        prompt = prompt.encode("utf-8", "surrogateescape")
    ids = [int(i) for i in (model.tokenizer.encode(prompt) if isinstance(prompt, bytes) else prompt)]
    if not all(0 <= i < model.vocab_size for i in ids):
        raise DecodingError(f"the prompt has a token that is not within 0..{model.vocab_size - 1}")
    if len(ids) + 2 > model.max_length:
        raise DecodingError(
            f"the prompt has {len(ids)} tokens, and {model.name} takes {model.max_length - 2}: shorten it"
        )
    return [model.bos_id, *ids]
