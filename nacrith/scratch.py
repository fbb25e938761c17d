"""Working memory that is used again and again.

numpy gives every temporary fresh pages from the system once it is larger than a few hundred KB, and
touching them costs more than the arithmetic. `empty` hands out one buffer per thread and purpose.
"""

from __future__ import annotations

import math
import sys
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


class Recycled:
    """Arrays that others keep as long as they like, and whose memory is used again afterwards.

    An array counts as free when only this object refers to its memory: numpy makes every view refer to the
    array that owns the memory. Not for several threads at once.
    """

    _KEPT = 3  # the consumer may be a call behind

    def __init__(self) -> None:
        self._owners: list[np.ndarray] = []

    def empty(self, shape: tuple[int, ...], dtype: np.dtype | type) -> np.ndarray:
        """An uninitialised array that begins with a cache line."""
        size = math.prod(shape) * np.dtype(dtype).itemsize
        at = next((n for n in range(len(self._owners)) if self._free(n, size)), None)
        if at is None:
            self._owners = [*self._owners[1 - self._KEPT :], np.empty(size + _LINE, np.uint8)]
            at = len(self._owners) - 1
        begin = -self._owners[at].ctypes.data % _LINE
        return self._owners[at][begin : begin + size].view(dtype).reshape(shape)

    def _free(self, n: int, size: int) -> bool:
        spare = self._owners[n].size - _LINE - size
        return _references(self._owners, n) == _ALONE and 0 <= spare <= max(size, _SMALL)


def _references(arrays: list[np.ndarray], n: int) -> int:
    return sys.getrefcount(arrays[n])


_ALONE = _references([np.empty(1, np.uint8)], 0)
"""References of an array that only its list has: interpreters count those of a call differently."""

_LINE = 64
_SMALL = 1 << 20
"""Bytes that are not worth giving back."""
