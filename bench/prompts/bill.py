"""What the proxy does to the bill of agent loops, with the provider's cache of prompts.

    python -m bench.prompts.bill [--loops N] [--turns N] [--rate R] [--seed N] [--controls N] [--data DIR]
                         [--tokenizer WHAT] [--out DIR]

Every request of every loop (`bench.prompts.loops`) goes through the proxy's planner, in order, and both
conversations are billed by `nacrith.prompt.pricing`: with prices like Anthropic's for its format, like
OpenAI's for theirs, and the smallest prompt that each caches. Prints a line for each loop, then the sums;
fails if a loop costs more than before. For the first `--controls` loops there is a control: each request
shortened for a question of its own, as compression does that does not know of caches. With --data, prose
comes from DIR/xquad.en.json.xz and not from a generator.
"""

from __future__ import annotations

import argparse
import json
import lzma
import statistics
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import common
from bench.prompts.loops import loop
from nacrith.prompt import pricing, turns
from nacrith.prompt.counters import counter
from nacrith.prompt.proxy.places import tool_texts
from nacrith.prompt.proxy.plan import ANTHROPIC, CACHE_MINIMUM, OPENAI, Planner
from nacrith.prompt.toolresults import DEFAULT_RATE, ToolResults

PRICES = {ANTHROPIC: pricing.Price(3, 15, 0.3, 3.75), OPENAI: pricing.Price(1.25, 10, 0.125, 1.25)}


@dataclass(frozen=True)
class Row:
    """A loop: its tokens at the end, the share of tool results in them, the bills, milliseconds of each
    request."""

    seed: int
    api: str
    tokens: int
    tool_share: float
    before: pricing.Bill
    after: pricing.Bill
    heedless: pricing.Bill | None
    milliseconds: list[float]


def paragraphs(folder: Path) -> list[str]:
    with lzma.open(folder / "xquad.en.json.xz", "rt", encoding="utf-8") as file:
        articles = json.load(file)["data"]
    return [p["context"] for article in articles for p in article["paragraphs"]]


def _pieces(request: Any) -> list[str]:
    return [json.dumps(piece, ensure_ascii=False) for piece in turns.cached_pieces(request)]


def measure(seed: int, size: int, results: ToolResults, pages: list[str], count: Any, control: bool) -> Row:
    """One loop through a planner of its own."""
    api = ANTHROPIC if seed % 2 else OPENAI
    planner = Planner(results, CACHE_MINIMUM[api])
    requests = loop(seed, size, pages)
    sent, heedless, milliseconds = [], [], []
    for request in requests:
        data = json.dumps(request, ensure_ascii=False).encode()
        begin = time.perf_counter()
        plan = planner.plan(data, api)
        milliseconds.append(1000 * (time.perf_counter() - begin))
        planner.keep(plan)
        sent.append(_pieces(json.loads(plan.body)))
        if control:
            heedless.append(_pieces(_heedless(request, results)))
    last = requests[-1]
    said = [json.dumps(m, ensure_ascii=False) for m in last["messages"] if turns.is_output(m)]
    before, after, other = (
        pricing.bill(made, said, count, PRICES[api], CACHE_MINIMUM[api])
        for made in ([_pieces(request) for request in requests], sent, heedless)
    )
    total = sum(map(count, _pieces(last)))
    share = sum(count(place.text) for place in tool_texts(last)) / total
    return Row(seed, api, total, share, before, after, other if control else None, milliseconds)


def _heedless(request: Any, results: ToolResults) -> Any:
    """The request with every tool result shortened for the newest one's first words."""
    made = json.loads(json.dumps(request))
    places = tool_texts(made)
    query = " ".join(places[-1].text.split()[:12]) if places else ""
    for place in places:
        found = results.shorten(place.text, query)
        node: Any = made
        for step in place.path[:-1]:
            node = node[step]
        node[place.path[-1]] = found.text if found else place.text
    return made


def table(rows: list[Row]) -> list[str]:
    """The lines of the report."""
    out = [
        "| loop | API | tokens | tool results | bill | compressed | change | without care for caches |",
        "|---:|---|---:|---:|---:|---:|---:|---:|",
    ]
    for r in rows:
        control = f"{pricing.change(r.before, r.heedless):+.1f} %" if r.heedless else "-"
        out.append(
            f"| {r.seed} | {r.api} | {r.tokens:,} | {100 * r.tool_share:.0f} % | {r.before.total:.4f} |"
            f" {r.after.total:.4f} | {pricing.change(r.before, r.after):+.1f} % | {control} |"
        )
    changes = [pricing.change(r.before, r.after) for r in rows]
    before, after = (sum(getattr(r, name).total for r in rows) for name in ("before", "after"))
    times = sorted(ms for r in rows for ms in r.milliseconds)
    return [
        *out,
        "",
        f"{len(rows)} loops: {100 * (after / before - 1):+.1f} % in all;"
        f" median {statistics.median(changes):+.1f} %, best {min(changes):+.1f} %,"
        f" worst {max(changes):+.1f} %; {sum(c > 0 for c in changes)} dearer.",
        f"Planner: median {statistics.median(times):.1f} ms a request, 95 % within"
        f" {times[int(0.95 * (len(times) - 1))]:.1f} ms, compression of new results included.",
    ]


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--loops", type=int, default=50)
    parser.add_argument("--turns", type=int, default=20)
    parser.add_argument("--rate", type=float, default=DEFAULT_RATE)
    parser.add_argument("--seed", type=int, default=0, help="of the first loop")
    parser.add_argument("--controls", type=int, default=4)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--tokenizer")
    parser.add_argument("--out", type=Path, default=common.RESULTS)
    chosen = parser.parse_args(arguments)
    count = counter(chosen.tokenizer) if chosen.tokenizer else pricing.estimate
    pages = paragraphs(chosen.data) if chosen.data else []
    rows = []
    for seed in range(chosen.seed, chosen.seed + chosen.loops):
        control = seed - chosen.seed < chosen.controls
        rows.append(measure(seed, chosen.turns, ToolResults(rate=chosen.rate), pages, count, control))
        print(f"loop {seed}: {pricing.change(rows[-1].before, rows[-1].after):+.1f} %", file=sys.stderr)
    lines = table(rows)
    settings = f"{chosen.turns} turns, rate {chosen.rate}, prose: {'SQuAD' if pages else 'generated'}"
    text = "\n".join([f"# The bill of agent loops\n\n{settings}\n", *lines, ""])
    print(text)
    chosen.out.mkdir(parents=True, exist_ok=True)
    (chosen.out / "bill.md").write_text(text, encoding="utf-8")
    return int(any(r.after.total > r.before.total for r in rows))


if __name__ == "__main__":
    sys.exit(main())
