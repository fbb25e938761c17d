"""Whether what belongs together stays together: negations, limits, conditions, numbers with their units.

    python -m bench.prompts.contract [--sentences FILE] [--scorers NAME...] [--seeds N] [--out DIR]

FILE (tests/prompt/contract.jsonl) has a sentence on each line, with its language and the pieces that must
be kept whole or not at all; a sentence without pieces is ordinary text. Each sentence stands between two
ordinary ones on each side, so that there is something else to drop, and is compressed to nine rates with
each way to retain. A sentence holds if every piece is whole or gone at every rate; "random" tries to cut it
everywhere, with several seeds; "truncate" without rules is what is done without a tool. Rows of other
scorers in contract.json stay. "cut" is how many of the pieces would be cut without any rule: a test set of
which nothing is cut shows nothing.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from bench import common
from bench.prompts.prompt import Once
from nacrith.errors import BudgetError
from nacrith.prompt import Compressed, PromptCompressor
from nacrith.prompt.scorers import make

RATES = tuple(k / 10 for k in range(1, 10))
SENTENCES = common.ROOT / "tests" / "prompt" / "contract.jsonl"
SCORERS = ("random", "classifier", "truncate", "lexrank")
RETAIN = ("always", "with_sentence")


class Case(NamedTuple):
    """A text with sentences of the set, and the spans that must stay whole."""

    language: str
    text: str
    spans: list[tuple[int, int]]


def cases(file: Path, together: int = 1) -> list[Case]:
    """The sentences of the set, so many in a text, among ordinary ones of their language."""
    rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    out = []
    for language in dict.fromkeys(row["language"] for row in rows):
        space = "" if language in ("zh", "ja") else " "
        plain = [r["text"] for r in rows if r["language"] == language and not r["together"]]
        mine = [r for r in rows if r["language"] == language and r["together"]]
        for k in range(0, len(mine), together):
            text = space.join(plain[:2])
            spans = []
            for row in mine[k : k + together]:
                text += space
                found = [len(text) + row["text"].index(piece) for piece in row["together"]]
                spans += [(a, a + len(piece)) for a, piece in zip(found, row["together"], strict=True)]
                text += row["text"]
            out.append(Case(language, text + space + space.join(plain[2:4]), spans))
    return out


def cut(result: Compressed, spans: Sequence[tuple[int, int]]) -> list[str]:
    """Those of the pieces of which a part is kept, and a part is not."""
    alive = bytearray(len(result.origin))
    for span in result.units:
        if span.kept:
            alive[span.start : span.end] = b"\1" * (span.end - span.start)
    out = []
    for a, b in spans:
        kept = {alive[i] for i in range(a, b) if not result.origin[i].isspace()}
        if len(kept) > 1:
            out.append(result.origin[a:b])
    return out


def broken(case: Case, compressors: Sequence[PromptCompressor], rates: Sequence[float] = RATES) -> list[str]:
    """What is cut of a case, or refused, at any rate by any of the compressors."""
    out = []
    for compressor in compressors:
        for rate in rates:
            try:
                result = compressor.compress(case.text, rate=rate)
            except BudgetError as error:
                out.append(f"{case.text} | {rate} | {error}")
                continue
            out += (f"{piece} | {rate} | {result.text}" for piece in cut(result, case.spans))
    return out


def compressors(scorer: str, seeds: int, protect: str = "all") -> Iterator[PromptCompressor]:
    """A compressor for each way to retain and, for random, each seed."""
    for seed in range(seeds if scorer == "random" else 1):
        made = Once(make(scorer, seed=seed))
        for retain in RETAIN if protect == "all" else RETAIN[:1]:
            yield PromptCompressor(made, len, retain=retain, protect=protect)  # type: ignore[arg-type]


def measure(every: Sequence[Case], scorers: Sequence[str], seeds: int) -> list[dict[str, Any]]:
    """A row for each scorer and language."""
    rows = []
    for scorer in scorers:
        with_rules = list(compressors(scorer, seeds))
        without = list(compressors(scorer, seeds, "none"))
        for language in dict.fromkeys(c.language for c in every):
            mine = [c for c in every if c.language == language]
            bad = [b for b in (broken(c, with_rules) for c in mine) if b]
            for lines in bad:
                print(f"{scorer} {language}: {lines[0]}", file=sys.stderr)
            rows.append(
                {
                    "scorer": scorer,
                    "language": language,
                    "sentences": len(mine),
                    "hold": len(mine) - len(bad),
                    "cut": sum(bool(broken(c, without)) for c in mine),
                }
            )
    return rows


def render(result: dict[str, Any]) -> str:
    """The Markdown page."""
    rows = result["rows"]
    cells = [[r["scorer"], r["language"], r["sentences"], r["hold"], r["cut"]] for r in rows]
    total, held = sum(r["sentences"] for r in rows), sum(r["hold"] for r in rows)
    plain = [r for r in rows if r["scorer"] == "truncate"]
    beside = (
        f" Truncation, without rules, cuts {sum(r['cut'] for r in plain)} of"
        f" {sum(r['sentences'] for r in plain)}."
        if plain
        else ""
    )
    table = common.markdown_table(
        ["scorer", "language", "sentences", "hold", "cut without rules"],
        [[str(c) for c in row] for row in cells],
    )
    return (
        "# What belongs together stays together\n\n"
        f"{result['machine']}. See bench/prompts/contract.py for what is measured.\n\n"
        f"{held} of {total} hold at every rate ({held / total:.1%}).{beside}\n\n{table}"
    )


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m bench.prompts.contract", description="whether what belongs together stays together"
    )
    parser.add_argument("--sentences", type=Path, default=SENTENCES)
    parser.add_argument("--scorers", nargs="+", default=SCORERS, metavar="NAME")
    parser.add_argument("--seeds", type=int, default=3, help="of the scorer random")
    parser.add_argument("--out", type=Path, default=common.RESULTS, help="folder for the results")
    options = parser.parse_args(arguments)
    path = options.out / "contract.json"
    result = common.load_result(path)
    others = [r for r in result["rows"] if r["scorer"] not in options.scorers]
    result["rows"] = others + measure(cases(options.sentences), options.scorers, options.seeds)
    common.write_json(path, result)
    page = render(result)
    common.write_atomic(path.with_suffix(".md"), page)
    print(page)


if __name__ == "__main__":
    main()
