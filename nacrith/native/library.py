"""A file that is the native library: opened, checked against `abi`, its error codes turned into exceptions.

Pointers cross the border in `engine` and `learner`, each made from an array whose type, layout and size were
checked first. ctypes releases the interpreter's lock during a call.
"""

from __future__ import annotations

import ctypes
import os
import weakref
from pathlib import Path

import numpy as np

from nacrith.errors import ModelError
from nacrith.native import abi


class Library:
    """The loaded library; its functions are attributes of `c`. ModelError if the file does not fit this
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
        """`loader.fingerprint` of the sources that the library was built from."""
        found: bytes = self.c.nacrith_sources()
        return found.decode()

    def kernels(self) -> list[str]:
        """Names of the sets of kernels that this processor runs, best first."""
        names: list[str] = []
        while name := self.c.nacrith_kernels(len(names)):
            names.append(name.decode())
        return names

    def destroy(self, handle: int) -> None:
        """Of an engine, session or ensemble."""
        self.c.nacrith_destroy(handle)

    def check(self, code: int) -> None:
        """Raises what a function's result says."""
        if code == 0:
            return
        why = self.c.nacrith_last_error().decode(errors="replace")
        if code == abi.ARGUMENT:
            raise ValueError(why)
        if code == abi.MEMORY:
            raise MemoryError(f"native engine: {why}")
        if code == abi.MODEL:
            raise ModelError(f"{why}; convert or fetch the model again")
        raise RuntimeError(f"native engine: {why}")


def expect(*arrays: tuple[np.ndarray, type]) -> None:
    """ValueError unless each array has this type and is contiguous."""
    for array, dtype in arrays:
        if array.dtype != dtype or not array.flags.c_contiguous:
            raise ValueError(f"expected a contiguous array of {np.dtype(dtype)}, not {array.dtype}")


def value(handle: abi.Handle) -> int:
    """What a create function that succeeded has set."""
    assert handle.value is not None
    return handle.value


def release_with(owner: object, library: Library, handle: int, *kept: object) -> None:
    """Destroys `handle` when `owner` goes, and keeps `kept` alive until then. Not in a forked child: a thread
    that it does not have may have been halfway through changing what would be freed."""
    weakref.finalize(owner, _release, library, handle, os.getpid(), kept)


def _release(library: Library, handle: int, process: int, kept: object) -> None:
    if os.getpid() == process:
        library.destroy(handle)
