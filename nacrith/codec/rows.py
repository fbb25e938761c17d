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
    owner, vocab = parts[0].base, parts[0].shape[1]
    places = [part.ctypes.data for part in parts]
    begin = min(place for place, part in zip(places, parts, strict=True) if len(part))
    end = max(place + part.nbytes for place, part in zip(places, parts, strict=True) if len(part))
    pitch = vocab * parts[0].itemsize
    if not isinstance(owner, np.ndarray) or any(
        part.base is not owner or not part.flags.c_contiguous or (place - begin) % pitch
        for place, part in zip(places, parts, strict=True)
    ):
        ends = np.cumsum([len(part) for part in parts]).tolist()
        return np.concatenate(parts), [0, *ends[:-1]]
    rows = np.ndarray(((end - begin) // pitch, vocab), parts[0].dtype, owner, begin - owner.ctypes.data)
    return rows, [max(0, place - begin) // pitch for place in places]
