"""What each part of coding 2 is worth, by kind of text: sizes with it and without it, on the same rows.

    python -m bench.coding.ablation FILE... [--head N] [--variants NAME ...] [--lanes 1 4 16] [--lanes-head N]
                          [--model M] [--out DIR]

The first N bytes of each file are one lane. The model runs once; each variant codes the same rows, in the
Python classes, of which this module replaces parts: the product has no switches. All variants take about 30
ms a token, so heads are short, and what learns slowly shows less than it is worth. Sizes are code lengths,
without payload heads and framing.

Tokens in one interval each, by the counts alone:
  model         the model alone
  bias          with the bias head, and the question whether it is the model's favourite
  n-grams       and the n-grams
  ensemble      and the match model: the counts of an archive
  nacrith       the ensemble that Nacrith published, without its skip rule; nacrith skips: with it
Tokens as decisions, with the learner:
  on the model  by the counts of the model alone (set 0)
  whole         by those of the ensemble: what an archive holds
  no X          whole, but without the predictor of token ends, the gates, the learner's matches, the mixer
                that the model's probability chooses a row of, the corrections
  learner       no model: the payload of kind 5
Lanes: payloads of the codec for --lanes-head bytes, in at most so many lanes of equal length.
"""

from __future__ import annotations

import argparse
import json
import lzma
from collections.abc import Callable
from dataclasses import replace
from math import log2
from pathlib import Path
from typing import Any

import numpy as np

from bench.coding.nacrith_ensemble import NacrithEnsemble
from bench.common import RESULTS, machine, markdown_table, write_atomic, write_json
from nacrith.codec import predictor_set
from nacrith.codec.group_reference import Lane, Port, Tree
from nacrith.codec.levels import DEFAULT_LEVEL, LEVELS
from nacrith.codec.model_codec import ModelCodec
from nacrith.codec.params import CodingParams
from nacrith.codec.text import strip_crlf
from nacrith.coder.cdf import TOTAL
from nacrith.fallback.learner import TEXT
from nacrith.fallback.learner import Learner as LearnerCodec
from nacrith.learner.learner import Learner
from nacrith.learner.match import Match, Pointer, Texts
from nacrith.learner.mixer import Correction, Gate
from nacrith.learner.shapes import BESIDE, FORMS
from nacrith.learner.tables import squash
from nacrith.models import load_model
from nacrith.models.protocol import LanguageModel
from nacrith.models.tokenizer.sorted_vocabulary import Node, SortedVocabulary
from nacrith.predictors import registry
from nacrith.predictors.cascade import Cascade, Switches
from nacrith.predictors.prior import load
from nacrith.predictors.protocol import Ensemble
from nacrith.predictors.registry import SETS

LEVEL = LEVELS[DEFAULT_LEVEL]
CAPACITY, BITS = LEVEL.capacity, LEVEL.bits  # log2, of the n-grams and of the learner's bytes
_CHUNK = 256


class Meter:
    """A port that only measures. rank: of the token that is coded. bits: code length so far."""

    def __init__(self) -> None:
        self.rank = -1
        self.bits = 0.0

    def decide(self, ones: int, bit: bool) -> int:
        self.bits += log2(TOTAL / (ones if bit else TOTAL - ones))
        return int(bit)


class NoEnds(Tree):
    """Whether a token goes on, by the counts alone."""

    def _goes_on(self, node: Node, longer: int, state: Lane, port: Port) -> int:
        return self._plain(self._sum(node.lo, longer), self._sum(longer, node.hi), port.rank >= longer, port)


class NoGate(Gate):
    def join(self, mixed: int, model: int) -> int:
        return mixed

    def learn(self, bit: int) -> None:
        pass


class NoMatch(Match):
    def end(self, p: Pointer, texts: Texts, lane: int) -> None:
        pass


class NoCorrection(Correction):
    def refine(self, stretched: int, context: int) -> int:
        return squash(stretched)

    def learn(self, bit: int) -> None:
        pass


