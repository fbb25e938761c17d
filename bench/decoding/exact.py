"""Whether drafters change a token: random prompts, greedy and seeded, against plain decoding.

    python -m bench.decoding.exact [--model M] [--prompts N] [--tokens N] [--lanes N] [--threads T]
                                   [--drafters NAMES...] [--samplings greedy seeded] [--sizes N...]
                                   [--out FOLDER]

A prompt is a random piece of a random walk through the vocabulary, half of which repeats what came before.
Plain decoding takes one token a pass, one prompt at a time; drafters work on `--lanes` prompts at once, with
trees of `--sizes` tokens in every pass, where 0 stands for as many as pay. Ends with an error if a token
differs. Drafters named rsd: are tried greedily only: with a seed they give other answers, by design. --out
enters the figures into decoding-exact.json there, beside those of other runs, and writes decoding-exact.md.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from bench import common
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


def compare(model: Any, args: argparse.Namespace) -> list[dict[str, Any]]:
    """A row for each sampling, drafter and size. Ends the program where a token differs."""
    given, rows = prompts(args.prompts, model.vocab_size), []
    for kind in args.samplings:
        sampling = SAMPLINGS[kind]
        plain = [Answer(model, prompt, args.tokens, sampling) for prompt in given]
        run(lanes_of(model, 1, "none", None), plain)
        for way in args.drafters or WAYS:
            if way.startswith("rsd:") and sampling.temperature:
                continue
            for size in args.sizes:
                made = [Answer(model, prompt, args.tokens, sampling) for prompt in given]
                run(lanes_of(model, args.lanes, way, size or None), made)
                rows.append(
                    {
                        "model": model.name,
                        "sampling": kind,
                        "drafter": way,
                        "drafts a pass": str(size or "as pays"),
                        "prompts": len(given),
                        "tokens": sum(len(a.tokens) for a in made),
                        "drafted": sum(a.statistics.drafted for a in made),
                        "accepted": sum(a.statistics.accepted for a in made),
                        "differ": sum(a.tokens != b.tokens for a, b in zip(made, plain, strict=True)),
                    }
                )
                print(", ".join(f"{name} {value}" for name, value in rows[-1].items()), flush=True)
                if rows[-1]["differ"]:
                    sys.exit("drafters changed tokens")
    return rows


def enter(rows: list[dict[str, Any]], folder: Path) -> None:
    """Put the rows into the file, in place of those of the same model, sampling, drafter and size."""
    path = folder / "decoding-exact.json"
    old = json.loads(path.read_text()) if path.exists() else []
    names = ("model", "sampling", "drafter", "drafts a pass")
    all_ = {tuple(row[name] for name in names): row for row in [*old, *rows]}
    rows = [all_[key] for key in sorted(all_)]
    common.write_json(path, rows)
    table = common.markdown_table(list(rows[0]), [[str(value) for value in row.values()] for row in rows])
    about = "Answers with drafters against plain decoding, by `python -m bench.decoding.exact`.\n\n"
    (folder / "decoding-exact.md").write_text(about + table + "\n")


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
    parser.add_argument("--samplings", nargs="*", default=list(SAMPLINGS), choices=list(SAMPLINGS))
    parser.add_argument("--sizes", nargs="*", type=int, default=[9, 0], help="of the trees; 0: as pays")
    parser.add_argument("--out", type=Path, help="folder for the figures")
    args = parser.parse_args()
    rows = compare(load_model(args.model, threads=args.threads), args)
    if args.out:
        enter(rows, args.out)


if __name__ == "__main__":
    main()
