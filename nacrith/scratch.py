"""Working memory that is used again and again.

numpy gives every temporary fresh pages from the system once it is larger than a few hundred KB, and
touching them costs more than the arithmetic. `empty` hands out one buffer per thread and purpose.
"""

from __future__ import annotations

import math
import threading

import numpy as np

_local = threading.local()


def empty(purpose: str, *shape: int) -> np.ndarray:
    """An uninitialised float32 array, valid until this thread asks for the same purpose again."""
    buffers: dict[str, np.ndarray] = _local.__dict__
    size = math.prod(shape)
    buffer = buffers.get(purpose)
    if buffer is None or buffer.size < size:
        buffer = buffers[purpose] = np.empty(size + size // 4, np.float32)
    return buffer[:size].reshape(shape)


def constant(value: np.float32, *shape: int) -> np.ndarray:
    """A read-only float32 array that holds `value` everywhere, likewise."""
    buffers: dict[object, np.ndarray] = _local.__dict__.setdefault("constants", {})
    size = math.prod(shape)
    buffer = buffers.get(value)
    if buffer is None or buffer.size < size:
        buffer = buffers[value] = np.full(size + size // 4, value, np.float32)
        buffer.flags.writeable = False
    return buffer[:size].reshape(shape)