def trees(vocabulary: SortedVocabulary) -> dict[str, Tree]:
    """One of each variant of the learner."""

    def tree(kind: type[Tree] = Tree) -> Tree:
        return kind(vocabulary, BITS, 1)

    made = {"whole": tree(), "no ends": tree(NoEnds)}
    made["no gate"] = tree()
    made["no gate"]._learner._gate, made["no gate"]._ends._gate = NoGate(), NoGate()
    made["no matches"] = tree()
    made["no matches"]._learner._matches = [NoMatch(least) for least in BESIDE.least]
    made["no model's set"] = tree()
    form = replace(BESIDE, sets=FORMS[TEXT].sets, rows=FORMS[TEXT].rows)
    made["no model's set"]._learner = Learner(form, BITS)
    made["no corrections"] = tree()
    made["no corrections"]._learner._corrections = [NoCorrection(0)] * 4
    return made


class Tokens:
    """Counts of an ensemble: each token in one interval, and by decisions in trees that share the counts."""

    def __init__(self, ensemble: Ensemble, alone: str, behind: dict[str, Tree]) -> None:
        """alone: name of the variant without a learner."""
        self._ensemble, self._alone, self._trees = ensemble, alone, behind
        self.meters = {name: Meter() for name in behind}
        self._bits = 0.0

    def code(self, row: np.ndarray, token: int, rank: int) -> None:
        counts = self._ensemble.counts(row)
        self._bits += log2(TOTAL / float(counts[token]))
        if self._trees:
            counts = counts.copy()
        for name, tree in self._trees.items():
            self.meters[name].rank = rank
            tree.code(counts, 0, self.meters[name])
        self._ensemble.update(token)

    def sizes(self) -> dict[str, float]:
        """Bytes of each variant."""
        return {self._alone: self._bits / 8} | {name: m.bits / 8 for name, m in self.meters.items()}


class Published:
    """Nacrith's, with the 24-bit counts it codes by."""

    def __init__(self, vocab_size: int, name: str) -> None:
        self._ensemble = NacrithEnsemble(vocab_size, skip=name == "nacrith skips")
        self._name, self._vocab_size = name, vocab_size
        self._bits = 0.0

    def code(self, row: np.ndarray, token: int, rank: int) -> None:
        p = float(self._ensemble.probabilities(row)[token])
        self._ensemble.update(token)
        self._bits -= log2((int(p * (TOTAL - self._vocab_size)) + 1) / TOTAL)

    def sizes(self) -> dict[str, float]:
        return {self._name: self._bits / 8}


def coders(model: LanguageModel, chosen: list[str]) -> list[Any]:
    """What codes the chosen variants, or all: fresh ones."""
    vocab, number = model.vocab_size, predictor_set(model)
    vocabulary = model.tokenizer.vocabulary(vocab)
    prior = load(SETS[number].prior)

    def wanted(made: dict[str, Tree]) -> dict[str, Tree]:
        return {name: tree for name, tree in made.items() if name in chosen}

    def some(*off: str) -> Cascade:
        return Cascade(vocab, 1 << CAPACITY, prior, (0,), Switches(**dict.fromkeys(off, False)))

    behind_model = wanted({"on the model": Tree(vocabulary, BITS, 1)})
    found = [Tokens(registry.make(0, vocab, 0, (0,)), "model", behind_model)]
    steps: dict[str, Callable[[], Any]] = {
        "bias": lambda: Tokens(some("ngram", "match"), "bias", {}),
        "n-grams": lambda: Tokens(some("match"), "n-grams", {}),
        "nacrith": lambda: Published(vocab, "nacrith"),
        "nacrith skips": lambda: Published(vocab, "nacrith skips"),
    }
    found += [make() for name, make in steps.items() if name in chosen]
    return [*found, Tokens(some(), "ensemble", wanted(trees(vocabulary)))]


VARIANTS = [
    "model", "bias", "n-grams", "ensemble", "nacrith", "nacrith skips", "on the model", "whole",
    "no ends", "no gate", "no matches", "no model's set", "no corrections", "learner",
]  # fmt: skip


