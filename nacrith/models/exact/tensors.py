"""Which tensors a model has, of which shape, and what may stand in them.

A model file may come from anywhere. So its table is compared with its configuration before anything is
read, and its floats are bounded before anything is computed: with scales and gains within the bound below no
row of any engine leaves the range of binary32, whatever the text. Beyond it there are infinities and NaNs,
of which engines would make different integers.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from nacrith.errors import ModelError
from nacrith.models.exact.config import ExactConfig
from nacrith.models.exact.ops import INT8_MAX
from nacrith.models.protocol import LOGIT_BITS

DTYPES: dict[str, np.dtype[Any]] = {
    "i8": np.dtype("<i1"),
    "f32": np.dtype("<f4"),
    "f64": np.dtype("<f8"),
    "u8": np.dtype("u1"),
}

Kind = tuple[str, tuple[int, ...]]
"""Of a tensor: its dtype by name, and its shape."""

Tensors = dict[str, np.ndarray]

_LARGEST = float(np.finfo(np.float32).max) / 16
"""Of any magnitude. A sixteenth: bounds below leave out the rounding of their terms."""


def check_table(config: ExactConfig, table: Mapping[str, Kind]) -> None:
    """ValueError unless these are the tensors of a model of this configuration, and no others."""
    for name in ("rope.coarse", "tokenizer"):
        if name not in table:
            raise ValueError(f"there is no tensor {name}")
    fixed = 6 if config.tied_head else 8
    if len(table) < fixed + 10 * config.layers:  # before a table of all that should be there is made
        missing = next(name for name, _ in _expected(config, 1, 0) if name not in table)
        raise ValueError(f"there is no tensor {missing}")
    coarse, tokenizer = table["rope.coarse"][1], table["tokenizer"][1]
    if len(coarse) != 3 or coarse[1] < 1 or len(tokenizer) != 1:
        raise ValueError("tensor rope.coarse or tokenizer has another shape than a model's")
    count = 0
    for name, kind in _expected(config, coarse[1], tokenizer[0]):
        if name not in table:
            raise ValueError(f"there is no tensor {name}")
        if table[name] != kind:
            raise ValueError(f"tensor {name} has another type or shape than the model's")
        count += 1
    if len(table) != count:
        raise ValueError("tensors that no model has")


def _expected(config: ExactConfig, coarse: int, tokenizer: int) -> Iterator[tuple[str, Kind]]:
    """Name and kind of every tensor. coarse: entries of the coarse rotation table; tokenizer: bytes."""
    width, half = config.width, config.head_dim // 2
    queries, keys = config.heads * config.head_dim, config.kv_heads * config.head_dim
    yield "final_norm", ("f32", (width,))
    yield "rope.fine", ("f64", (2, 256, half))
    yield "rope.coarse", ("f64", (2, coarse, half))
    yield "tokenizer", ("u8", (tokenizer,))
    yield from _matrix("embed", config.vocab, width)
    if not config.tied_head:
        yield from _matrix("head", config.vocab, width)
    for i in range(config.layers):
        yield from _matrix(f"layers.{i}.qkv", queries + 2 * keys, width)
        yield from _matrix(f"layers.{i}.o", width, queries)
        yield from _matrix(f"layers.{i}.mlp", 2 * config.ffn, width)
        yield from _matrix(f"layers.{i}.down", width, config.ffn)
        yield f"layers.{i}.attn_norm", ("f32", (width,))
        yield f"layers.{i}.mlp_norm", ("f32", (width,))


def _matrix(name: str, rows: int, columns: int) -> Iterator[tuple[str, Kind]]:
    yield f"{name}.q", ("i8", (rows, columns))
    yield f"{name}.s", ("f32", (rows,))


def check_values(config: ExactConfig, tensors: Tensors) -> None:
    """ModelError if a float is not finite, or so large that a row could leave binary32.

    A product of K columns with an input of magnitude m is at most K * 127 * m * scale, since quantisation
    keeps m; a normalised row is at most sqrt(width) * gain.
    """
    most = {n: _magnitude(n, t) for n, t in tensors.items() if t.dtype.kind == "f"}
    if max(most["rope.fine"], most["rope.coarse"]) > 1.001:
        raise ModelError("the rotation tables hold what is no cosine")
    root = math.sqrt(config.width)

    def product(name: str, columns: int, magnitude: float) -> float:
        """Also of the integer sum, which is scaled first by the row's scale."""
        return _finite(name, columns * INT8_MAX * most[f"{name}.s"] * max(magnitude, 1 << 14))

    x = _finite("embed", INT8_MAX * most["embed.s"])
    for i in range(config.layers):
        at = f"layers.{i}."
        qkv = product(at + "qkv", config.width, root * most[at + "attn_norm"])
        _finite(at + "qkv", 2 * config.head_dim * qkv * qkv)
        x += product(at + "o", config.heads * config.head_dim, qkv)
        gate = product(at + "mlp", config.width, root * most[at + "mlp_norm"])
        x += product(at + "down", config.ffn, _finite(at + "mlp", gate * gate))
        _finite(at + "down", x)
    head = "embed" if config.tied_head else "head"
    _finite(head, 2 * (1 << LOGIT_BITS) * product(head, config.width, root * most["final_norm"]))


def _magnitude(name: str, tensor: np.ndarray) -> float:
    largest = float(np.abs(tensor).max(initial=0.0))  # NaN if one is
    if not math.isfinite(largest):
        raise ModelError(f"tensor {name} holds values that are not finite")
    return largest


def _finite(name: str, bound: float) -> float:
    if not bound <= _LARGEST:
        raise ModelError(f"tensor {name} holds values so large that the model could not be computed")
    return bound
