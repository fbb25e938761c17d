"""Converting the weights of others into model files in the cache, once for each source.

Looking a model up (`lookup`) never converts: it returns the model file, or the `Weights` to hand to this
module.
"""

from __future__ import annotations

import dataclasses
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from nacrith import atomic
from nacrith.errors import ModelError
from nacrith.models.exact import conversion, modelfile
from nacrith.models.sources import registry
from nacrith.models.store import records
from nacrith.models.store.cache import cache_directory, name_of
from nacrith.models.store.catalogue import CARRIERS, NAME_MAX, SUFFIX, known_as, slug
from nacrith.models.store.downloads import Download
from nacrith.models.store.reference import Reference

_log = logging.getLogger("nacrith")


@dataclass(frozen=True)
class Weights:
    """A foreign model that must be converted before the exact engine can run it.

    name: of the model; None to name it after `path`. info: replaces what the source says about itself.
    fingerprint: that the model must have, in hexadecimal; "" for any.
    """

    path: Path
    name: str | None = None
    info: Mapping[str, str] | None = None
    fingerprint: str = ""

    @classmethod
    def downloaded(cls, download: Download, name: str | None = None) -> Weights:
        """What was pulled from the hub. Archives name the model by what their reader can pull, if that fits
        into their header."""
        origin = download.origin
        known = known_as(origin)
        public = known or str(Reference(origin.repo, None, origin.file))
        info = {"source": str(origin), "licence": download.licence or "unknown"}
        if len(public) <= NAME_MAX:
            info["name"] = public
        last = (origin.file or origin.repo).rpartition("/")[2].removesuffix(".gguf")
        carrier = CARRIERS.get(known or "")
        return cls(download.content, name or known or last, info, carrier.fingerprint if carrier else "")


def convert(
    source: Path,
    name: str | None = None,
    *,
    info: Mapping[str, str] | None = None,
    bits: int = conversion.BITS,
    again: bool = False,
) -> Path:
    """The model file in the cache for foreign weights, converted if this has not been done before.

    name: of the model, else it is named after the source. info: replaces what the source says about itself.
    bits: of the activations: 10, or 8, for which the model is rotated first. again: convert even if a source
    of the same content has been converted before (under this name).
    """
    directory = cache_directory()
    if not source.exists():
        raise ModelError(f"{source}: no such file or directory; check the name")
    if registry.kind_of(source) is None:
        raise ModelError(f"{source}: not a model; supported are {SUFFIX}, {registry.names()}")
    wanted = slug(name or source.resolve().stem + ("" if bits == conversion.BITS else f"-{bits}bit"))
    try:
        # Processes that want the same model wait, and then find it.
        with records.alone(directory, source, bits):
            path = None if again else records.converted(directory, source, bits)
            if path is None or not _serves(path, name, info):
                path = _convert(source, wanted, info or {}, bits)
                records.remember(directory, source, bits, path)
            return path
    except OSError as error:
        raise ModelError(f"{source}: cannot read it ({error.strerror}); check the permissions") from None


def convert_weights(weights: Weights) -> Path:
    """As `convert`. ModelError, and no model in the cache, if the fingerprint is not the one required."""
    path = convert(weights.path, weights.name, info=weights.info)
    made = modelfile.fingerprint(path).hex()
    if weights.fingerprint and made != weights.fingerprint:
        path.unlink(missing_ok=True)
        raise ModelError(
            f"converting {weights.name} gave fingerprint {made[:16]}, not {weights.fingerprint[:16]}:"
            f" {weights.path.name} is another version, or this machine's arithmetic is not IEEE-754"
        )
    return path


def _serves(path: Path, name: str | None, info: Mapping[str, str] | None) -> bool:
    """Whether a model file has this name, and this information in it."""
    if name is not None and name_of(path) != slug(name):
        return False
    return info is None or info.items() <= modelfile.describe(path).info.items()


def _convert(source: Path, stem: str, info: Mapping[str, str], bits: int) -> Path:
    _log.info("converting %s for exact inference (once; half a minute for 135M parameters)", source.name)
    _collect()
    directory = cache_directory()
    before = records.digest(directory, source)
    llama = registry.read(source)
    llama = dataclasses.replace(llama, info={**llama.info, "name": stem, **info})
    limits: Mapping[str, int] | None = None
    if bits != conversion.BITS:
        from nacrith.models.exact.rotated import LIMITS, rotated  # rarely needed: other starts are sooner

        llama, limits = rotated(llama), LIMITS
    made = [directory]

    def named(fingerprint: bytes) -> Path:
        if records.digest(directory, source) != before:
            raise ModelError(f"{source}: was changed while it was read; run the same command again")
        made.append(directory / f"{stem}-{fingerprint.hex()[:16]}{SUFFIX}")
        return made[-1]

    try:
        conversion.convert(llama, directory / f"{stem}{SUFFIX}", limits=limits, named=named)
    except OSError as error:
        raise ModelError(
            f"{directory}: cannot write the converted model ({error.strerror}); set NACRITH_MODEL_DIR"
        ) from None
    return made[-1]


def _collect() -> None:
    """Remove the temporary files of conversions that were killed."""
    for path in cache_directory().glob(f".*{SUFFIX}.*{atomic.SUFFIX}"):
        atomic.collect(path.with_name(re.sub(r"^\.(.*)\.\d+$", r"\1", path.name.removesuffix(atomic.SUFFIX))))