def measure(model: LanguageModel, content: bytes, chosen: list[str]) -> dict[str, float]:
    """Bytes by variant."""
    data, _ = strip_crlf(content)
    ids = list(model.tokenizer.encode(data))
    ranks = model.tokenizer.vocabulary(model.vocab_size).rank
    session = model.session(1, min(2048, model.max_context))
    inputs = [model.bos_id, *ids]
    running = coders(model, chosen)
    for begin in range(0, len(ids), _CHUNK):
        rows = session.extend([inputs[begin : min(begin + _CHUNK, len(ids))]])[0]
        for row, token in zip(rows, ids[begin:], strict=False):
            for coder in running:
                coder.code(np.asarray(row), token, int(ranks[token]))
    sizes: dict[str, float] = {}
    for coder in running:
        sizes |= coder.sizes()
    if "learner" in chosen:
        sizes["learner"] = len(LearnerCodec().encode(content, (TEXT, BITS)))
    return {name: sizes[name] for name in VARIANTS if name in sizes}


def in_lanes(model: LanguageModel, content: bytes, lanes: list[int]) -> dict[str, int]:
    """Bytes of a block's payload by the most lanes it may have, all of them of equal length."""
    params = CodingParams(min(2048, model.max_context), predictor_set(model), CAPACITY, BITS)
    return {str(n): len(ModelCodec(model, params, lanes=n, lane_size=1).encode([content])[0]) for n in lanes}


def main() -> None:
    parser = argparse.ArgumentParser(description="what each part of the coding is worth")
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--head", type=int, default=4000)
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=VARIANTS, metavar="NAME")
    parser.add_argument("--lanes", type=int, nargs="+", default=[])
    parser.add_argument("--lanes-head", type=int, default=1 << 16)
    parser.add_argument("--model")
    parser.add_argument("--out", type=Path, default=RESULTS)
    args = parser.parse_args()
    model = load_model(args.model)
    path = args.out / "ablation.json"
    result = json.loads(path.read_text()) if path.exists() else {"machine": machine(), "rows": []}
    for file in args.files:
        whole = file.read_bytes()
        name = "/".join(file.parts[-2:])
        runs = [(whole[: args.head], lambda data: measure(model, data, args.variants))] if args.head else []
        if args.lanes:
            runs.append((whole[: args.lanes_head], lambda data: in_lanes(model, data, args.lanes)))
        for content, run in runs:
            xz = len(lzma.compress(content, preset=9 | lzma.PRESET_EXTREME))
            sizes = {key: round(size, 1) for key, size in run(content).items()}
            row = {"file": name, "bytes": len(content), "model": model.name, "xz": xz, "sizes": sizes}
            same = [r for r in result["rows"] if all(r[k] == row[k] for k in ("file", "bytes", "model"))]
            for old in same:
                row["sizes"] = old["sizes"] | row["sizes"]
                result["rows"].remove(old)
            result["rows"].append(row)
            write_json(path, result)
            print(row, flush=True)
    write_atomic(path.with_suffix(".md"), render(result))
    print(render(result))


def render(result: dict[str, Any]) -> str:
    """In per cent: what each step saves of the model alone, what each part that is left out adds to the
    whole, what lanes add to one."""
    rows = sorted(result["rows"], key=lambda r: (r["model"], r["file"], r["bytes"]))

    def table(base: str, heads: list[str], sign: int) -> str:
        lines = []
        for r in rows:
            sizes = r["sizes"]
            if base in sizes and any(name in sizes for name in heads):
                first = sizes[base]
                rates = [f"{sign * 100 * (sizes[n] / first - 1):.2f}" if n in sizes else "" for n in heads]
                known = [r["file"], r["model"], f"{r['bytes']:,}", f"{r['xz']:,}", f"{first:,.0f}"]
                lines.append([*known, *rates])
        label = f"in {base} lane" if base == "1" else base
        return markdown_table(["file", "model", "bytes", "xz -9e", label, *heads], lines)

    parts = [name for name in VARIANTS if name.startswith("no ")]
    steps = [name for name in VARIANTS if name not in (*parts, "model")]
    lanes = sorted({n for r in rows for n in r["sizes"] if n.isdigit()} - {"1"}, key=int)
    sections = [
        f"# The coding, part by part\n\n{result['machine']}. See bench/coding/ablation.py.",
        f"Per cent saved of what the model alone needs:\n\n{table('model', steps, -1)}",
        f"Per cent added to the whole when a part is left out:\n\n{table('whole', parts, 1)}",
        f"Per cent added to one lane by this many:\n\n{table('1', lanes, 1)}",
    ]
    return "\n\n".join(sections[: 4 if lanes else 3]) + "\n"


if __name__ == "__main__":
    main()
