"""A training job for a machine without network: packed here into loads, unpacked and run there.

A load is a tar file of limited size. All are unpacked into one folder, in any order; it then holds the start
weights, the tokens, what was held out, and this package without its models:

    mkdir job && for load in load-*.tar; do tar -xf $load -C job; done
    cd job && python -m nacrith.training.lm.away --minutes 8

There only torch, numpy and tokenizers are needed. `away` is the other half of this module; `job.json`, the
last member of the last load, lists all files with their hashes and loads, so that a missing one is named.
"""

from __future__ import annotations

import hashlib
import json
import lzma
import tarfile
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import numpy as np

from nacrith.errors import NacrithError
from nacrith.models.exact import modelfile
from nacrith.training.lm import export
from nacrith.training.lm.job import Job, Prepared
from nacrith.training.lm.loop import Log

LOAD_BYTES = 60_000_000
"""Most of a load, by default."""

MANIFEST = "job.json"
START = "start.nacm"
TOKENS = "tokens"

_PART_TOKENS = 4_000_000  # 8 MB, before they are compressed
_BLOCK = 512  # bytes of a tar header; contents are padded to it
_TAIL = 10_240  # bytes of zeros that end a tar file, at most
_LEAST = 16_000_000  # bytes of a load, in which the largest part fits
_CODE = ("*.py", "*.prior")
_PACKAGE = Path(__file__).parents[2]


def pack(prepared: Prepared, job: Job, folder: Path, log: Log, load_bytes: int = LOAD_BYTES) -> list[Path]:
    """Write the loads of a job into a new folder; returns their paths in order."""
    if job.recipe.distil:
        raise NacrithError("a job with a teacher cannot be sent away: leave out --distil")
    if load_bytes < _LEAST:
        raise NacrithError(f"loads of {load_bytes:,} bytes: parts need {_LEAST:,} at least")
    if folder.exists() and any(folder.iterdir()):
        raise NacrithError(f"{folder}: is not empty; name another folder")
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as name:
        parts = [*_code(), *_weights(prepared, job, Path(name)), *_tokens(prepared, Path(name))]
        return _write(parts, _description(prepared, job), folder, log, load_bytes)


_Part = tuple[str, Path]
"""A file's name in the folder of the job, and where it is now."""


def _code() -> Iterator[_Part]:
    for pattern in _CODE:
        for path in sorted(_PACKAGE.rglob(pattern)):
            yield str(path.relative_to(_PACKAGE.parent)), path


def _weights(prepared: Prepared, job: Job, work: Path) -> Iterator[_Part]:
    """The start weights in int8: what a model file loses against floats is learnt again in a few steps."""
    info = {"name": job.name, "source": "nacrith train", "licence": job.licence}
    export.write_exact(prepared.model, prepared.tokenizer, work / "whole.nacm", info)
    modelfile.split(work / "whole.nacm", work / START)
    (work / "whole.nacm").unlink()
    for path in sorted((work / START).iterdir()):
        yield f"{START}/{path.name}", path


def _tokens(prepared: Prepared, work: Path) -> Iterator[_Part]:
    """The ids as little-endian uint16, compressed, some millions in a part."""
    for number, begin in enumerate(range(0, len(prepared.ids), _PART_TOKENS)):
        name = f"{TOKENS}-{number:04}.xz"
        ids = np.ascontiguousarray(prepared.ids[begin : begin + _PART_TOKENS], "<u2")
        (work / name).write_bytes(lzma.compress(ids.tobytes(), preset=1))
        yield name, work / name


def _description(prepared: Prepared, job: Job) -> dict[str, object]:
    return {
        "name": job.name,
        "licence": job.licence,
        "tokens": len(prepared.ids),
        "recipe": asdict(prepared.recipe),
        "samples": [[list(s.ids), s.size, s.kind] for s in prepared.samples],
    }


def _plain(member: tarfile.TarInfo) -> tarfile.TarInfo:
    """Without owner and time, which would take a second header."""
    member.uid = member.gid = member.mtime = 0
    member.uname = member.gname = ""
    member.mode = 0o644
    return member


def _write(
    parts: list[_Part], description: dict[str, object], folder: Path, log: Log, most: int
) -> list[Path]:
    """Fill one load after the other. The manifest, which needs the hashes, comes last."""
    manifest = folder / MANIFEST
    files: dict[str, list[object]] = {}
    loads = [folder / "load-00.tar"]
    full = _TAIL
    tar = tarfile.open(loads[0], "w", format=tarfile.USTAR_FORMAT)  # noqa: SIM115 - closed below, and replaced in between
    try:
        for name, path in [*parts, (MANIFEST, manifest)]:
            if path == manifest:
                manifest.write_text(json.dumps({**description, "files": files}))
            size = path.stat().st_size
            takes = _BLOCK + -(-size // _BLOCK) * _BLOCK
            if full + takes > most:
                tar.close()
                loads.append(folder / f"load-{len(loads):02}.tar")
                tar, full = tarfile.open(loads[-1], "w", format=tarfile.USTAR_FORMAT), _TAIL  # noqa: SIM115
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            files[name] = [size, digest, len(loads) - 1]
            tar.add(path, name, filter=_plain)
            full += takes
    finally:
        tar.close()
        manifest.unlink(missing_ok=True)
    for load in loads:
        log(f"{load}: {load.stat().st_size:,} bytes")
    return loads
