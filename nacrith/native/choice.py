"""Whether what has a native form and one in Python runs natively, by what NACRITH_ENGINE asks for."""

from __future__ import annotations

from nacrith import settings
from nacrith.errors import ModelError
from nacrith.native.library import Library
from nacrith.native.loader import load


def checked(library: Library, kernels: str | None) -> str | None:
    """`kernels`, if this processor has them or none are named."""
    there = library.kernels()
    if kernels is not None and kernels not in there:
        raise ModelError(
            f"NACRITH_ENGINE=native:{kernels}: there are no such kernels for this processor;"
            f" use {' or '.join(f'native:{k}' for k in there)}"
        )
    return kernels


def library() -> tuple[Library, str | None] | None:
    """The library, and the kernels named; None where Python is asked for, or is all there is."""
    name, kernels = settings.engine()
    if name == "numpy":
        return None
    try:
        found = load()
    except ModelError:
        if name == "native":
            raise
        return None
    return found, checked(found, kernels)
