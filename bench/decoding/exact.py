"""Whether drafters change a token: random prompts, greedy and seeded, against plain decoding.

    python -m bench.decoding.exact [--model M] [--prompts N] [--tokens N] [--lanes N] [--threads T]
                                   [--drafters NAMES...]

A prompt is a random piece of a random walk through the vocabulary, half of which repeats what came before.
Plain decoding takes one token a pass, one prompt at a time; drafters work on `--lanes` prompts at once, with
trees of 9 tokens in every pass and with trees of the size that pays. Ends with an error if a token differs.
Drafters named rsd: are tried greedily only: with a seed they give other answers, by design.
"""

from __future__ import annotations

import argparse
import sys
from typing import Any

import numpy as np

from nacrith.decoding.drafters import NAMES, Recursive, drafters
from nacrith.decoding.generation import Answer
from nacrith.decoding.lanes import Lanes
from nacrith.decoding.planner import Planner
from nacrith.decoding.sampled import SampledLanes
from nacrith.decoding.sampling import Sampling
from nacrith.models import load_model

WAYS = [*NAMES, "auto", "+".join(NAMES), "skip:1+lookup"]
SAMPLINGS = {"greedy": Sampling(), "seeded": Sampling(0.8, 50, 0.95, 0.01, seed=5)}


def prompts(count: int, vocab: int) -> list[list[int]]:
    rng = np.random.default_rng(7)
    made = []
    for _ in range(count):
        ids = rng.integers(vocab // 20, vocab, int(rng.integers(1, 40))).tolist()
        for i in range(6, len(ids)):
            if rng.random() < 0.5:
                ids[i] = ids[i - int(rng.integers(1, 6))]
        made.append(ids)
    return made


def lanes_of(model: Any, count: int, way: str, fixed: int | None) -> Lanes:
    made = drafters(way, model)
    if isinstance(made, Recursive):
        return SampledLanes(model, count, made, fixed=(3, fixed // 3) if fixed else None)
    return Lanes(model, count, Planner(made, fixed))


def run(session: Lanes, answers: list[Answer]) -> None:
    lanes, queue = len(session.free()), list(answers)
    while queue or len(session.free()) < lanes:
        for place in session.free():
            if queue:
                session.begin(place, queue.pop(0).line)
        session.step()


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m bench.decoding.exact", description=__doc__.split("\n")[0]
    )
    parser.add_argument("--model", default="smollm2-135m")
    parser.add_argument("--prompts", type=int, default=50)
    parser.add_argument("--tokens", type=int, default=24)
    parser.add_argument("--lanes", type=int, default=8)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--drafters", nargs="*", help="in place of all that need no other model")
    args = parser.parse_args()
    model = load_model(args.model, threads=args.threads)
    given = prompts(args.prompts, model.vocab_size)
    for kind, sampling in SAMPLINGS.items():
        plain = [Answer(model, prompt, args.tokens, sampling) for prompt in given]
        run(lanes_of(model, 1, "none", None), plain)
        for way in args.drafters or WAYS:
            if way.startswith("rsd:") and sampling.temperature:
                continue
            for fixed in (9, None):
                made = [Answer(model, prompt, args.tokens, sampling) for prompt in given]
                run(lanes_of(model, args.lanes, way, fixed), made)
                wrong = sum(a.tokens != b.tokens for a, b in zip(made, plain, strict=True))
                drafted = sum(a.statistics.drafted for a in made)
                accepted = sum(a.statistics.accepted for a in made)
                print(
                    f"{kind} {way:24} {'9 drafted' if fixed else 'as pays':10} {len(given)} prompts,"
                    f" {wrong} differ; {drafted:,} drafted, {accepted:,} accepted",
                    flush=True,
                )
                if wrong:
                    sys.exit("drafters changed tokens")


if __name__ == "__main__":
    main()
