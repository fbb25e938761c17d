"""Tokens a pass, and time against plain decoding of the same engine in the same run, drafter by drafter.

    python -m bench.decoding.speed [--model M] [--tokens N] [--threads T] [--temperature X] [--rounds N]
                                   [--drafters NAMES...] [--kinds KIND...] [--fixed N...] [--out DIR]

Each prompt is answered by plain decoding and by every drafter in turns, so that what else runs on the machine
meets all alike; the least times of the rounds count, of the answer without the prompt: "ratio" is of wall
time, "CPU" of the processor time of all threads, which what else runs disturbs less. A drafter is kept from
prompt to prompt, as in use, and made anew for each round, since it would know the answers. Every answer is
compared with plain decoding's, token by token: the benchmark ends with an error if one differs, except at a
temperature with a drafter rsd:NAME, which gives other answers of the same distribution. --fixed adds the
drafter auto with trees of so many tokens, whatever they cost. --out enters the table of the pages into
decoding-speed.md there, and all figures into decoding-speed.json:

    python -m bench.decoding.speed --threads 1 --tokens 96 --rounds 1 --out bench/results
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

from bench import common
from bench.decoding.prompts import KINDS
from nacrith.decoding.drafters import Recursive, drafters
from nacrith.decoding.generation import Answer
from nacrith.decoding.lanes import Lanes
from nacrith.decoding.planner import Planner
from nacrith.decoding.sampled import SampledLanes
from nacrith.decoding.sampling import Sampling
from nacrith.models import load_model

ALL = "all kinds"


class Timed(NamedTuple):
    """An answer, and the least wall and processor times of it, in seconds, without the prompt."""

    answer: Answer
    wall: float
    cpu: float


def answer(model: Any, prompt: str, tokens: int, sampling: Sampling, planner: Planner | Recursive) -> Timed:
    made = Answer(model, prompt, tokens, sampling)
    lanes = SampledLanes(model, 1, planner) if isinstance(planner, Recursive) else Lanes(model, 1, planner)
    lanes.begin(0, made.line)
    cpu = time.process_time()
    while not made.finish:
        lanes.step()
    cpu = time.process_time() - cpu
    return Timed(made, made.statistics.seconds - made.statistics.prompt_seconds, cpu)


def measure(model: Any, args: argparse.Namespace) -> list[dict[str, Any]]:
    """A row for each kind and drafter, and for all kinds together."""
    best: dict[tuple[str, str, str], Timed] = {}
    for _ in range(args.rounds):
        planners = ways(model, args)
        for kind in args.kinds:
            for prompt in KINDS[kind]:
                _in_turns(model, args, kind, prompt, planners, best)
    every = {kind: [(kind, prompt) for prompt in KINDS[kind]] for kind in args.kinds}
    every[ALL] = [place for places in every.values() for place in places]
    return [
        _row(kind, name, [best[*place, name] for place in places], [best[*place, "none"] for place in places])
        for kind, places in every.items()
        for name in planners
    ]


def _row(kind: str, name: str, made: list[Timed], plain: list[Timed]) -> dict[str, Any]:
    tokens = sum(len(one.answer.tokens) for one in made)
    passes = sum(one.answer.statistics.passes for one in made)
    wall, cpu = sum(one.wall for one in made), sum(one.cpu for one in made)
    return {
        "kind": kind,
        "drafter": name,
        "tokens": tokens,
        "tokens_per_pass": tokens / passes,
        "drafted_per_pass": sum(one.answer.statistics.drafted for one in made) / passes,
        "ms_per_token": 1000 * wall / tokens,
        "ratio": sum(one.wall for one in plain) / wall,
        "cpu_ratio": sum(one.cpu for one in plain) / cpu,
    }


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
    best: dict[tuple[str, str, str], Timed],
) -> None:
    """Answer a prompt in all ways, and keep the answers with their least times. Ends the program if tokens
    differ."""
    for name, planner in planners.items():
        made = answer(model, prompt, args.tokens, Sampling(args.temperature, seed=1), planner)
        place = kind, prompt, name
        plain = best.get((kind, prompt, "none"), made).answer
        if made.answer.line.coupled and made.answer.tokens != plain.tokens:
            sys.exit(f"{name} gave other tokens than plain decoding: {kind}: {prompt[:60]!r}")
        old = best.get(place, made)
        best[place] = made._replace(wall=min(made.wall, old.wall), cpu=min(made.cpu, old.cpu))


def page(rows: list[dict[str, Any]], about: str) -> str:
    """The table of docs/pages/generating.md: a line for each kind and figure, a column for each drafter."""
    names = list(dict.fromkeys(row["drafter"] for row in rows if row["drafter"] != "none"))
    kinds = list(dict.fromkeys(row["kind"] for row in rows))
    found = {(row["kind"], row["drafter"]): row for row in rows}
    lines = []
    for kind in (ALL, *(k for k in kinds if k != ALL)):
        for figure, title in (("tokens_per_pass", "tokens a pass"), ("ratio", "speed"), ("cpu_ratio", "CPU")):
            lines.append([f"{kind}: {title}", *(f"{found[kind, name][figure]:.2f}" for name in names)])
    return f"{about}\n\n{common.markdown_table(['', *names], lines)}\n"


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
    parser.add_argument("--out", type=Path, help="folder for decoding-speed.json and .md")
    args = parser.parse_args()
    model = load_model(args.model, threads=args.threads)
    model.prepare()
    print(f"{common.machine()}\n{model.name}, {args.tokens} tokens, temperature {args.temperature:g}\n")
    rows = measure(model, args)
    names = ("tokens_per_pass", "drafted_per_pass", "ms_per_token", "ratio", "cpu_ratio")
    head = ["kind", "drafter", "tokens a pass", "drafted a pass", "ms a token", "ratio", "CPU"]
    table = [[row["kind"], row["drafter"], *(f"{row[name]:.2f}" for name in names)] for row in rows]
    print(common.markdown_table(head, table))
    if args.out:
        about = {"model": model.name, "tokens": args.tokens, "temperature": args.temperature}
        found = {"machine": common.machine(), **about, "rows": rows}
        common.write_json(args.out / "decoding-speed.json", found)
        text = ", ".join([model.name, f"temperature {args.temperature:g}", found["machine"]])
        common.write_atomic(args.out / "decoding-speed.md", page(rows, text))


if __name__ == "__main__":
    main()
