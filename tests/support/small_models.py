"""Models for tests: the committed tiny one, and random ones of any shape."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy as np
from paths import TINY

from nacrith.models.exact import modelfile, rope
from nacrith.models.exact.config import ExactConfig
from nacrith.models.exact.modelfile import ModelFile
from nacrith.models.exact.numpy_engine import NumpyEngine, NumpySession
from nacrith.models.exact.ops import quantise

LIMITS = {"qkv": 511, "o": 511, "mlp": 511, "down": 511, "head": 511}


@cache
def tiny() -> ModelFile:
    return modelfile.read(TINY)


@cache
def engine(threads: int = 1) -> NumpyEngine:
    """The engine of the tiny model."""
    return NumpyEngine(tiny(), threads)


def tokens(count: int, *, vocab: int = 512, seed: int = 0) -> list[int]:
    """A repeatable token sequence: runs, repeats and noise."""
    rng = np.random.default_rng(seed)
    noise = rng.integers(0, vocab, count)
    back = np.arange(count) - rng.integers(1, 40, count)
    out = noise.tolist()
    for i in np.flatnonzero((rng.random(count) < 0.6) & (back >= 0)):
        out[i] = out[back[i]]
    return out


def random_model(
    *,
    layers: int = 1,
    heads: int = 2,
    kv_heads: int = 1,
    head_dim: int = 4,
    width: int = 8,
    ffn: int = 12,
    vocab: int = 20,
    tied: bool = True,
    limits: Mapping[str, int] = LIMITS,
    seed: int = 0,
    scale: float = 1.0,
) -> ModelFile:
    """A model in memory with normal weights, good for 4096 positions; it has no tokenizer."""
    rng = np.random.default_rng(seed)
    tensors: dict[str, np.ndarray] = {}

    def matrix(name: str, rows: int, columns: int) -> None:
        weights = rng.normal(0, scale, (rows, columns)).astype(np.float32)
        q, s = quantise(weights, 127)
        tensors[f"{name}.q"], tensors[f"{name}.s"] = q.astype(np.int8), s[:, 0]

    def gain() -> np.ndarray:
        return rng.normal(1, 0.3, width).astype(np.float32)

    matrix("embed", vocab, width)
    if not tied:
        matrix("head", vocab, width)
    for i in range(layers):
        matrix(f"layers.{i}.qkv", (heads + 2 * kv_heads) * head_dim, width)
        matrix(f"layers.{i}.o", width, heads * head_dim)
        matrix(f"layers.{i}.mlp", 2 * ffn, width)
        matrix(f"layers.{i}.down", width, ffn)
        tensors[f"layers.{i}.attn_norm"], tensors[f"layers.{i}.mlp_norm"] = gain(), gain()
    tensors["final_norm"] = gain()
    tables = rope.tables(rope.frequencies(head_dim // 2, 100.0), 4096)
    tensors["rope.fine"], tensors["rope.coarse"] = tables.fine, tables.coarse
    config = ExactConfig(
        layers=layers,
        width=width,
        heads=heads,
        kv_heads=kv_heads,
        head_dim=head_dim,
        ffn=ffn,
        vocab=vocab,
        max_context=64,
        bos_id=0,
        rms_eps=1e-5,
        tied_head=tied,
        act_limits=dict(limits),
    )
    return ModelFile(config, tensors, bytes(32), {}, Path("random"))


def feed(session: NumpySession, lane: int, ids: list[int], cuts: list[int]) -> np.ndarray:
    """Rows (len(ids), vocab) of one lane fed with ids[0:cuts[0]], ids[cuts[0]:cuts[1]], ..."""
    edges = [0, *sorted(cuts), len(ids)]
    lanes = len(session.lengths)
    rows = []
    for a, b in pairwise(edges):
        part: list[list[int]] = [[] for _ in range(lanes)]
        part[lane] = ids[a:b]
        rows.append(session.extend(part)[lane])
    return np.concatenate(rows)
