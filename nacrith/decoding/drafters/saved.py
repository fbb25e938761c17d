"""What drafters learned, in a file for one model: arrays in numpy's .npz, and the model's fingerprint."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nacrith import atomic
from nacrith.decoding.drafters.protocol import Drafter
from nacrith.errors import DecodingError


def learners(made: Sequence[Drafter]) -> dict[str, Any]:
    """The drafters that learn across texts, by the names under which they are kept."""
    return {type(drafter).__name__.lower(): drafter for drafter in made if hasattr(drafter, "restore")}


def save(made: Sequence[Drafter], path: str | os.PathLike[str], fingerprint: bytes) -> None:
    """Write what `made` learned of the model of this fingerprint. OSError if it cannot be written."""
    arrays = {
        f"{name}.{part}": array
        for name, drafter in learners(made).items()
        for part, array in drafter.state().items()
    }
    out = io.BytesIO()
    np.savez_compressed(out, model=np.frombuffer(fingerprint, np.uint8), **arrays)
    atomic.write(path, out.getvalue())


def load(made: Sequence[Drafter], path: str | os.PathLike[str], fingerprint: bytes) -> None:
    """Give `made` what was saved. A drafter of which the file has nothing stays as it is. DecodingError if
    the file is damaged, or is of another model; the drafters are then of no use."""
    try:
        with np.load(io.BytesIO(Path(path).read_bytes()), allow_pickle=False) as arrays:
            if arrays["model"].tobytes() != fingerprint:
                raise DecodingError(f"{path}: was learned with another model; remove it or name another file")
            for name, drafter in learners(made).items():
                own = {part[len(name) + 1 :]: arrays[part] for part in arrays if part.startswith(f"{name}.")}
                if own:
                    drafter.restore(own)
    except OSError:
        raise
    except DecodingError:
        raise
    except Exception as error:  # zipfile, numpy and zlib have each their own
        raise DecodingError(f"{path}: is no state of a drafter ({error}); remove it") from None
