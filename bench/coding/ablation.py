"""What each part of the ensemble is worth: sizes with it and without it, on the same rows of the model.

    python -m bench.coding.ablation FILE... [--head N] [--variants NAME ...] [--window N] [--out DIR]

Every file is one block. The model runs once; each variant codes the same rows. `alone` is the model
without predictors, and gains are in per cent against it; `full` is what an archive holds; `no X` is full
without X; `one set` mixes without contexts; `skip` answers whether the match model's token comes without the
model where the match is long (what a decoder that does not wait for the model would have to do), and the
share of tokens so coded is shown; `nacrith` is the ensemble that Nacrith published, as it is and without its
skip rule. Sizes are code lengths without an archive's framing; xz -9e is that of the same bytes.
"""

from __future__ import annotations

import argparse
import json
import lzma
from collections.abc import Callable
from math import log2
from pathlib import Path
from typing import Protocol

import numpy as np

from bench.coding.nacrith_ensemble import NacrithEnsemble
from bench.common import RESULTS, machine, markdown_table, write_atomic, write_json
from nacrith.codec import predictor_set
from nacrith.codec.text import strip_crlf
from nacrith.coder.cdf import TOTAL
from nacrith.models import load_model
from nacrith.predictors import registry
from nacrith.predictors.cascade import Cascade, Switches
from nacrith.predictors.prior import load
from nacrith.predictors.protocol import Ensemble, Logits
from nacrith.predictors.registry import SETS

CAPACITY = 1 << 16
SURE_LENGTH = 20
"""Tokens that a match must have for `skip`."""

_CHUNK = 256


class Variant(Protocol):
    def bits(self, row: Logits, token: int) -> float:
        """Code length of a token, which is then learnt."""
        ...


class Coded:
    """An ensemble of the package."""

    def __init__(self, ensemble: Ensemble) -> None:
        self.ensemble = ensemble

    def bits(self, row: Logits, token: int) -> float:
        size = log2(TOTAL / float(self.ensemble.counts(row)[token]))
        self.ensemble.update(token)
        return size


class Published:
    """Nacrith's, with the 24-bit counts it codes by."""

    def __init__(self, ensemble: NacrithEnsemble, vocab_size: int) -> None:
        self.ensemble = ensemble
        self.vocab_size = vocab_size

    def bits(self, row: Logits, token: int) -> float:
        p = float(self.ensemble.probabilities(row)[token])
        self.ensemble.update(token)
        return -log2((int(p * (TOTAL - self.vocab_size)) + 1) / TOTAL)


class OneSet(Cascade):
    """Mixes without contexts."""

    def _ask(self, token: int, model: int, is_top: bool):  # type: ignore[no-untyped-def]
        question = super()._ask(token, model, is_top)
        question.sets = (0, 0, 0)
        question.mixed = self.mixer.mix(question.opinions, question.sets)
        return question


class Skip(Cascade):
    """Long matches are asked about first, and without the model's opinion."""

    tokens = skipped = 0

    def _candidates(self, top: int) -> list[int]:
        tokens = super()._candidates(top)
        if self.match.length >= SURE_LENGTH and self.match.token is not None:
            tokens = [self.match.token, *(t for t in tokens if t != self.match.token)]
        return tokens

    def _ask(self, token: int, model: int, is_top: bool):  # type: ignore[no-untyped-def]
        first = not self._questions and self.match.length >= SURE_LENGTH
        question = super()._ask(token, 0 if first else model, is_top and not first)
        self._sure = first or (bool(self._questions) and self._sure)
        return question

    def update(self, token: int, lane: int = 0) -> None:
        self.tokens += 1
        self.skipped += self._sure and self._questions[0].token == token
        super().update(token, lane)


