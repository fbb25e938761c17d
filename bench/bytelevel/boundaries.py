"""Prompts that end inside a word: what the next byte costs, by three ways to go on from there.

    python -m bench.bytelevel.boundaries FILE... [--words N] [--model M]

Words of the files, with the text before them, are cut at each of their inner bytes. `exact` is the byte
model; `naive` encodes the prompt and takes the model's next token; `healed` takes back the last token, and
admits only tokens that begin with its bytes (one-token healing, as of transformers and guidance).
"""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from bench.common import markdown_table
from nacrith.bytelevel import ByteModel
from nacrith.bytelevel.covering import Node
from nacrith.bytelevel.rows import F64, Row
from nacrith.models import load_model

CONTEXT = 400  # bytes before a word


def first_bytes(model: ByteModel, row: Row, prefix: bytes) -> tuple[F64, float]:
    """(weights (256,) of tokens by their byte after `prefix`, weight of the tokens that are `prefix`)."""
    vocabulary = model.rules.alphabet.vocabulary
    node = vocabulary.find(prefix)
    starts = row.sums[vocabulary.boundaries(node)]
    whole = row.between(node.lo, node.lo + vocabulary.ending(node)) if prefix else 0.0
    return np.diff(starts), whole


def unmasked(model: ByteModel, nodes: list[Node]) -> dict[Node, Row]:
    """The rows of nodes without the validity mask, which neither of the other ways knows."""
    tokens, parents = [model.model.bos_id], [-1]
    places: dict[Node, int] = {}

    def place(node: Node) -> int:
        if node.parent is None:
            return 0
        if node not in places:
            above = place(node.parent)
            for token in model.rules.alphabet.ids_of(node.rank):
                tokens.append(token)
                parents.append(above)
                above = len(tokens) - 1
            places[node] = above
        return places[node]

    found = [(node, place(node)) for node in nodes]
    rows = model.model.session().extend_tree([tokens], [parents])[0]
    everything = np.ones(model.rules.alphabet.size, np.bool_)
    return {node: Row(*_weights(model, rows[at], everything)) for node, at in found}


def _weights(model: ByteModel, row: np.ndarray, allowed: np.ndarray) -> tuple[F64, np.ndarray, float]:
    weights, stop = model.rules.alphabet.weights(row)
    return weights, allowed, stop


def costs(model: ByteModel, before: bytes, word: bytes) -> Iterator[tuple[float, float, float]]:
    """(exact, naive, healed) bits of the next byte at each cut inside `word`."""
    state = model.start()
    state.extend(before + word[:1])
    exact = state.fork().distributions(word[1:])
    nodes: list[Node] = []
    for byte in word[1:]:
        nodes.append(state.encoded())
        state.push(byte)
    rows = unmasked(model, [*nodes, *(n.parent for n in nodes if n.parent)])
    for i, node in enumerate(nodes):
        byte = word[i + 1]
        plain, _ = first_bytes(model, rows[node], b"")
        naive = plain / plain.sum()
        assert node.parent is not None
        longer, whole = first_bytes(model, rows[node.parent], model.rules.alphabet.token_bytes(node.rank))
        healed = (longer + whole * naive) / (longer.sum() + whole)
        yield tuple(-math.log2(max(float(p[byte]), 2.0**-40)) for p in (exact[i], naive, healed))  # type: ignore[misc]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--words", type=int, default=200)
    parser.add_argument("--model")
    options = parser.parse_args()
    model = ByteModel(load_model(options.model))
    places = []
    for path in options.files:
        data = path.read_bytes()
        found = [m for m in re.finditer(rb"(?<= )[A-Za-z]{4,}", data) if m.start() >= CONTEXT]
        places += [(data[m.start() - CONTEXT : m.start()], m.group()) for m in found]
    step = max(1, len(places) // options.words)
    chosen = places[::step][: options.words]
    every = np.array([c for before, word in chosen for c in costs(model, before, word)])
    mean = every.mean(axis=0)
    names = ("exact", "naive", "healed")
    rows = [[n, f"{m:.3f}", f"{100 * (m / mean[1] - 1):+.1f} %"] for n, m in zip(names, mean, strict=True)]
    print(f"{len(chosen)} words, {len(every)} cuts, {model.model.name}")
    print(markdown_table(["way", "bits of the next byte", "against naive"], rows))


if __name__ == "__main__":
    main()
