"""Loading the file of the native library, checking it against `abi`, and turning error codes into exceptions.

`engine` and `learner` pass pointers to the library, each taken from an array whose type, layout and size were
checked first. ctypes releases the GIL during a call.
"""

from __future__ import annotations

import ctypes
import os
import weakref
from collections.abc import Callable
from pathlib import Path

import numpy as np

from nacrith.errors import CorruptError, ModelError
from nacrith.native import abi


class Library:
    """The loaded library, whose functions are attributes of `c`. ModelError if the file does not match this
    package."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self.c = ctypes.CDLL(str(path))
        except OSError as error:
            raise ModelError(
                f"{path}: cannot load the native engine: {error}; install nacrith again"
            ) from None
        for name, (result, arguments) in abi.SIGNATURES.items():
            try:
                function = getattr(self.c, name)
            except AttributeError:
                raise ModelError(f"{path}: not nacrith's native library; install nacrith again") from None
            function.restype, function.argtypes = result, arguments
            if name == "nacrith_abi_version" and function() != abi.VERSION:
                raise ModelError(
                    f"{path}: the native library has interface version {function()}, not {abi.VERSION};"
                    " install nacrith again"
                )

    def sources(self) -> str:
        """The `loader.fingerprint` of the sources from which the library was built."""
        found: bytes = self.c.nacrith_sources()
        return found.decode()

    def kernels(self) -> list[str]:
        """The names of the kernel sets that this processor supports, best first."""
        names: list[str] = []
        while name := self.c.nacrith_kernels(len(names)):
            names.append(name.decode())
        return names

    def destroy(self, handle: int) -> None:
        """Free an object."""
        self.c.nacrith_destroy(handle)

    def check(self, code: int) -> None:
        """Raise the exception for the result code of a function."""
        if code == 0:
            return
        why = self.c.nacrith_last_error().decode(errors="replace")
        if code == abi.ARGUMENT:
            raise ValueError(why)
        if code == abi.MEMORY:
            raise MemoryError(f"native engine: {why}")
        if code == abi.DATA:
            raise CorruptError(f"the coded data is damaged: {why}")
        if code == abi.MODEL:
            raise ModelError(f"{why}; convert or fetch the model again")
        raise RuntimeError(f"native engine: {why}")


def payload_of(library: Library, finish: Callable[..., int], handle: int) -> bytes:
    """What a `finish` function of the library gives, which is asked for its length first."""
    size = ctypes.c_int64()
    library.check(finish(handle, None, 0, ctypes.byref(size)))
    payload = ctypes.create_string_buffer(size.value)
    library.check(finish(handle, payload, size.value, ctypes.byref(size)))
    return payload.raw[: size.value]


def expect(*arrays: tuple[np.ndarray, type]) -> None:
    """ValueError unless each array has the given type and is contiguous."""
    for array, dtype in arrays:
        if array.dtype != dtype or not array.flags.c_contiguous:
            raise ValueError(f"expected a contiguous array of {np.dtype(dtype)}, not {array.dtype}")


def value(handle: abi.Handle) -> int:
    """The value that a successful create function has stored in `handle`."""
    assert handle.value is not None
    return handle.value


def release_with(owner: object, library: Library, handle: int, *kept: object) -> None:
    """Destroy `handle` when `owner` is collected, and keep `kept` alive until then. A forked child does not
    destroy it: a thread that the child lacks may have been modifying the object at the time of the fork."""
    weakref.finalize(owner, _release, library, handle, os.getpid(), kept)


def _release(library: Library, handle: int, process: int, kept: object) -> None:
    if os.getpid() == process:
        library.destroy(handle)
