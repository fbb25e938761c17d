"""A codec for numcodecs, and so for Zarr version 2: `numcodecs.get_codec({"id": "nacrith"})`.

numcodecs finds it by the entry point in pyproject.toml (group `numcodecs.codecs`). It is meant for chunks of
text (with `VLenUTF8` before it); arrays of numbers are compressed by the best of the fallback codecs. A chunk
is a complete archive that names its model, so the configuration holds the parameters of encoding only.
"""

from __future__ import annotations

from typing import Any, ClassVar

from numcodecs.abc import Codec
from numcodecs.compat import ensure_contiguous_ndarray, ndarray_copy

import nacrith
from nacrith.stream import checked_level


class Nacrith(Codec):  # type: ignore[misc]  # the package has no types
    """level: 1 to 9. model: the name of a model for encoding and decoding; None for the default model, or the
    model that a chunk names."""

    codec_id: ClassVar[str] = "nacrith"

    def __init__(self, level: int = nacrith.COMPRESSION_LEVEL_DEFAULT, model: str | None = None) -> None:
        if model is not None and not isinstance(model, str):
            raise TypeError(
                f"model is a name or None, not {type(model).__name__}: it is stored with the data"
            )
        self.level = checked_level(level)
        self.model = model

    def encode(self, buf: Any) -> bytes:
        data = ensure_contiguous_ndarray(buf).tobytes()
        return nacrith.compress(data, level=self.level, model=self.model)

    def decode(self, buf: Any, out: Any = None) -> Any:
        data = ensure_contiguous_ndarray(buf).tobytes()
        return ndarray_copy(nacrith.decompress(data, model=self.model), out)
