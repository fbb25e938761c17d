"""What prompt compression keeps: words of human compressions, answers to questions; and how fast it is.

    python -m bench.prompts.prompt --data DIR [--tables NAME...] [--scorers NAME...|all] [--sentences N]
                           [--questions N] [--answered N] [--distractors N] [--model MODEL]
                           [--classifier PATH] [--tokenizer FILE] [--sets NAME...] [--out DIR] [--fresh]

DIR holds sentcomp.eval10k.jsonl.xz (Google's sentence compression set: words, and which a person kept) and
xquad.en.json.xz (SQuAD paragraphs and questions). Five tables:

- words: F1 of the words kept, each sentence cut to the number of words that the person kept. No rules apply,
  so that scorers are compared and not rules. Scorers of sentences have nothing to choose from here.
  `labels` knows what the person kept: what the rules of a readable text cost the best scorer.
- retained: whether the answer's words are still there, the paragraph among `--distractors` of its article
  and of the next ones, shuffled, cut to a half, a third and a fifth of the tokens; rules as by default, but
  with the sentence (`retain="with_sentence"`), and without rules.
- answered: of the first `--answered` of those questions, without rules: whether the answer's words are
  still there, and F1 of what the language model answers (`bench.prompts.answers`) from the compressed text,
  from all of it, and from none.
- asked: whether the answer, all facts that it follows from, or the relevant characters are still there, in
  four sets of documents with a question (`bench.prompts.asked`, which says what files they need), with
  default settings, and intervals of 95 %.
- seconds: for 100 KB.

The controls random and truncate are in every table. What has been measured is kept, a row at a time, in
prompt.json, and not measured again unless --fresh says so; only rows of like settings share a table.
"""

from __future__ import annotations

import argparse
import json
import lzma
import os
import random
import re
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np

import nacrith
from bench import common
from bench.prompts import asked
from bench.prompts.answers import Reader, token_f1
from nacrith.errors import BudgetError
from nacrith.models import load_model
from nacrith.models.protocol import LanguageModel
from nacrith.prompt import PromptCompressor
from nacrith.prompt.scorers import LANGUAGE_MODEL, NAMES, make
from nacrith.prompt.scorers.protocol import F64, Scorer
from nacrith.prompt.segment import Passage

RATES = (1 / 2, 1 / 3, 1 / 5)
SPEED_BYTES = 100_000
TABLES = ("words", "retained", "answered", "asked", "seconds")
DEFAULT = ("random", "truncate", "lexrank", "classifier")
"""Scorers that need no language model."""

WHAT = {
    "hotpotqa": ("answer", "facts"),
    "nq": ("answer",),
    "squad": ("answer",),
    "qmsum": ("relevant",),
}
"""What is measured of each set of the table asked."""

CEILING, EVERYTHING, NOTHING = "labels", "the whole text", "no text"

Sentence = tuple[list[str], list[int]]
Question = tuple[list[str], str, list[str]]
"""Paragraphs, question, answers."""
Cells = dict[str, float]


