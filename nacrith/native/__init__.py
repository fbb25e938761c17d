"""The binding to the native library (codecs/nacrith.h) through ctypes.

`abi` describes the header, `library` loads and checks a file, and `loader` finds the file to use; `engine`
and `learner` wrap the functions of one part of codecs/ each. Nothing here depends on models or predictors,
which pass numbers, bytes and arrays.
"""

from nacrith.native.library import Library, release_with
from nacrith.native.loader import load

__all__ = ["Library", "load", "release_with"]
