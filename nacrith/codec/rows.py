"""The model's rows of several lanes as one array, which is what the coders of groups take."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nacrith.models.protocol import Logits


def joined(parts: Sequence[Logits]) -> tuple[Logits, list[int]]:
    """One array with the rows of all parts, and the number of each part's first row in it.

    parts: int32 (n, V), with any n, not all of them 0. Parts of one array, which native sessions return, are
    not copied: a row may have 200 KB.
    """
    owner = parts[0].base
    whole = isinstance(owner, np.ndarray) and owner.flags.c_contiguous
    if not whole or not all(part.base is owner and part.flags.c_contiguous for part in parts):
        ends = np.cumsum([len(part) for part in parts]).tolist()
        return np.concatenate(parts), [0, *ends[:-1]]
    places = [part.ctypes.data for part in parts]
    begin = min(place for place, part in zip(places, parts, strict=True) if len(part))
    end = max(place + part.nbytes for place, part in zip(places, parts, strict=True) if len(part))
    pitch = parts[0].shape[1] * parts[0].itemsize
    shape = ((end - begin) // pitch, parts[0].shape[1])
    rows = np.ndarray(shape, parts[0].dtype, owner, begin - owner.ctypes.data)
    return rows, [max(0, place - begin) // pitch for place in places]
