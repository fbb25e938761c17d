"""Documents with a question, and what of them answers it: four data sets, and what a compression keeps.

- hotpotqa: ten paragraphs with titles; the answer, and all sentences that it follows from, in two of them
  (hotpotqa.distractor.sample100.jsonl.xz, Yang et al. 2018);
- nq: the passage with the answer to a search query among the nine others that BM25 ranks highest for the
  query, none of which has the answer (nq-open-oracle.jsonl.xz, Kwiatkowski et al. 2019, Liu et al. 2023);
- squad: a paragraph among others of its article (xquad.en.json.xz);
- qmsum: a meeting, and the turns that a question is about (qmsum.test.jsonl.xz, Zhong et al. 2021).

The weights of the scorer lexrank were chosen on other questions: the even ones of HotpotQA, the first of the
shuffled ones of NQ (`unreported`) and SQuAD, and QMSum's validation set; its word vectors were trained on
others of NQ and on SQuAD's training file (`bench.training.likeness`).
"""

from __future__ import annotations

import json
import lzma
import math
import random
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nacrith.errors import BudgetError
from nacrith.prompt import Compressed, PromptCompressor

HARD = 9
"""Passages beside that with the answer."""

_USED = {"nq": 300, "squad": 250}  # questions that weights were chosen on
_FIELDS = ("context", "question", "answer")
_WORD = re.compile(r"\w+")
_RANKED = 80  # passages of which those with the answer are left out
_COMMON = 0.2  # of the passages have a word that says nothing
Z = 1.96  # of a two-sided interval of 95 %


@dataclass(frozen=True)
class Asked:
    """A document and a question. facts: sentences that the answer follows from. spans: of the document,
    which are relevant."""

    text: str
    question: str
    answers: Sequence[str] = ()
    facts: Sequence[str] = ()
    spans: Sequence[tuple[int, int]] = ()


