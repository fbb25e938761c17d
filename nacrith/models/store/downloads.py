"""What was, or is being, downloaded: `sources/OWNER--NAME/COMMIT` in the model cache.

A folder a download, with a manifest that is written first: which files, how large, with which hash. So
an interrupted download can be told from a whole one, listed, resumed and removed. Conversion removes
the folder in the end, unless the source is to be kept for something else than the exact engine.
"""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from nacrith import atomic, jsontext
from nacrith.errors import ModelError
from nacrith.models.files import read_regular
from nacrith.models.store.reference import PARTIAL, HubFile, Reference, hash_of

_MANIFEST = "nacrith.json"


@dataclass(frozen=True)
class Download:
    """A folder and what is to be in it.

    origin: repository, commit and, of a single file, its path. licence: "" where the hub names none.
    keep: whether it shall stay when it has been converted.
    """

    folder: Path
    origin: Reference
    files: tuple[HubFile, ...]
    licence: str = ""
    keep: bool = False

    @property
    def content(self) -> Path:
        """What conversion reads: the GGUF file, or the directory of safetensors."""
        return self.folder / self.local(self.origin.file) if self.origin.file else self.folder

    @property
    def complete(self) -> bool:
        return all((self.folder / self.local(f.path)).is_file() for f in self.files)

    @property
    def size(self) -> int:
        """Bytes on the disk."""
        return sum(p.stat().st_size for p in self.folder.iterdir() if p.is_file())

    def missing(self) -> int:
        """Bytes that are still to come."""
        total = 0
        for file in self.files:
            target = self.folder / self.local(file.path)
            if not target.exists():
                partial = target.with_name(target.name + PARTIAL)
                have = partial.stat().st_size if partial.exists() else 0
                total += max(file.size - have, 0)
        return total

    def is_called(self, reference: Reference | None) -> bool:
        return self.origin.is_called(reference)

    @staticmethod
    def local(path: str) -> str:
        """The name of a repository's file in the folder."""
        return path.rpartition("/")[2]

    def verify(self) -> None:
        """Read everything again; ModelError for what is not there or not as the hub has it."""
        for file in self.files:
            path = self.folder / self.local(file.path)
            if not path.is_file():
                raise ModelError(f"{path}: not downloaded yet; run: nacrith models pull {self.origin}")
            if path.stat().st_size != file.size or hash_of(path, file.digest, file.size) != file.digest:
                raise ModelError(
                    f"{path}: not what the hub has, it is damaged or was changed; run: nacrith models rm"
                    f" {self.origin}, then pull it again"
                )

    def remove(self) -> None:
        """Delete the folder, the manifest last, and what is empty then."""
        try:
            for path in self.folder.iterdir():
                if path.name != _MANIFEST:
                    path.unlink()
            shutil.rmtree(self.folder)
        except OSError as error:
            raise ModelError(f"{self.folder}: cannot remove it ({error.strerror}); do so by hand") from None
        for empty in (self.folder.parent, self.folder.parent.parent):
            with contextlib.suppress(OSError):
                empty.rmdir()


def begin(
    cache: Path, origin: Reference, files: tuple[HubFile, ...], licence: str, *, keep: bool
) -> Download:
    """A folder for these files of a commit; what is in it already stays, and what was to be kept is."""
    assert origin.pinned
    keep = keep or any(d.keep for d in kept(cache) if d.origin == origin)
    file = f"--{Download.local(origin.file)}" if origin.file else ""
    folder = cache / "sources" / origin.repo.replace("/", "--") / f"{origin.revision}{file}"
    fields = {
        "source": str(origin),
        "licence": licence,
        "keep": keep,
        "files": [[f.path, f.size, f.digest] for f in files],
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        atomic.write(folder / _MANIFEST, json.dumps(fields).encode())
    except OSError as error:
        raise ModelError(f"{folder}: cannot write there ({error.strerror}); set NACRITH_MODEL_DIR") from None
    return Download(folder, origin, files, licence, keep)


def kept(cache: Path) -> Iterator[Download]:
    """Every download in the cache, complete or not, in order of name."""
    for manifest in sorted((cache / "sources").glob(f"*/*/{_MANIFEST}")):
        try:
            fields = jsontext.parse(read_regular(manifest))
            origin = Reference.parse(str(fields["source"]))
            files = tuple(HubFile(str(p), int(size), str(digest)) for p, size, digest in fields["files"])
        except (OSError, ValueError, KeyError, TypeError):
            continue  # no manifest of ours
        if origin is not None:
            licence, keep = str(fields.get("licence", "")), bool(fields.get("keep"))
            yield Download(manifest.parent, origin, files, licence, keep)
