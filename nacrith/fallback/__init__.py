"""The codecs for content that is not text, or that the model cannot compress better.

There is one file per codec. `CODECS` is their registry; the API and the command line pass it to the archive
layer, which knows only a protocol (`nacrith.archive.blockcodec.FallbackCodecs`). Importing this package
imports no compression library, nor numpy: each codec imports what it needs when it is first used.
"""

from __future__ import annotations

from nacrith.fallback.brotli import Brotli
from nacrith.fallback.bzip2 import Bzip2
from nacrith.fallback.learner import Learner
from nacrith.fallback.lzma import Lzma
from nacrith.fallback.raw import Raw
from nacrith.fallback.registry import Registry
from nacrith.fallback.zstd import Zstd

CODECS = Registry(
    Raw(),
    Lzma(),
    Brotli(),
    Zstd(),
    Bzip2(),
    Learner(),
)
"""In order of preference between results of the same length: what decodes slowest is last."""

__all__ = ["CODECS", "Registry"]
