"""From the hub into the model cache: which commit, which files, download, convert.

The only module that makes the network be used, and only `nacrith models pull` calls it. What is
pulled is bound to a commit, which the model file's `source` records; the same pull later finds it
there and downloads nothing.
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
from nacrith.models.hub import transfer
from nacrith.models.hub.client import Hub, Revision, require_network
from nacrith.models.store import downloads
from nacrith.models.store.downloads import Download
from nacrith.models.store.reference import HubFile, Reference

MAX_SIZE = 64 << 30
"""Bytes that a model may take unless told otherwise."""

Watch = Callable[[str, int], AbstractContextManager[Callable[[int], None]]]
"""Called with what is downloaded and its bytes; gives what is told of each further piece."""

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
    max_size: int = MAX_SIZE,
    watch: Watch = _silent,
) -> tuple[Path, bool]:
    """Have a model here; its file, and whether anything was downloaded or converted for it.

    text: a known name, or OWNER/NAME[@REVISION][:FILE.gguf] on the hub. name: what to call it, else it is
    called after the repository. keep_source: leave it as it is on the hub; the result is then a GGUF file
    or a directory. max_size: bytes that it may take.
    """
    if text in store.CARRIERS:
        if name is not None or keep_source:
            raise ModelError(f"{text}: comes with a Python package; --name and --no-convert are not for it")
        cached = store.in_cache(text)
        return store.find(text), not cached
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


def _reference(text: str) -> Reference:
    reference = store.HUB_MODELS.get(text) or Reference.parse(text)
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
    if total > most:
        raise ModelError(
            f"{origin}: takes {total:,} bytes, more than the {most:,} that are allowed; allow it with"
            " --max-size"
        )
    return total


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
    """What an earlier pull left of it."""
    cache = store.cache_directory()
    if keep_source:
        return next((d.content for d in downloads.kept(cache) if d.is_called(reference) and d.complete), None)
    for path in store.in_cache(str(reference)):
        if name is None or store.name_of(path) == store.slug(name):
            return path
    return None


def _choose(revision: Revision, reference: Reference) -> list[str]:
    """The files to download: a GGUF, or a description and the weights after it."""
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
    """Those that a reference can name, which a path outside the repository cannot be."""
    return sorted(f for f in files if Reference.parse(f"a/b:{f}") is not None and ".." not in f)


def _some(names: list[str]) -> str:
    return ", ".join(names[:20]) + (", ..." if len(names) > 20 else "") if names else "no GGUF file"


def _download(hub: Hub, got: Download, progress: Callable[[int], None], *, check: bool) -> None:
    """Everything on the disk and checked. The description comes first: it may tell that the weights,
    which take long, are of no use (check)."""
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
