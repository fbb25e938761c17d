"""The content of the model cache as users manage it: list, select, verify, remove.

`lookup.py` finds the one model to run; this module also shows damaged files and downloads that are kept or
incomplete, and never converts anything.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from nacrith.errors import ModelError, ModelMissingError
from nacrith.models.exact import modelfile
from nacrith.models.store import downloads, records
from nacrith.models.store.cache import cache_directory, cached, in_cache, name_of
from nacrith.models.store.catalogue import CARRIERS, EMBEDDED, HUB_MODELS, reference_of
from nacrith.models.store.downloads import Download


@dataclass(frozen=True)
class Entry:
    """A model in the cache, or one that is known and can be pulled.

    kind: "embedded" (part of the package), "model" (converted), "damaged" (a model file that cannot be read),
    "source" (unconverted, as on the hub), "partial" (an incomplete download), "known" (not on this machine).
    source: where the model comes from; for a known one, the command that fetches it. size: bytes on the
    disk. last_used: seconds since 1970.
    """

    kind: str
    name: str
    path: Path | None = None
    fingerprint: str = ""
    size: int = 0
    source: str = ""
    licence: str = ""
    last_used: float | None = None
    download: Download | None = None

    @property
    def label(self) -> str:
        """A name that no other entry has."""
        return self.path.stem if self.kind in ("embedded", "model", "damaged") and self.path else self.source


def entries() -> Iterator[Entry]:
    """Everything on this machine: embedded models, cached models sorted by name, downloads."""
    yield from map(_embedded, EMBEDDED.values())
    for path in cached():
        yield _model(path)
    for download in downloads.kept(cache_directory()):
        yield _download(download)


def known() -> Iterator[Entry]:
    """The known models that are not on this machine."""
    for name, carrier in sorted(CARRIERS.items()):
        if not in_cache(name):
            yield Entry("known", name, None, carrier.fingerprint, source=f"nacrith models pull {name}")
    for name in sorted(HUB_MODELS):
        if not in_cache(name):
            yield Entry("known", name, source=f"nacrith models pull {name}")


def select(text: str) -> list[Entry]:
    """The entries that `text` names, models before downloads; ModelMissingError if there are none."""
    reference = reference_of(text)
    if text in EMBEDDED:
        return [_embedded(EMBEDDED[text])]
    found = [_model(path) for path in in_cache(text)]
    for download in downloads.kept(cache_directory()):
        if download.is_called(reference):
            found.append(_download(download))
    if not found:
        if text in CARRIERS or reference is not None:
            raise ModelMissingError(f"is not on this machine; run: nacrith models pull {text}")
        raise ModelMissingError("no model here is called so; nacrith models list shows those that are")
    return found


def verify(entry: Entry) -> None:
    """Read the whole entry again; ModelError if it does not match its hash, name or known fingerprint."""
    if entry.download is not None:
        entry.download.verify()
        return
    assert entry.path is not None
    path = entry.path
    fingerprint = modelfile.read(path).fingerprint.hex()
    name = name_of(path)
    if path.stem not in (name, f"{name}-{fingerprint[:16]}"):
        raise ModelError(f"{path}: is the model {fingerprint[:16]}, not what its name says; rename it")
    carrier = CARRIERS.get(name)
    if carrier is not None and fingerprint != carrier.fingerprint:
        raise ModelError(
            f"{path}: is another model than the {name} that all archives mean"
            f" ({carrier.fingerprint[:16]}); run: nacrith models rm {entry.label}"
        )


def remove(entry: Entry) -> None:
    """Delete the entry and its records."""
    if entry.download is not None:
        entry.download.remove()
        return
    if entry.kind == "embedded":
        raise ModelError("is part of nacrith and goes with it")
    assert entry.path is not None
    try:
        modelfile.remove(entry.path)
    except OSError as error:
        raise ModelError(
            f"{entry.path}: cannot remove it ({error.strerror}); check the permissions"
        ) from None
    records.forget(cache_directory(), entry.path)


def _embedded(path: Path) -> Entry:
    entry = _model(path)
    if entry.kind == "damaged":
        return entry
    return dataclasses.replace(entry, kind="embedded", source="part of nacrith")


def _model(path: Path) -> Entry:
    name = name_of(path)
    used = records.last_used(cache_directory(), path)
    try:
        size = modelfile.size(path)
    except OSError:  # a dangling link, for example
        size = 0
    try:
        file = modelfile.describe(path)
    except ModelError as error:
        return Entry("damaged", name, path, "", size, str(error), last_used=used)
    info = file.info
    source, licence = info.get("source", ""), info.get("licence", "")
    return Entry("model", name, path, file.fingerprint.hex(), size, source, licence, used)


def _download(download: Download) -> Entry:
    kind = "source" if download.complete else "partial"
    name = download.origin.repo.partition("/")[2]
    origin, size = str(download.origin), download.size
    return Entry(kind, name, download.content, "", size, origin, download.licence, download=download)
