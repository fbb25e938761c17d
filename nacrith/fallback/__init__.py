"""The codecs for content that is not text, or that the model cannot compress better.

One file per codec; `CODECS` is the registry of all of them, which the API and the command line hand to the
archive layer. That layer knows only its protocol (`nacrith.archive.blockcodec.FallbackCodecs`). Importing
this package imports no compression library: each codec imports its own when it first codes.
"""

from __future__ import annotations

from nacrith.fallback.brotli import Brotli
from nacrith.fallback.bzip2 import Bzip2
from nacrith.fallback.lzma import Lzma
from nacrith.fallback.ppmd import Ppmd
from nacrith.fallback.raw import Raw
from nacrith.fallback.registry import Registry
from nacrith.fallback.zstd import Zstd

CODECS = Registry(
    Raw(),
    Ppmd(),
    Lzma(),
    Brotli(),
    Zstd(),
    Bzip2(),
)
"""In order of preference: of two codecs whose results have the same length, the earlier one is taken."""

__all__ = ["CODECS", "Registry"]
