"""The same model in another basis, in which its activations round to bytes with little loss.

The residual stream of a language model has a few channels with values far larger than the others, and a row
is rounded in steps of its largest value. An orthogonal rotation spreads them over all channels (QuaRot,
Ashkboos et al. 2024; SpinQuant, Liu et al. 2024). RMSNorm commutes with it once its gain is in the matrices
that follow. So it costs nothing at run time: it is multiplied into the embedding, into all matrices that read
the stream or write to it, and into the head, which is then another matrix than the embedding. The values of
each head are rotated too, and back in the output projection.

The input of the down projection stays as it was, with large values in changing places, so its limit remains
that of 10 bits (LIMITS).

All products are those of `hadamard.rotate` or elementwise, so every machine makes the same weights.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from nacrith.arith import F32
from nacrith.errors import ModelError
from nacrith.models.exact import conversion, hadamard
from nacrith.models.exact.conversion import LlamaSource

LIMITS = conversion.act_limits(8, down=10)
"""The limits of activations for which a model is rotated."""

_GAINS = {"self_attn": "input_layernorm", "mlp": "post_attention_layernorm"}
_WRITERS = ("o_proj", "down_proj")

_LEAST = 4
"""Least order of the rotation: smaller ones spread nothing."""


def rotated(source: LlamaSource) -> LlamaSource:
    """The model of `source` after the rotation. ModelError if there is none for its shape.

    Where no Hadamard matrix of the whole width is known, blocks of the width are rotated.
    """
    for size, what in ((source.width, "width"), (source.head_dim, "head size")):
        if hadamard.order(size) < _LEAST:
            raise ModelError(
                f"a model of {what} {size} cannot be converted with activations of 8 bits, since {size} is"
                f" not a multiple of {_LEAST}: convert it with 10 bits"
            )
    return dataclasses.replace(source, tensor=lambda name: _tensor(source, name))


def _tensor(source: LlamaSource, name: str) -> F32:
    width, head_dim = source.width, source.head_dim
    if name == "embed_tokens":
        return hadamard.rotate(_matrix(source, name, width), width)
    if name == "lm_head":
        try:
            head = _matrix(source, name, width)
        except KeyError:
            head = _matrix(source, "embed_tokens", width)
        return hadamard.rotate(head * _raw(source, "norm"), width)
    if name == "norm" or name.endswith("layernorm"):
        return np.ones_like(_raw(source, name))
    at, part, kind = name.rsplit(".", 2)
    if kind in _WRITERS:
        w = _raw(source, name)
        if len(w) != width or w.ndim != 2:
            return w  # the conversion says what is wrong
        if kind == "o_proj" and w.shape[1] % head_dim == 0:
            w = hadamard.rotate(w, head_dim)
        return _of_columns(w, width)
    w = hadamard.rotate(_matrix(source, name, width) * _raw(source, f"{at}.{_GAINS[part]}"), width)
    return _of_columns(w, head_dim) if kind == "v_proj" and len(w) % head_dim == 0 else w


def _raw(source: LlamaSource, name: str) -> F32:
    return np.asarray(source.tensor(name), dtype=np.float32)


def _matrix(source: LlamaSource, name: str, columns: int) -> F32:
    w = _raw(source, name)
    if w.ndim != 2 or w.shape[1] != columns:
        raise ModelError(f"tensor {name} has shape {w.shape}, not rows of {columns}")
    return w


def _of_columns(w: F32, size: int) -> F32:
    return np.ascontiguousarray(hadamard.rotate(np.ascontiguousarray(w.T), size).T)
