"""What NACRITH_BACKEND asks for, and what that means for parts that are native or Python and nothing else."""

from __future__ import annotations

import os

from nacrith.errors import ModelError
from nacrith.native.library import Library
from nacrith.native.loader import load

BACKENDS = ("native", "numpy", "torch")


def asked() -> tuple[str, str | None]:
    """The backend that is named, "" if none is, and the set of kernels of the native one if it is named."""
    found = os.environ.get("NACRITH_BACKEND") or ""
    name, colon, kernels = found.partition(":")
    if found and (name not in BACKENDS or (colon and name != "native")):
        raise ModelError(f"NACRITH_BACKEND={found}: there is no such backend; use native, numpy or torch")
    return name, kernels if colon else None


def checked(library: Library, kernels: str | None) -> str | None:
    """`kernels`, if this processor has them or none are named."""
    there = library.kernels()
    if kernels is not None and kernels not in there:
        raise ModelError(
            f"NACRITH_BACKEND=native:{kernels}: there are no such kernels for this processor;"
            f" use {' or '.join(f'native:{k}' for k in there)}"
        )
    return kernels


def library() -> tuple[Library, str | None] | None:
    """The library, and the kernels named; None where Python is asked for, or is all there is."""
    name, kernels = asked()
    if name == "numpy":
        return None
    try:
        found = load()
    except ModelError:
        if name == "native":
            raise
        return None
    return found, checked(found, kernels)
