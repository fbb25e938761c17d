"""What prompt compression keeps: words of human compressions, answers to questions; and how fast it is.

    python -m bench.prompt --data DIR [--sentences N] [--questions N] [--scorers NAME...] [--model MODEL]
                           [--classifier PATH]

DIR holds sentcomp.eval10k.jsonl.xz (Google's sentence compression set: words, and which a person kept),
xquad.en.json.xz (SQuAD paragraphs and questions) and any text for the speed. Prints three tables:

1. F1 of the words kept, each sentence cut to the number of words that the person kept. No rules apply, so
   that scorers are compared and not rules. Scorers of sentences have nothing to choose from here.
2. Whether the answer's words are still there, the paragraph among `--distractors` of its article and of the
   next ones, shuffled, cut to a half, a third and a fifth of the tokens; rules as by default, but with the
   sentence (`retain="with_sentence"`), and without rules.
3. Seconds for 100 KB.

The controls random and truncate are in every table.
"""

from __future__ import annotations

import argparse
import json
import lzma
import os
import random
import re
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from bench.common import DATA_VARIABLE
from nacrith.errors import BudgetError
from nacrith.prompt import PromptCompressor
from nacrith.prompt.scorers import make

RATES = (1 / 2, 1 / 3, 1 / 5)
SPEED_BYTES = 100_000


def sentences(folder: Path, count: int, seed: int) -> list[tuple[list[str], list[int]]]:
    """Words and labels of `count` sentences, drawn at random."""
    with lzma.open(folder / "sentcomp.eval10k.jsonl.xz", "rt", encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    drawn = random.Random(seed).sample(rows, min(count, len(rows)))
    return [(row["words"], row["keep"]) for row in drawn]


def word_f1(scorer: Any, rows: Sequence[tuple[list[str], list[int]]]) -> float:
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


def questions(
    folder: Path, count: int, distractors: int, seed: int
) -> Iterator[tuple[list[str], str, list[str]]]:
    """Paragraphs, question, answers."""
    with lzma.open(folder / "xquad.en.json.xz", "rt", encoding="utf-8") as file:
        articles = json.load(file)["data"]
    paragraphs = [p for article in articles for p in article["paragraphs"]]
    rng = random.Random(seed)
    every = [(i, qa) for i, p in enumerate(paragraphs) for qa in p["qas"]]
    for i, qa in rng.sample(every, min(count, len(every))):
        around = [paragraphs[(i + d) % len(paragraphs)]["context"] for d in range(distractors + 1)]
        rng.shuffle(around)
        yield around, qa["question"], [a["text"] for a in qa["answers"]]


def retained(
    compressor: PromptCompressor, rows: Sequence[tuple[list[str], str, list[str]]], rate: float
) -> tuple[float, int]:
    """Fraction of the questions of which an answer is still there, and how many had no budget left."""
    found = failed = 0
    for paragraphs, question, answers in rows:
        try:
            text = compressor.compress("\n\n".join(paragraphs), query=question, rate=rate).text
        except BudgetError:
            failed += 1
            continue
        plain = " ".join(text.split())
        found += any(" ".join(a.split()) in plain for a in answers)
    return found / len(rows), failed


def main() -> None:
    parser = argparse.ArgumentParser(description="what prompt compression keeps")
    parser.add_argument("--data", type=Path, default=os.environ.get(DATA_VARIABLE))
    parser.add_argument("--sentences", type=int, default=1000)
    parser.add_argument("--questions", type=int, default=300)
    parser.add_argument("--distractors", type=int, default=4)
    parser.add_argument("--scorers", nargs="+", default=["random", "truncate", "lexrank", "classifier"])
    parser.add_argument("--model", help="of the scorers that need a language model")
    parser.add_argument("--classifier", help="path of the classifier's model (default: the built-in one)")
    parser.add_argument("--tokenizer", help="what counts (default: words)")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    if args.data is None:
        parser.error(f"give --data or set {DATA_VARIABLE}")
    count = args.tokenizer or (lambda text: len(re.findall(r"\w+|[^\w\s]", text)))
    models = {name: args.classifier if name == "classifier" else args.model for name in args.scorers}
    scorers = {name: make(name, model=model, seed=args.seed) for name, model in models.items()}
    rows = sentences(args.data, args.sentences, args.seed)
    print(f"| words kept as people do, {len(rows)} sentences | F1 |\n|---|---:|")
    for name, scorer in scorers.items():
        if not scorer.by_sentence:
            print(f"| {name} | {word_f1(scorer, rows):.3f} |", flush=True)
    asked = list(questions(args.data, args.questions, args.distractors, args.seed))
    header = " | ".join(f"{1 / r:.0f}x" for r in RATES)
    print(f"\n| answers retained, {len(asked)} questions | {header} |\n|---|" + "---:|" * len(RATES))
    for name, scorer in scorers.items():
        for label, rules in (("no rules", "none"), ("rules", "all")):
            compressor = PromptCompressor(scorer, count, protect=rules, retain="with_sentence")
            cells = []
            for rate in RATES:
                share, failed = retained(compressor, asked, rate)
                cells.append(f"{share:.1%}" + (f" ({failed} errors)" if failed else ""))
            print(f"| {name}, {label} | {' | '.join(cells)} |", flush=True)
    text = "\n\n".join(p for group, _, _ in asked for p in group)[:SPEED_BYTES]
    print(f"\n| {len(text.encode()):,} bytes at 2x | s |\n|---|---:|")
    for name, scorer in scorers.items():
        begin = time.perf_counter()
        PromptCompressor(scorer, count, protect="none").compress(text, rate=0.5, query="Who was the first?")
        print(f"| {name} | {time.perf_counter() - begin:.1f} |", flush=True)


if __name__ == "__main__":
    main()
