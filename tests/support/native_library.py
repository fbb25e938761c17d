"""The native library as the tests find it, its sets of kernels, and marks of the tests that need it."""

from __future__ import annotations

import pytest

from nacrith import native
from nacrith.errors import ModelError


def missing() -> str:
    """Why there is no native engine; "" if there is one."""
    try:
        native.load()
    except ModelError as error:
        return str(error)
    return ""


WHY = missing()
KERNELS = native.load().kernels() if not WHY else ["portable"]

needs_library = pytest.mark.skipif(bool(WHY), reason=WHY or "the library is there")
each_kernels = pytest.mark.parametrize("kernels", KERNELS)
