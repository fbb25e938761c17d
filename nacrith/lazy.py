"""Attributes that are computed when they are first read, safely across fork.

`functools.cached_property` of Python 3.11 holds a lock of its class while it computes. A process that forks
while another thread computes inherits the lock locked, with no thread left to release it, so the child hangs
on every object of that class. Here a forked child begins with locks of its own.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Any, Generic, TypeVar, overload

Value = TypeVar("Value")

_ALL: list[lazy[Any]] = []


class lazy(Generic[Value]):  # noqa: N801 - a decorator, as property is
    """A method whose result becomes an attribute of the instance. Computed by one thread at a time."""

    def __init__(self, compute: Callable[[Any], Value]) -> None:
        self._compute = compute
        self._name = compute.__name__
        self.__doc__ = compute.__doc__
        self.renew_lock()
        _ALL.append(self)

    def renew_lock(self) -> None:
        self._lock = threading.RLock()

    @overload
    def __get__(self, instance: None, owner: type) -> lazy[Value]: ...
    @overload
    def __get__(self, instance: object, owner: type) -> Value: ...
    def __get__(self, instance: object | None, owner: type) -> lazy[Value] | Value:
        # Python asks only while the instance has no attribute of this name.
        if instance is None:
            return self
        with self._lock:
            values = instance.__dict__
            if self._name not in values:
                values[self._name] = self._compute(instance)
            value: Value = values[self._name]
            return value


def _renew_all() -> None:
    for one in _ALL:
        one.renew_lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_all)