def variants(vocab: int, number: int) -> dict[str, Callable[[], Variant]]:
    """number: the set of predictors that archives hold."""
    prior = load(SETS[number].prior)

    def cascade(**off: bool) -> Callable[[], Variant]:
        return lambda: Coded(Cascade(vocab, CAPACITY, prior, Switches(**off)))

    return {
        "alone": lambda: Coded(registry.make(0, vocab, CAPACITY, (0,))),
        "full": lambda: Coded(registry.make(number, vocab, CAPACITY, (0,))),
        "no bias": cascade(bias=False),
        "no n-grams": cascade(ngram=False),
        "no match": cascade(match=False),
        "no correction": cascade(correction=False),
        "one set": lambda: Coded(OneSet(vocab, CAPACITY, prior)),
        "skip": lambda: Coded(Skip(vocab, CAPACITY, prior)),
        "nacrith": lambda: Published(NacrithEnsemble(vocab, skip=True), vocab),
        "nacrith, no skip": lambda: Published(NacrithEnsemble(vocab, skip=False), vocab),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="what each part of the ensemble is worth")
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--head", type=int)
    parser.add_argument("--window", type=int, help="default: the model's longest, up to 2048")
    parser.add_argument("--variants", nargs="+")
    parser.add_argument("--model")
    parser.add_argument("--out", type=Path, default=RESULTS)
    args = parser.parse_args()
    model = load_model(args.model)
    window = args.window or min(2048, model.max_context)
    makers = variants(model.vocab_size, predictor_set(model))
    chosen = list(dict.fromkeys(["alone", "full", *(args.variants or makers)]))
    path = args.out / "ablation.json"
    result = json.loads(path.read_text()) if path.exists() else {"machine": machine(), "rows": []}
    for file in args.files:
        content = file.read_bytes()[: args.head]
        name = "/".join(file.parts[-2:])
        data, _ = strip_crlf(content)
        ids = list(model.tokenizer.encode(data))
        session = model.session(1, window)
        running = {key: makers[key]() for key in chosen}
        bits = dict.fromkeys(chosen, 0.0)
        inputs = [model.bos_id, *ids]
        for begin in range(0, len(ids), _CHUNK):
            rows = session.extend([inputs[begin : min(begin + _CHUNK, len(ids))]])[0]
            for key, variant in running.items():
                bits[key] += sum(
                    variant.bits(np.asarray(r), t) for r, t in zip(rows, ids[begin:], strict=False)
                )
        row = {
            "file": name,
            "bytes": len(content),
            "tokens": len(ids),
            "window": window,
            "model": model.name,
            "xz": len(lzma.compress(content, preset=9 | lzma.PRESET_EXTREME)),
            "sizes": {key: round(value / 8, 1) for key, value in bits.items()},
        }
        if "skip" in running:
            skip = running["skip"].ensemble  # type: ignore[attr-defined]
            row["skipped"] = round(skip.skipped / max(1, skip.tokens), 4)
        same = ("file", "bytes", "window", "model")
        old = next((r for r in result["rows"] if all(r[k] == row[k] for k in same)), None)
        if old:
            row = old | row | {"sizes": old["sizes"] | row["sizes"]}
            result["rows"].remove(old)
        result["rows"].append(row)
        write_json(path, result)
        print(
            name,
            {k: f"{100 * (1 - v / row['sizes']['alone']):.2f}%" for k, v in row["sizes"].items()},
            flush=True,
        )
    write_atomic(path.with_suffix(".md"), render(result))
    print(render(result))


def render(result: dict) -> str:  # type: ignore[type-arg]
    """One line a file: bytes for the model alone, then the gain of each variant in per cent."""
    rows = sorted(result["rows"], key=lambda r: r["file"])
    names = list(dict.fromkeys(k for r in rows for k in r["sizes"] if k != "alone"))
    table = []
    for r in rows:
        alone = r["sizes"]["alone"]
        gains = [f"{100 * (1 - r['sizes'][k] / alone):.2f}" if k in r["sizes"] else "" for k in names]
        skipped = f"{100 * r['skipped']:.1f}" if "skipped" in r else ""
        table.append([r["file"], f"{r['bytes']:,}", f"{r['xz']:,}", f"{alone:,.0f}", *gains, skipped])
    heads = ["file", "bytes", "xz -9e", "alone", *names, "skipped, % of tokens"]
    return (
        f"# The ensemble, part by part\n\n{result['machine']}. Model alone in bytes, then the per cent that"
        f" each variant saves of it. See bench/coding/ablation.py.\n\n{markdown_table(heads, table)}\n"
    )


if __name__ == "__main__":
    main()