def sentences(folder: Path, count: int, seed: int) -> list[Sentence]:
    """Words and labels of `count` sentences, drawn at random."""
    with lzma.open(folder / "sentcomp.eval10k.jsonl.xz", "rt", encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    drawn = random.Random(seed).sample(rows, min(count, len(rows)))
    return [(row["words"], row["keep"]) for row in drawn]


class Labels:
    """The scorer that knows what the person kept."""

    name, by_sentence, causal = CEILING, False, True

    def __init__(self, rows: Sequence[Sentence]) -> None:
        self.known = {
            " ".join(words): np.repeat(keep, [len(w) + 1 for w in words]).astype(np.float64)
            for words, keep in rows
        }

    def score(self, passages: Sequence[Passage], query: str) -> list[F64]:
        return [self.known[p.text][p.starts] for p in passages]


def word_f1(scorer: Any, rows: Sequence[Sentence]) -> float:
    """F1 over all words; the budget counts words."""
    compressor = PromptCompressor(scorer, lambda text: len(text.split()), protect="none")
    hits = kept = wanted = 0
    for words, labels in rows:
        text = " ".join(words)
        result = compressor.compress(text, target_tokens=sum(labels))
        alive = [span for span in result.spans if span.kept]
        position = 0
        for word, label in zip(words, labels, strict=True):
            mine = any(a.start <= position < a.end for a in alive)
            hits, kept, wanted = hits + (mine and label), kept + mine, wanted + label
            position += len(word) + 1
    return 2 * hits / (kept + wanted)


def questions(folder: Path, count: int, distractors: int, seed: int) -> Iterator[Question]:
    with lzma.open(folder / "xquad.en.json.xz", "rt", encoding="utf-8") as file:
        articles = json.load(file)["data"]
    paragraphs = [p for article in articles for p in article["paragraphs"]]
    rng = random.Random(seed)
    every = [(i, qa) for i, p in enumerate(paragraphs) for qa in p["qas"]]
    for i, qa in rng.sample(every, min(count, len(every))):
        around = [paragraphs[(i + d) % len(paragraphs)]["context"] for d in range(distractors + 1)]
        rng.shuffle(around)
        yield around, qa["question"], [a["text"] for a in qa["answers"]]


class Once:
    """A scorer that scores a text once, whatever the rates and rules: they do not change scores."""

    def __init__(self, scorer: Scorer) -> None:
        self.scorer = scorer
        self.name, self.by_sentence, self.causal = scorer.name, scorer.by_sentence, scorer.causal
        self.known: dict[tuple[str, ...], list[F64]] = {}

    def score(self, passages: Sequence[Passage], query: str) -> list[F64]:
        key = (query, *(p.text for p in passages))
        if key not in self.known:
            self.known[key] = self.scorer.score(passages, query)
        return self.known[key]


def compressed(compressor: PromptCompressor, row: Question, rate: float) -> str | None:
    """The text that is left for a question; None if what the rules keep exceeds the budget."""
    paragraphs, question, _ = row
    try:
        return compressor.compress("\n\n".join(paragraphs), query=question, rate=rate).text
    except BudgetError:
        return None


def retained(texts: Sequence[str | None], rows: Sequence[Question]) -> float:
    """Fraction of the questions of which an answer is still there."""
    found = 0
    for text, (_, _, answers) in zip(texts, rows, strict=True):
        plain = " ".join((text or "").split())
        found += any(" ".join(a.split()) in plain for a in answers)
    return found / len(rows)


def mean_f1(reader: Reader, texts: Sequence[str], rows: Sequence[Question]) -> float:
    said = reader.answers([reader.prompt(text, q) for text, (_, q, _) in zip(texts, rows, strict=True)])
    return sum(token_f1(mine, gold) for mine, (_, _, gold) in zip(said, rows, strict=True)) / len(rows)


class Bench:
    """What the options ask for; every figure is made by a method that gives the cells of a row."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.count = options.tokenizer or (lambda text: len(re.findall(r"\w+|[^\w\s]", text)))
        self.sentences = sentences(options.data, options.sentences, options.seed)
        self.asked = list(questions(options.data, options.questions, options.distractors, options.seed))
        self.answered = self.asked[: options.answered]
        self.speed_text = "\n\n".join(p for group, _, _ in self.asked for p in group)[:SPEED_BYTES]
        self.model = cache(self._model)
        self.scorer = cache(self._scorer)

    def _model(self) -> LanguageModel:
        return load_model(self.options.model)

    def _scorer(self, name: str) -> Once:
        model: Any = self.options.classifier if name == "classifier" else None
        if name in LANGUAGE_MODEL:
            model = self.model()
        return Once(make(name, model=model, seed=self.options.seed))

    def rows(self, table: str) -> Iterator[tuple[str, Callable[[], Cells]]]:
        """Label and measurement of each row of a table."""
        if table == "words":
            yield CEILING, lambda: {"F1": word_f1(Labels(self.sentences), self.sentences)}
        if table == "answered":
            yield EVERYTHING, lambda: self.read(["\n\n".join(p) for p, _, _ in self.answered])
            yield NOTHING, lambda: self.read([""] * len(self.answered))
        if table == "asked":
            for chosen in self.options.sets:
                for name in self.options.scorers:
                    for what in WHAT[chosen]:
                        yield f"{chosen} {what}, {name}", partial(self.asked_cells, chosen, name, what)
            return
        for name in self.options.scorers:
            label = name
            if name == "classifier" and self.options.classifier:
                label += f" {Path(self.options.classifier).name}"
            if table == "words":
                if not self.scorer(name).by_sentence:
                    yield label, partial(self.words, name)
            elif table == "retained":
                yield f"{label}, no rules", partial(self.retained, name, "none")
                yield f"{label}, rules", partial(self.retained, name, "all")
            elif table == "answered":
                yield label, partial(self.answers, name)
            elif table == "seconds":
                yield label, partial(self.seconds, name)

    def settings(self, table: str) -> dict[str, Any]:
        """All that the rows of a table must have in common."""
        options = self.options
        seed = {"seed": options.seed}
        if table == "words":
            return {"sentences": len(self.sentences)} | seed
        counted = {"tokenizer": Path(options.tokenizer).name if options.tokenizer else "words"}
        if table == "seconds":
            return {"bytes": len(self.speed_text.encode())} | counted | seed
        if table == "asked":
            return {"questions": options.questions} | counted | seed
        rows = self.asked if table == "retained" else self.answered
        shared = {"questions": len(rows), "distractors": options.distractors} | counted | seed
        return shared | ({"reader": self.model().name} if table == "answered" else {})

    def words(self, name: str) -> Cells:
        return {"F1": word_f1(self.scorer(name), self.sentences)}

    def retained(self, name: str, rules: str) -> Cells:
        compressor = PromptCompressor(self.scorer(name), self.count, protect=rules, retain="with_sentence")
        cells: Cells = {}
        failed = 0
        for rate in RATES:
            texts = [compressed(compressor, row, rate) for row in self.asked]
            cells[times(rate)] = retained(texts, self.asked)
            failed += texts.count(None)
        return cells | {"over budget": failed}

    @cache  # noqa: B019 - the bench lives as long as the process
    def measured(self, chosen: str, name: str) -> tuple[list[dict[str, list[float]]], int]:
        """What is kept at each rate, and how many prompts could not be made so short."""
        options = self.options
        rows = asked.SETS[chosen](options.data, options.questions, options.seed)
        compressor = PromptCompressor(self.scorer(name), self.count)
        found = [asked.measure(compressor, rows, rate) for rate in RATES]
        return [values for values, _ in found], sum(failed for _, failed in found)

    def asked_cells(self, chosen: str, name: str, what: str) -> Cells:
        found, failed = self.measured(chosen, name)
        cells: Cells = {}
        for rate, values in zip(RATES, found, strict=True):
            low, high = asked.interval(values[what])
            cells |= {times(rate): sum(values[what]) / len(values[what]), f"from {times(rate)}": low}
            cells[f"to {times(rate)}"] = high
        return cells | {"over budget": failed}

    def answers(self, name: str) -> Cells:
        compressor = PromptCompressor(self.scorer(name), self.count, protect="none")
        every = [[compressed(compressor, row, rate) or "" for row in self.answered] for rate in RATES]
        cells = {
            f"kept {times(rate)}": retained(t, self.answered) for rate, t in zip(RATES, every, strict=True)
        }
        reader = Reader(self.model())
        for rate, texts in zip(RATES, every, strict=True):
            cells[f"F1 {times(rate)}"] = mean_f1(reader, texts, self.answered)
        return cells

    def read(self, texts: Sequence[str]) -> Cells:
        """The same figures at every rate."""
        kept = retained(texts, self.answered)
        f1 = mean_f1(Reader(self.model()), texts, self.answered)
        return {f"kept {times(r)}": kept for r in RATES} | {f"F1 {times(r)}": f1 for r in RATES}

    def seconds(self, name: str) -> Cells:
        compressor = PromptCompressor(self.scorer(name).scorer, self.count, protect="none")
        begin = time.perf_counter()
        compressor.compress(self.speed_text, rate=0.5, query="Who was the first?")
        return {"s": time.perf_counter() - begin}


def times(rate: float) -> str:
    return f"{1 / rate:.0f}x"


def render(result: dict[str, Any]) -> str:
    """A Markdown table of each kind and settings."""
    out = [
        "# What prompt compression keeps\n",
        f"{result['machine']}. See bench/prompts/prompt.py for what is measured.\n",
    ]
    rows = result["rows"]
    for table in TABLES:
        kinds = {json.dumps(r["settings"]): r["settings"] for r in rows if r["table"] == table}
        for settings in kinds.values():
            same = [r for r in rows if r["table"] == table and r["settings"] == settings]
            heads = list(same[0]["cells"])
            dates = sorted(r["date"] for r in same)
            versions = dict.fromkeys(r["version"] for r in same)
            out.append(f"{', '.join(f'{k} {v}' for k, v in settings.items())}. {'; '.join(versions)},")
            out[-1] += f" {dates[0]} to {dates[-1]}.\n"
            lines = [[r["row"], *(show(h, r["cells"][h]) for h in heads)] for r in same]
            out.append(common.markdown_table([table, *heads], lines))
    return "\n".join(out)


def show(head: str, value: float) -> str:
    if head.startswith("F1"):
        return f"{value:.3f}"
    if head == "s":
        return f"{value:.2f}"
    return f"{value}" if head == "over budget" else f"{value:.1%}"


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench.prompts.prompt", description="what prompt compression keeps"
    )
    parser.add_argument("--data", type=Path, default=os.environ.get(common.DATA_VARIABLE))
    parser.add_argument("--tables", nargs="+", choices=TABLES, default=TABLES)
    parser.add_argument("--scorers", nargs="+", choices=(*NAMES, "all"), default=DEFAULT, metavar="NAME")
    parser.add_argument("--sets", nargs="+", choices=tuple(asked.SETS), default=tuple(asked.SETS))
    parser.add_argument("--sentences", type=int, default=1000)
    parser.add_argument("--questions", type=int, default=300)
    parser.add_argument("--answered", type=int, default=60, help="questions that the model answers")
    parser.add_argument("--distractors", type=int, default=4)
    parser.add_argument("--model", help="language model that answers, and of the scorers that need one")
    parser.add_argument("--classifier", help="path of the classifier's model (default: the built-in one)")
    parser.add_argument("--tokenizer", help="what counts (default: words)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=common.RESULTS, help="folder for the results")
    parser.add_argument("--fresh", action="store_true", help="measure again what is there already")
    options = parser.parse_args(arguments)
    if options.data is None:
        parser.error(f"give --data or set {common.DATA_VARIABLE}")
    options.data = Path(options.data)
    if "all" in options.scorers:
        options.scorers = NAMES
    options.answered = min(options.answered, options.questions)
    return options


def main(arguments: Sequence[str] | None = None) -> None:
    options = parse(arguments)
    path = options.out / "prompt.json"
    result = common.load_result(path)
    rows: list[dict[str, Any]] = result["rows"]
    tables = Bench(options)
    for table in options.tables:
        settings = tables.settings(table)
        for label, measure in tables.rows(table):
            key = {"table": table, "row": label, "settings": settings}
            old = next((r for r in rows if {k: r[k] for k in key} == key), None)
            version = f"nacrith {nacrith.__version__}"
            if old and old["version"] == version and not options.fresh:
                continue
            begin = time.perf_counter()
            cells = {head: round(value, 4) for head, value in measure().items()}
            date = datetime.now(UTC).date().isoformat()
            row = key | {"cells": cells, "version": version, "date": date}
            if old:
                rows[rows.index(old)] = row
            else:
                rows.append(row)
            common.write_json(path, result)
            shown = ", ".join(f"{head} {show(head, value)}" for head, value in cells.items())
            took = time.perf_counter() - begin
            print(f"{table}: {label}: {shown} ({took:.0f} s)", file=sys.stderr, flush=True)
    common.write_atomic(path.with_suffix(".md"), render(result))
    print(render(result))


if __name__ == "__main__":
    main()