def lines(path: Path) -> list[Any]:
    with lzma.open(path, "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def hotpotqa(folder: Path, count: int, seed: int) -> list[Asked]:
    out = []
    for row in lines(folder / "hotpotqa.distractor.sample100.jsonl.xz")[1::2][:count]:
        titles, sentences = row["context"]["title"], row["context"]["sentences"]
        text = "\n\n".join(f"{t}\n{''.join(s).strip()}" for t, s in zip(titles, sentences, strict=True))
        wanted = row["supporting_facts"]
        facts = [
            sentences[titles.index(title)][i].strip()
            for title, i in zip(wanted["title"], wanted["sent_id"], strict=True)
            if i < len(sentences[titles.index(title)])
        ]
        out.append(Asked(text, row["question"], [row["answer"]], facts))
    return out


def nq(folder: Path, count: int, seed: int) -> list[Asked]:
    rows = lines(folder / "nq-open-oracle.jsonl.xz")
    rng = random.Random(seed)
    order = rng.sample(range(len(rows)), len(rows))
    return _among_hard(rows, [rows[i] for i in order[_USED["nq"] :][:count]], rng)


def unreported(folder: Path, reported: int = 300, seed: int = 0) -> list[Asked]:
    """Questions of NQ-open that `nq` does not give, and whose passage is that of none it gives: for training
    and the choice of weights."""
    rows = lines(folder / "nq-open-oracle.jsonl.xz")
    rng = random.Random(seed)
    order = rng.sample(range(len(rows)), len(rows))
    taken = order[_USED["nq"] :][:reported]
    passages = {rows[i]["ctxs"][0]["text"] for i in taken}
    free = [i for i in order if i not in set(taken) and rows[i]["ctxs"][0]["text"] not in passages]
    return _among_hard(rows, [rows[i] for i in free], rng)


def squad_training(folder: Path, count: int, seed: int = 5, distractors: int = 6) -> list[Asked]:
    """Questions of SQuAD's training file, of which none is reported; tokenised, among hard passages."""
    rows = lines(folder / "squad11.tokenised-val4k.jsonl.xz")
    joined = [[x if isinstance(x := row[k], str) else " ".join(x) for k in _FIELDS] for row in rows]
    passages = list(dict.fromkeys(passage for passage, _, _ in joined))
    ranking = Ranking(passages)
    rng = random.Random(seed)
    out = []
    for passage, question, answer in rng.sample(joined, count):
        near = (passages[k] for k in ranking.best(question, _RANKED))
        others = [p for p in near if p != passage and answer.lower() not in p.lower()]
        chosen = [passage, *others[:distractors]]
        rng.shuffle(chosen)
        out.append(Asked("\n\n".join(chosen), question, [answer]))
    return out


def _among_hard(rows: Sequence[Any], chosen_rows: Sequence[Any], rng: random.Random) -> list[Asked]:
    """Questions with their passage among the hardest of all rows."""
    titles = {row["ctxs"][0]["text"]: row["ctxs"][0]["title"] for row in rows}
    passages = list(titles)
    ranking = Ranking([f"{titles[p]} {p}" for p in passages])
    out = []
    for row in chosen_rows:
        gold, answers = row["ctxs"][0]["text"], [a.lower() for a in row["answers"]]
        near = (passages[k] for k in ranking.best(row["question"], _RANKED))
        others = [p for p in near if p != gold and not any(a in p.lower() for a in answers)]
        chosen = [gold, *others[:HARD]]
        rng.shuffle(chosen)
        text = "\n\n".join(f"{titles[p]}\n{p}" for p in chosen)
        out.append(Asked(text, row["question"], row["answers"]))
    return out


def squad(folder: Path, count: int, seed: int, distractors: int = 4) -> list[Asked]:
    with lzma.open(folder / "xquad.en.json.xz", "rt", encoding="utf-8") as file:
        articles = json.load(file)["data"]
    paragraphs = [p for article in articles for p in article["paragraphs"]]
    rng = random.Random(seed)
    every = [(i, qa) for i, p in enumerate(paragraphs) for qa in p["qas"]]
    out = []
    for i, qa in rng.sample(every, len(every))[_USED["squad"] :][:count]:
        around = [paragraphs[(i + d) % len(paragraphs)]["context"] for d in range(distractors + 1)]
        rng.shuffle(around)
        out.append(Asked("\n\n".join(around), qa["question"], [a["text"] for a in qa["answers"]]))
    return out


def qmsum(folder: Path, count: int, seed: int) -> list[Asked]:
    out = []
    for row in lines(folder / "qmsum.test.jsonl.xz"):
        turns = [f"{t['speaker']}: {t['content']}\n" for t in row["meeting_transcripts"]]
        edges = np.cumsum([0, *map(len, turns)]).tolist()
        for asked in row["specific_query_list"]:
            spans = [
                (edges[int(a)], edges[min(int(b), len(turns) - 1) + 1])
                for a, b in asked["relevant_text_span"]
            ]
            out.append(Asked("".join(turns), asked["query"], spans=spans))
    return random.Random(seed).sample(out, min(count, len(out)))


SETS: dict[str, Callable[[Path, int, int], list[Asked]]] = {
    "hotpotqa": hotpotqa,
    "nq": nq,
    "squad": squad,
    "qmsum": qmsum,
}


class Ranking:
    """BM25 of passages."""

    def __init__(self, passages: Sequence[str]) -> None:
        self.places: dict[str, list[tuple[int, int]]] = defaultdict(list)
        self.sizes = []
        for i, passage in enumerate(passages):
            tally = Counter(_WORD.findall(passage.lower()))
            self.sizes.append(sum(tally.values()))
            for word, n in tally.items():
                self.places[word].append((i, n))

    def best(self, query: str, count: int) -> list[int]:
        total = len(self.sizes)
        mean = sum(self.sizes) / total
        score: Counter[int] = Counter()
        for word in sorted(set(_WORD.findall(query.lower()))):
            found = self.places.get(word, [])
            if len(found) > max(1, _COMMON * total):
                continue
            idf = math.log(total / (len(found) + 0.5))
            for i, n in found:
                score[i] += idf * n * 2.2 / (n + 1.2 * (0.25 + 0.75 * self.sizes[i] / mean))
        return [i for i, _ in score.most_common(count)]


def kept(row: Asked, result: Compressed) -> dict[str, float]:
    """What of the answer, the facts and the relevant spans is in the output, from 0 to 1."""
    plain = _plain(result.text)
    out = {}
    if row.answers:
        out["answer"] = float(any(_plain(a) in plain for a in row.answers))
    if row.facts:
        out["facts"] = float(all(_plain(f) in plain for f in row.facts))
    if row.spans:
        alive = np.zeros(len(row.text) + 1, bool)
        for span in result.spans:
            alive[span.start : span.end] = span.kept
        out["relevant"] = float(np.mean([alive[a:b].mean() for a, b in row.spans if a < b]))
    return out


def measure(
    compressor: PromptCompressor, rows: Sequence[Asked], rate: float
) -> tuple[dict[str, list[float]], int]:
    """For each thing that can be kept what is kept of it, a value for each question; and the number of
    prompts that could not be made so short, of which nothing is kept."""
    found: dict[str, list[float]] = defaultdict(list)
    failed = 0
    for row in rows:
        try:
            values = kept(row, compressor.compress(row.text, query=row.question, rate=rate))
        except BudgetError:
            failed += 1
            values = dict.fromkeys(kept(row, compressor.compress(row.text, rate=1.0)), 0.0)
        for what, value in values.items():
            found[what].append(value)
    return found, failed


def interval(values: Sequence[float]) -> tuple[float, float]:
    """The interval of 95 % of a mean: Wilson's for what is kept or not, else by the standard error."""
    n, mean = len(values), sum(values) / len(values)
    if all(v in (0.0, 1.0) for v in values):
        middle = (mean + Z * Z / (2 * n)) / (1 + Z * Z / n)
        half = Z * math.sqrt(mean * (1 - mean) / n + Z * Z / (4 * n * n)) / (1 + Z * Z / n)
        return max(0.0, middle - half), min(1.0, middle + half)
    if n < 2:
        return 0.0, 1.0
    error = Z * float(np.std(values, ddof=1)) / math.sqrt(n)
    return max(0.0, mean - error), min(1.0, mean + error)


def _plain(text: str) -> str:
    return " ".join(text.split())
