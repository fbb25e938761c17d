"""Hyper-parameters of an exact model: everything beside the tensors that changes an integer."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from nacrith.arith import ARITHMETIC_VERSION
from nacrith.coder.cdf import MAX_SYMBOLS
from nacrith.errors import ModelError

SINKS = 4
"""Tokens at the start of a lane that stay visible for ever (attention sinks, Xiao et al. 2023)."""

MAX_CONTEXT = 1 << 17
"""Keys that attention can sum over exactly; see attention.py."""

MAX_SIZE = 1 << 20
"""Of every other dimension: far beyond any model, and far within the bounds of all sums."""


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
        sizes = (self.layers, self.width, self.heads, self.kv_heads, self.head_dim, self.ffn)
        others = (self.vocab, self.max_context, self.bos_id)
        if any(type(n) is not int for n in (*sizes, *others)) or type(self.rms_eps) is not float:
            raise ModelError("model hyper-parameters are of the wrong type")
        if min(sizes) < 1 or max(sizes) > MAX_SIZE or not 2 <= self.vocab <= MAX_SYMBOLS:
            raise ModelError("model hyper-parameters are out of range")
        if not (16 <= self.max_context <= MAX_CONTEXT and 0 < self.rms_eps < 1):
            raise ModelError("model hyper-parameters are out of range")
        if self.heads % self.kv_heads or self.head_dim % 2 or self.head_dim > 1040:
            raise ModelError("unsupported attention shape: heads must be a multiple of key/value heads")
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
