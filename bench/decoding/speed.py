"""Tokens a pass, and wall time against plain decoding of the same engine in the same run, drafter by drafter.

    python -m bench.decoding.speed [--model M] [--tokens N] [--threads T] [--temperature X] [--rounds N]
                                   [--drafters NAMES...] [--kinds KIND...] [--fixed N...] [--out DIR]

Each prompt is answered by plain decoding and by every drafter in turns, so that what else runs on the machine
meets all alike; the least time of the rounds counts, of the answer without the prompt. A drafter is kept from
prompt to prompt, as in use, and made anew for each round, since it would know the answers. Every answer is
compared with plain decoding's, token by token: the benchmark ends with an error if one differs, except at a
temperature with a drafter rsd:NAME, which gives other answers of the same distribution. --fixed adds the
drafter auto with trees of so many tokens, whatever they cost.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from bench import common
from bench.decoding.prompts import KINDS
from nacrith.decoding.drafters import Recursive, drafters
from nacrith.decoding.generation import Answer
from nacrith.decoding.lanes import Lanes
from nacrith.decoding.planner import Planner
from nacrith.decoding.sampled import SampledLanes
from nacrith.decoding.sampling import Sampling
from nacrith.models import load_model


def answer(model: Any, prompt: str, tokens: int, sampling: Sampling, planner: Planner | Recursive) -> Answer:
    made = Answer(model, prompt, tokens, sampling)
    lanes = SampledLanes(model, 1, planner) if isinstance(planner, Recursive) else Lanes(model, 1, planner)
    lanes.begin(0, made.line)
    while not made.finish:
        lanes.step()
    return made


def seconds(made: Answer) -> float:
    return made.statistics.seconds - made.statistics.prompt_seconds


def measure(model: Any, args: argparse.Namespace) -> list[dict[str, Any]]:
    """A row for each kind and drafter."""
    best: dict[tuple[str, str, str], Answer] = {}
    for _ in range(args.rounds):
        planners = ways(model, args)
        for kind in args.kinds:
            for prompt in KINDS[kind]:
                _in_turns(model, args, kind, prompt, planners, best)
    rows = []
    for kind in args.kinds:
        for name in planners:
            made = [best[kind, prompt, name] for prompt in KINDS[kind]]
            plain = sum(seconds(best[kind, prompt, "none"]) for prompt in KINDS[kind])
            tokens = sum(len(answer.tokens) for answer in made)
            passes = sum(answer.statistics.passes for answer in made)
            wall = sum(map(seconds, made))
            rows.append(
                {
                    "kind": kind,
                    "drafter": name,
                    "tokens": tokens,
                    "tokens_per_pass": tokens / passes,
                    "drafted_per_pass": sum(answer.statistics.drafted for answer in made) / passes,
                    "ms_per_token": 1000 * wall / tokens,
                    "ratio": plain / wall,
                }
            )
    return rows


def ways(model: Any, args: argparse.Namespace) -> dict[str, Planner | Recursive]:
    """Plain decoding and the drafters, as they are before they have seen anything."""
    made = {name: _way(model, name, None) for name in ("none", *args.drafters)}
    for size in args.fixed:
        made[f"auto, {size}"] = _way(model, "auto", size)
    return made


def _way(model: Any, name: str, fixed: int | None) -> Planner | Recursive:
    made = drafters(name, model)
    return made if isinstance(made, Recursive) else Planner(made, fixed)


def _in_turns(
    model: Any,
    args: argparse.Namespace,
    kind: str,
    prompt: str,
    planners: dict[str, Planner | Recursive],
    best: dict[tuple[str, str, str], Answer],
) -> None:
    """Answer a prompt in all ways, and keep the fastest answers. Ends the program if tokens differ."""
    for name, planner in planners.items():
        made = answer(model, prompt, args.tokens, Sampling(args.temperature, seed=1), planner)
        place = kind, prompt, name
        if made.line.coupled and made.tokens != best.get((kind, prompt, "none"), made).tokens:
            sys.exit(f"{name} gave other tokens than plain decoding: {kind}: {prompt[:60]!r}")
        if place not in best or seconds(made) < seconds(best[place]):
            best[place] = made


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m bench.decoding.speed", description=__doc__.split("\n")[0]
    )
    parser.add_argument("--model", default="smollm2-135m")
    parser.add_argument("--tokens", type=int, default=128, help="of each answer, at most")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--temperature", type=float, default=0.0)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--drafters", nargs="*", default=["recycling", "lookup", "ngram", "auto"])
    parser.add_argument("--kinds", nargs="*", default=list(KINDS), choices=list(KINDS))
    parser.add_argument("--fixed", type=int, nargs="*", default=[])
    parser.add_argument("--out", type=Path, help="folder for decoding.json")
    args = parser.parse_args()
    model = load_model(args.model, threads=args.threads)
    model.prepare()
    print(f"{common.machine()}\n{model.name}, {args.tokens} tokens, temperature {args.temperature:g}\n")
    rows = measure(model, args)
    head = ["kind", "drafter", "tokens a pass", "drafted a pass", "ms a token", "ratio"]
    print(
        common.markdown_table(
            head,
            [
                [
                    str(row["kind"]),
                    str(row["drafter"]),
                    f"{row['tokens_per_pass']:.2f}",
                    f"{row['drafted_per_pass']:.1f}",
                    f"{row['ms_per_token']:.1f}",
                    f"{row['ratio']:.2f}",
                ]
                for row in rows
            ],
        )
    )
    if args.out:
        about = {"model": model.name, "tokens": args.tokens, "temperature": args.temperature}
        common.write_json(args.out / "decoding.json", {"machine": common.machine(), **about, "rows": rows})


if __name__ == "__main__":
    main()
