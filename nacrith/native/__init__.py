"""The native library (codecs/nacrith.h) by ctypes: found, checked, and its errors turned into ours.

`abi` is the header in ctypes, `library` a file that keeps to it, `loader` finds the one to use; `engine` and
`learner` are the calls of a part of codecs/ each. Nothing here knows models or predictors: these hand down
numbers, bytes and arrays.
"""

from nacrith.native.library import Library, release_with
from nacrith.native.loader import load

__all__ = ["Library", "load", "release_with"]
