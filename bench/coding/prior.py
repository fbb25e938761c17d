"""Fits the prior of a set of predictors: what the tables beside a model say before they have seen anything.

    python -m bench.coding.prior SHARD.jsonl.xz [--documents 4] [--bytes 16000] [--out FILE] [--model M]

SHARD: lines of {"text", "source", "kind"} (see the training corpus). Of every kind the first documents
that are long enough are coded one after the other, the first from `formula()`, each further one
with the tables that the one before left; n-grams and bias start anew each time. The last tables are
the prior: probabilities as they are, confidence limited, weights as the mean over all documents.
"""

from __future__ import annotations

import argparse
import json
import lzma
from collections import defaultdict
from collections.abc import Iterator
from math import log2
from pathlib import Path

import numpy as np

from nacrith.models import load_model
from nacrith.models.protocol import LanguageModel
from nacrith.predictors import match, ngram
from nacrith.predictors.cascade import Cascade
from nacrith.predictors.fixed import UNIT, squash
from nacrith.predictors.mixer import BUCKETS, WEIGHT_BITS
from nacrith.predictors.prior import CONTEXTS, OPINIONS, SETS, Prior, Table
from nacrith.predictors.statemap import BITS, StateMap

CONFIDENCE = 30
"""Most observations that a state of the prior counts as: a document that differs must be able to say so."""

_CHUNK = 256


def formula() -> Prior:
    """By rule: counts as plain frequencies, the model's opinion alone, no correction."""
    # the classes' counts, in twentieths
    few, many = (0, 20, 40, 70, 120, 240), (0, 20, 40, 80, 180, 480)
    counts = [
        min((a + 1) * 65536 // (a + b + (26 if a == 0 else 6)), 64000)
        for a in few
        for b in many
        for _ in range(4)
    ]
    orders = [(counts, [2] * ngram.STATES)] * ngram.ORDERS
    matches = ([45875] * match.STATES, [2] * match.STATES)
    model = [(1 << WEIGHT_BITS) // len(SETS), *[0] * (OPINIONS - 1)]
    edges = [min(squash((i - BUCKETS // 2) * UNIT) >> 8, 65535) for i in range(BUCKETS)]
    corrections = [(edges * n, [6] * (BUCKETS * n)) for n in CONTEXTS]
    return Prior([*orders, matches], [[model] * n for n in SETS], corrections)


def documents(shard: Path, of_each: int, size: int) -> Iterator[tuple[str, str]]:
    """(kind, text) in the order of the shard, so that kinds take turns."""
    taken: dict[str, int] = defaultdict(int)
    with lzma.open(shard, "rt", encoding="utf-8") as lines:
        for line in lines:
            record = json.loads(line)
            if len(record["text"]) >= size and taken[record["kind"]] < of_each:
                taken[record["kind"]] += 1
                yield record["kind"], record["text"][:size]
            if taken and min(taken.values()) == of_each and len(taken) == 7:
                return


def code(model: LanguageModel, text: str, prior: Prior) -> tuple[Cascade, float]:
    """An ensemble that has coded `text` from this prior, and the bytes that it took."""
    ids = list(model.tokenizer.encode(text.encode()))
    session = model.session(1, min(2048, model.max_context))
    ensemble = Cascade(model.vocab_size, 1 << 16, prior, [len(ids)])
    bits = 0.0
    inputs = [model.bos_id, *ids]
    for begin in range(0, len(ids), _CHUNK):
        rows = session.extend([inputs[begin : min(begin + _CHUNK, len(ids))]])[0]
        for row, token in zip(rows, ids[begin:], strict=False):
            bits += 24 - log2(ensemble.counts(row)[token])
            ensemble.update(token)
    return ensemble, bits / 8


def learnt(ensemble: Cascade, confidence: int) -> Prior:
    """The tables of an ensemble."""

    def table(states: StateMap) -> Table:
        return [p >> (BITS - 16) for p in states.p], [min(n, confidence) for n in states.n]

    maps = [table(states) for states in ensemble.maps]
    corrections = [table(correction.states) for correction in ensemble.corrections]
    return Prior(maps, [[list(w) for w in t] for t in ensemble.mixer.tables], corrections)


def main() -> None:
    parser = argparse.ArgumentParser(description="fit the prior of a set of predictors")
    parser.add_argument("shard", type=Path)
    parser.add_argument("--documents", type=int, default=4, help="of each kind")
    parser.add_argument("--bytes", type=int, default=16000, help="of each document")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--model")
    args = parser.parse_args()
    model = load_model(args.model)
    prior, weights = formula(), []
    for kind, text in documents(args.shard, args.documents, args.bytes):
        ensemble, size = code(model, text, prior)
        prior = learnt(ensemble, 255)
        weights.append([np.array(table, np.float64) for table in prior.weights])
        print(f"{kind:14} {len(text.encode()):7} to {size:9.1f}", flush=True)
    means = [
        np.rint(sum(tables) / len(weights)).astype(int).tolist() for tables in zip(*weights, strict=True)
    ]
    final = learnt(ensemble, CONFIDENCE)
    args.out.write_bytes(Prior(final.maps, means, final.corrections).to_bytes())


if __name__ == "__main__":
    main()
