"""Dequantising the tensors of GGUF files: the plain types here, every other with the package `gguf`.

A quantised row is a sequence of blocks of 32 values. A block begins with its scale d (and, in Q4_1, its
minimum m) in float16; then come 32 bytes (Q8_0), or 16 with the values 0 to 15 in the low and 16 to 31 in the
high halves. The floats are those of `gguf.dequantize`, bit for bit: the products and sums are single IEEE
operations. Reference: ggml's `dequantize_row_*`, github.com/ggml-org/ggml, src/ggml-quants.c.
"""

from __future__ import annotations

import importlib.util
from typing import Any

import numpy as np
import numpy.typing as npt

from nacrith.arith import F32
from nacrith.errors import ModelError

F32_KIND, _F16, _Q4_0, _Q4_1, _Q8_0 = 0, 1, 2, 3, 8
"""Numbers of ggml_type."""

_BLOCK = 32  # values
_BYTES = {F32_KIND: (1, 4), _F16: (1, 2), _Q4_0: (_BLOCK, 18), _Q4_1: (_BLOCK, 20), _Q8_0: (_BLOCK, 34)}
"""Values and bytes of a block of each type that is read here."""


def byte_shape(shape: tuple[int, ...], kind: int) -> tuple[int, ...]:
    """The shape of a tensor in bytes. ValueError if its rows are not whole blocks, or for no type; ModelError
    if it takes the package `gguf`, which is not installed."""
    shape = shape or (1,)
    if kind not in _BYTES:
        gguf = _package(kind)
        found: tuple[int, ...] = gguf.quant_shape_to_byte_shape(shape, gguf.GGMLQuantizationType(kind))
        return found
    values, size = _BYTES[kind]
    if shape[-1] % values:
        raise ValueError(f"rows of {shape[-1]} values are not blocks of {values}")
    return (*shape[:-1], shape[-1] // values * size)


def dequantise(data: npt.NDArray[np.uint8], kind: int) -> F32:
    """The values of a tensor. data: uint8 in the shape of `byte_shape`; returns the same number of axes."""
    if kind == F32_KIND:
        return np.asarray(data.view("<f4"), np.float32)
    if kind == _F16:
        return data.view("<f2").astype(np.float32)
    if kind not in _BYTES:
        gguf = _package(kind)
        return np.asarray(gguf.dequantize(data, gguf.GGMLQuantizationType(kind)), np.float32)
    blocks = data.reshape(-1, _BYTES[kind][1])
    with np.errstate(invalid="ignore"):  # conversion refuses what is not finite
        values = _values(blocks, kind)
    return values.reshape(*data.shape[:-1], -1)


def _values(blocks: npt.NDArray[np.uint8], kind: int) -> F32:
    """(n, 32) values of (n, bytes) blocks."""
    scale = blocks[:, :2].copy().view("<f2").astype(np.float32)
    if kind == _Q8_0:
        return scale * blocks[:, 2:].view(np.int8).astype(np.float32)
    if kind == _Q4_0:
        return scale * (_halves(blocks[:, 2:]).astype(np.int8) - np.int8(8)).astype(np.float32)
    least = blocks[:, 2:4].copy().view("<f2").astype(np.float32)
    return scale * _halves(blocks[:, 4:]).astype(np.float32) + least


def _halves(packed: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """(n, 32) numbers of four bits out of (n, 16) bytes."""
    return np.concatenate([packed & 15, packed >> 4], axis=1)


def _package(kind: int) -> Any:
    if importlib.util.find_spec("gguf") is None:
        raise ModelError(
            f"its type {kind} takes the package gguf to be read; run: pip install 'nacrith[gguf]'"
        )
    import gguf

    return gguf
