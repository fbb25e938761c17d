"""Hyper-parameters of an exact model: everything beside the tensors that changes an integer."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Protocol

from nacrith.arith import ARITHMETIC_VERSION
from nacrith.coder.cdf import MAX_SYMBOLS
from nacrith.errors import ModelError

SINKS = 4
"""Tokens at the start of a lane that stay visible for ever (attention sinks, Xiao et al. 2023)."""

MAX_CONTEXT = 1 << 17
"""Keys that attention can sum over exactly; see attention.py."""

MAX_SIZE = 1 << 20
"""Of every other dimension: far beyond any model, and far within the bounds of all sums."""

MAX_HEAD_DIM = 1040

MAX_POSITIONS = 1 << 31
"""Of the context that a source says it was made for, which may exceed what is used of it."""


class Shape(Protocol):
    """What a description says of a model's size, wherever it comes from."""

    @property
    def layers(self) -> int: ...
    @property
    def width(self) -> int: ...
    @property
    def heads(self) -> int: ...
    @property
    def kv_heads(self) -> int: ...
    @property
    def head_dim(self) -> int: ...
    @property
    def ffn(self) -> int: ...
    @property
    def max_context(self) -> int: ...
    @property
    def bos_id(self) -> int: ...
    @property
    def rms_eps(self) -> float: ...


def check_shape(shape: Shape) -> None:
    """ModelError unless a model of this shape can be run. Descriptions pass here before anything is
    allocated, read or computed for them."""
    sizes = (shape.layers, shape.width, shape.heads, shape.kv_heads, shape.head_dim, shape.ffn)
    others = (shape.max_context, shape.bos_id)
    if any(type(n) is not int for n in (*sizes, *others)) or type(shape.rms_eps) is not float:
        raise ModelError("model hyper-parameters are of the wrong type")
    if min(sizes) < 1 or max(sizes) > MAX_SIZE or not 0 <= shape.bos_id < MAX_SYMBOLS:
        raise ModelError("model hyper-parameters are out of range")
    if not (shape.max_context >= 16 and 0 < shape.rms_eps < 1):
        raise ModelError("model hyper-parameters are out of range")
    if shape.heads % shape.kv_heads or shape.head_dim % 2 or shape.head_dim > MAX_HEAD_DIM:
        raise ModelError(
            "unsupported attention shape: heads must be a multiple of key/value heads, and their size even"
            f" and at most {MAX_HEAD_DIM}"
        )


def whole(value: object, most: int = MAX_SIZE, least: int = 1) -> int:
    """A number of a description; ValueError unless it is an integer within these bounds."""
    if type(value) is not int or not least <= value <= most:
        raise ValueError(f"{value!r:.60} is not an integer from {least} to {most}")
    return value


def real(value: object, least: float = 1e-30, most: float = 1e12) -> float:
    """Likewise of a number that may be a fraction."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
        raise ValueError(f"{value!r:.60} is not a number from {least:g} to {most:g}")
    return float(value)


@dataclass(frozen=True)
class ExactConfig:
    """Shapes and constants of a Llama-architecture model in arithmetic version 1.

    act_limits: largest magnitude of the quantised input of each kind of projection: attention's q, k, v
        ("qkv"), its output ("o"), gate and up ("mlp"), "down", and the output "head". 127 is one int8
        plane in a native engine; larger limits need two, at no cost in memory traffic.
    """

    layers: int
    width: int
    heads: int
    kv_heads: int
    head_dim: int
    ffn: int
    vocab: int
    max_context: int
    bos_id: int
    rms_eps: float
    tied_head: bool
    act_limits: dict[str, int]
    arithmetic: int = ARITHMETIC_VERSION

    def __post_init__(self) -> None:
        check_shape(self)
        if type(self.vocab) is not int:
            raise ModelError("model hyper-parameters are of the wrong type")
        if not 2 <= self.vocab <= MAX_SYMBOLS or self.max_context > MAX_CONTEXT:
            raise ModelError("model hyper-parameters are out of range")
        if not 0 <= self.bos_id < self.vocab:
            raise ModelError("the model's start token lies outside its vocabulary")
        if self.arithmetic != ARITHMETIC_VERSION:
            raise ModelError(
                f"the model uses arithmetic version {self.arithmetic}; this nacrith knows"
                f" version {ARITHMETIC_VERSION}: convert the model again, or update nacrith"
            )
        kinds = {"qkv", "o", "mlp", "down", "head"}
        limits = self.act_limits
        if set(limits) != kinds or any(type(v) is not int or not 1 <= v <= 16383 for v in limits.values()):
            raise ModelError("model file names wrong activation limits")

    def to_json(self) -> dict[str, object]:
        return asdict(self)

    @classmethod
    def from_json(cls, fields: dict[str, object]) -> ExactConfig:
        try:
            return cls(**fields)  # type: ignore[arg-type]
        except TypeError as error:
            raise ModelError(f"model hyper-parameters do not fit: {error}") from None


def canonical_json(value: object) -> bytes:
    """One byte string for equal values: sorted keys, no spaces, shortest floats, ASCII."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()
