"""Which model a name, a path or a fingerprint stands for, on this machine.

The order: an explicit path, the models of the package, the cache, downloads that are complete, carrier
packages. Nothing is downloaded here; `nacrith.models.hub.pull` does that, and only when asked to.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
from pathlib import Path

from nacrith import settings
from nacrith.errors import ModelMissingError
from nacrith.models.exact import modelfile
from nacrith.models.sources import registry
from nacrith.models.store import downloads, records
from nacrith.models.store.cache import cache_directory, cached, in_cache, name_of
from nacrith.models.store.catalogue import (
    CARRIERS,
    DEFAULT_MODEL,
    EMBEDDED,
    HUB_MODELS,
    LARGE_MODEL,
    SUFFIX,
    reference_of,
)
from nacrith.models.store.conversions import Weights, convert_weights
from nacrith.models.store.downloads import Download
from nacrith.models.store.reference import Reference


def look_up(name: str) -> Path | Weights:
    """The model file that a name or a path stands for, or the weights that must be converted to it.

    Reads and changes nothing but directories and headers. ModelMissingError if nothing is found.
    """
    path = Path(name)
    # os.path, since what pathlib asks raises for a name that no file can have.
    looks_like_path = os.sep in name or name.endswith((SUFFIX, *registry.suffixes())) or os.path.isdir(name)
    if looks_like_path and os.path.exists(name):
        whole = path.is_file() or modelfile.fingerprint(path)  # a directory of parts has one too
        return path if whole and path.suffix == SUFFIX else Weights(path)
    if name in EMBEDDED:
        return EMBEDDED[name]
    found = in_cache(name)
    if found:
        return found[0]
    download = _downloaded(name)
    if download is not None:
        return Weights.downloaded(download)
    if name in CARRIERS:
        return _carried_weights(name)
    if name in HUB_MODELS:
        raise ModelMissingError(f"the model {name} is not on this machine; run: nacrith models pull {name}")
    if Reference.parse(name):
        raise ModelMissingError(
            f"{name}: no such file, nor a model that was pulled; check the path, or run: nacrith models pull"
            f" {name}"
        )
    if looks_like_path:
        raise ModelMissingError(f"{name}: no such model file; give a path or one of {names()}")
    raise ModelMissingError(f"no model is called {name!r}; give a path or one of {names()}")


def find(name_or_path: str | None) -> Path:
    """The model file for a name or a path, converted if need be; None for the default model."""
    path = _ready(look_up(name_or_path or DEFAULT_MODEL))
    records.touch(cache_directory(), path)
    return path


def find_by_fingerprint(fingerprint: bytes, hint: str) -> Path:
    """The model whose fingerprint begins with these bytes. hint: the name that an archive gives, which
    appears in messages only."""
    path = _find_by_fingerprint(fingerprint)
    if path is None:
        command = pull_command(hint)
        remedy = f"run: {command}; or " if command else ""
        raise ModelMissingError(
            f"needs the model {hint or '(unnamed)'} with fingerprint {fingerprint.hex()[:16]}, which is not"
            f" on this machine: {remedy}give its file with -m, or put it into {cache_directory()}"
        )
    records.touch(cache_directory(), path)
    return path


def _ready(found: Path | Weights) -> Path:
    return convert_weights(found) if isinstance(found, Weights) else found


def _find_by_fingerprint(fingerprint: bytes) -> Path | None:
    for path in (*EMBEDDED.values(), *cached()):
        if modelfile.fingerprint(path).startswith(fingerprint):
            return path
    for name, carrier in CARRIERS.items():
        if bytes.fromhex(carrier.fingerprint).startswith(fingerprint):
            return _ready(look_up(name))
    chosen = settings.model()
    if chosen:
        path = _ready(look_up(chosen))
        if modelfile.fingerprint(path).startswith(fingerprint):
            return path
    return None


def pull_command(name: str) -> str:
    """The command that fetches a model of this name, or "". An archive may give any name; only a name of the
    hub's, which has no character with a meaning to a shell, becomes part of a command."""
    return f"nacrith models pull {name}" if reference_of(name) else ""


def is_embedded(fingerprint: bytes) -> bool:
    """Whether every installation of this version has the model. fingerprint: its first 8 bytes or more."""
    return any(modelfile.fingerprint(path).startswith(fingerprint) for path in EMBEDDED.values())


def names() -> str:
    """Every name that may be given, for messages."""
    return ", ".join(sorted({*EMBEDDED, *CARRIERS, *HUB_MODELS, *map(name_of, cached())}))


def preferred(large: bool) -> str:
    """The name of the model to use where none is asked for. large: the better one, if it is here."""
    return LARGE_MODEL if large and is_here(LARGE_MODEL) else DEFAULT_MODEL


def is_here(name: str) -> bool:
    """Whether a carried model can be used without a download."""
    if in_cache(name):
        return True
    try:
        _carried(name)
    except ModelMissingError:
        return False
    return True


def _downloaded(name: str) -> Download | None:
    """A complete download that goes by `name`."""
    reference = reference_of(name)
    kept = downloads.kept(cache_directory())
    return next((d for d in kept if d.complete and d.is_called(reference)), None)


def _carried_weights(name: str) -> Weights:
    carrier = CARRIERS[name]
    return Weights(_carried(name), name, fingerprint=carrier.fingerprint)


def _carried(name: str) -> Path:
    """The weights in the installed carrier package of a model."""
    carrier = CARRIERS[name]
    spec = importlib.util.find_spec(carrier.package)
    if spec is None or not spec.submodule_search_locations:
        raise ModelMissingError(f"the model {name} is not on this machine; run: nacrith models pull {name}")
    found = [p for d in spec.submodule_search_locations for p in Path(d).glob(carrier.pattern)]
    if not found:
        raise ModelMissingError(f"the package {carrier.package} carries no {carrier.pattern}")
    return found[0]


def find_source(name: str) -> Path:
    """The unconverted weights, for a backend that runs them as they are: a file or directory, a download
    that was kept, or the weights of a carrier package."""
    if os.path.exists(name):
        return Path(name)
    if name in EMBEDDED:
        raise ModelMissingError(
            f"{name}: is made for the exact engine alone; give another model with -m, such as {LARGE_MODEL}"
        )
    download = _downloaded(name)
    if download is not None:
        return download.content
    if name in CARRIERS:
        try:
            return _carried(name)
        except ModelMissingError:
            raise ModelMissingError(
                f"{name}: its weights in floats are not on this machine; run: nacrith models pull --hub"
                f" --no-convert {name}"
            ) from None
    remedy = f", or run: nacrith models pull --no-convert {name}" if Reference.parse(name) else ""
    raise ModelMissingError(f"{name}: no weights are here under this name; give a file or directory{remedy}")


def find_source_by_fingerprint(fingerprint: bytes, hint: str) -> Path:
    """As `find_source`, for the weights whose hash begins with these bytes. hint: the name that an archive
    gives, which appears in messages only."""
    sources = [d.content for d in downloads.kept(cache_directory()) if d.complete]
    for name in [*CARRIERS, settings.model() or ""]:
        with contextlib.suppress(ModelMissingError):
            sources.append(find_source(name))
    for path in sources:
        with contextlib.suppress(OSError):
            if bytes.fromhex(records.digest(cache_directory(), path)).startswith(fingerprint):
                return path
    raise ModelMissingError(
        f"needs the weights {hint or '(unnamed)'} with hash {fingerprint.hex()[:16]}: give their file or"
        " directory with -m"
    )
