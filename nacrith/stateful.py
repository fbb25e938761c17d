"""`Stateful`: the base class of objects that can be neither copied nor pickled.

A shallow copy would share a stream, a file position or a native handle with the original, and each would
corrupt the other's state. `copy`, `deepcopy` and `pickle` all call `__reduce_ex__`.
"""

from __future__ import annotations

from typing import NoReturn, SupportsIndex


class Stateful:
    """Base of classes whose objects cannot be copied."""

    __slots__ = ()

    def __reduce_ex__(self, protocol: SupportsIndex) -> NoReturn:
        name = type(self).__name__
        raise TypeError(f"cannot copy or pickle a {name}: it is in the middle of its work; make a new one")
