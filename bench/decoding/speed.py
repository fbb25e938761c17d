"""Tokens a pass, and wall time against plain decoding of the same engine in the same run, drafter by drafter.

    python -m bench.decoding.speed [--model M] [--tokens N] [--threads T] [--temperature X] [--rounds N]
                                   [--drafters NAMES...] [--kinds KIND...] [--fixed N...] [--out DIR]

Each prompt is answered by plain decoding and by every drafter in turns, so that what else runs on the machine
meets all alike; the least time of the rounds counts, of the answer without the prompt. A drafter is kept from
prompt to prompt, as in use. Every answer is compared with plain decoding's, token by token: the benchmark
ends with an error if one differs. --fixed adds the drafter auto with trees of so many tokens, whatever they
cost.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from bench import common
from bench.decoding.prompts import KINDS
from nacrith.decoding.drafters import drafters
from nacrith.decoding.generation import Answer
from nacrith.decoding.lanes import Lanes
from nacrith.decoding.planner import Planner
from nacrith.decoding.sampling import Sampling
from nacrith.models import load_model


def answer(model: Any, prompt: str, tokens: int, sampling: Sampling, planner: Planner) -> Answer:
    made = Answer(model, prompt, tokens, sampling)
    lanes = Lanes(model, 1, planner)
    lanes.begin(0, made.line)
    while not made.finish:
        lanes.step()
    return made


def seconds(made: Answer) -> float:
    return made.statistics.seconds - made.statistics.prompt_seconds


def measure(model: Any, args: argparse.Namespace) -> list[dict[str, Any]]:
    """A row for each kind and drafter."""
    sampling = Sampling(args.temperature, seed=1)
    ways = {name: Planner(drafters(name, model.vocab_size)) for name in ("none", *args.drafters)}
    for size in args.fixed:
        ways[f"auto, {size}"] = Planner(drafters("auto", model.vocab_size), fixed=size)
    rows = []
    for kind in args.kinds:
        found: dict[str, list[tuple[int, int, int, float]]] = {name: [] for name in ways}
        for prompt in KINDS[kind]:
            best: dict[str, Answer] = {}
            for _ in range(args.rounds):
                for name, planner in ways.items():
                    made = answer(model, prompt, args.tokens, sampling, planner)
                    if made.tokens != best.get("none", made).tokens:
                        sys.exit(f"{name} gave other tokens than plain decoding: {kind}: {prompt[:60]!r}")
                    if name not in best or seconds(made) < seconds(best[name]):
                        best[name] = made
            for name, made in best.items():
                s = made.statistics
                found[name].append((len(made.tokens), s.passes, s.drafted, seconds(made)))
        for name, results in found.items():
            tokens, passes, drafted, wall = (sum(column) for column in zip(*results, strict=True))
            plain = sum(result[3] for result in found["none"])
            rows.append(
                {
                    "kind": kind,
                    "drafter": name,
                    "tokens": tokens,
                    "tokens_per_pass": tokens / passes,
                    "drafted_per_pass": drafted / passes,
                    "seconds": wall,
                    "ratio": plain / wall,
                }
            )
            print(
                f"{kind:14} {name:26} {tokens / passes:5.2f} tokens a pass, {drafted / passes:5.1f} drafted,"
                f" {1000 * wall / tokens:6.1f} ms a token, {plain / wall:5.2f} x",
                flush=True,
            )
    return rows


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
    head = ["kind", "drafter", "tokens a pass", "drafted a pass", "ratio"]
    print()
    print(
        common.markdown_table(
            head,
            [
                [
                    str(row["kind"]),
                    str(row["drafter"]),
                    f"{row['tokens_per_pass']:.2f}",
                    f"{row['drafted_per_pass']:.1f}",
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
