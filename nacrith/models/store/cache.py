"""The model cache: its directory, the model files in it, and which of them a name stands for.

The directory is `$NACRITH_MODEL_DIR`, else `$XDG_CACHE_HOME/nacrith/models`, else `~/.cache/nacrith/models`;
a model file there is named NAME-<first 16 hex digits of its fingerprint>.nacm.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from nacrith import settings
from nacrith.errors import ModelError
from nacrith.models.exact import modelfile
from nacrith.models.store.catalogue import CARRIERS, HUB_MODELS, SUFFIX, reference_of
from nacrith.models.store.reference import Reference


def cache_directory() -> Path:
    """Where the cache is, whether or not the directory exists."""
    return settings.model_directory()


def cached() -> Iterator[Path]:
    """The model files in the cache, sorted by name."""
    directory = cache_directory()
    if directory.is_dir():
        yield from sorted(p for p in directory.glob(f"*{SUFFIX}") if not p.name.startswith("."))


def in_cache(name: str) -> list[Path]:
    """The cached models that `name` stands for, the newest first.

    A name is NAME or NAME-FINGERPRINT as the file is called, at least 8 digits of a fingerprint, or the
    OWNER/NAME[@COMMIT][:FILE] that the model was pulled as.
    """
    reference = reference_of(name)
    carrier = CARRIERS.get(name)

    def named(path: Path) -> bool:
        if carrier is not None:
            return path.stem == f"{name}-{carrier.fingerprint[:16]}"
        if name in HUB_MODELS:
            return pulled_as(path, HUB_MODELS[name])
        if name in (name_of(path), path.stem):
            return True
        if re.fullmatch("[0-9a-f]{8,64}", name):
            return modelfile.fingerprint(path).hex().startswith(name)
        return reference is not None and pulled_as(path, reference)

    return sorted(filter(named, cached()), key=_modified, reverse=True)


def pulled_as(path: Path, reference: Reference) -> bool:
    """Whether a model file was converted from what `reference` names."""
    try:
        origin = Reference.parse(modelfile.describe(path).info.get("source", ""))
    except ModelError:
        return False
    return origin is not None and origin.is_called(reference)


def name_of(path: Path) -> str:
    """The name of a model file in the cache: its file name without the fingerprint."""
    return re.sub("-[0-9a-f]{16}$", "", path.stem)


def _modified(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0
