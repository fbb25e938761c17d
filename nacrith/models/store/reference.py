"""What is on the hub, by name: references, and files with the hashes that the hub states.

Apart from `hub`, so that looking for a model on this machine imports nothing of the network.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from nacrith.errors import ModelError
from nacrith.models.files import open_regular

PARTIAL = ".partial"
"""Added to the name of a file that is being downloaded."""

_CHUNK = 1 << 20  # bytes
_REFERENCE = re.compile(
    r"(?P<repo>[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)"
    r"(@(?P<revision>[A-Za-z0-9][\w./-]*))?(:(?P<file>[A-Za-z0-9_][\w./+-]*\.gguf))?",
    re.ASCII,
)
COMMIT = re.compile("[0-9a-f]{40}")


@dataclass(frozen=True)
class Reference:
    """OWNER/NAME[@REVISION][:FILE.gguf]. revision: a branch, a tag or a commit; None for main."""

    repo: str
    revision: str | None = None
    file: str | None = None

    @classmethod
    def parse(cls, text: str) -> Reference | None:
        """None if `text` is not of this form."""
        found = _REFERENCE.fullmatch(text)
        return cls(found["repo"], found["revision"], found["file"]) if found else None

    def __str__(self) -> str:
        revision = f"@{self.revision}" if self.revision else ""
        return self.repo + revision + (f":{self.file}" if self.file else "")

    @property
    def pinned(self) -> bool:
        """Whether the revision is a commit, which cannot come to mean something else."""
        return self.revision is not None and COMMIT.fullmatch(self.revision) is not None

    def is_called(self, other: Reference | None) -> bool:
        """Whether `other` names this. It may shorten the commit; without revision or file any will do."""
        return (
            other is not None
            and other.repo == self.repo
            and (self.revision or "").startswith(other.revision or "")
            and other.file in (None, self.file)
        )


@dataclass(frozen=True)
class HubFile:
    """A file of a commit. digest: hexadecimal SHA-256 of the content (64 digits; large files, kept in
    LFS), or the SHA-1 that git gives it (40 digits)."""

    path: str
    size: int
    digest: str


def hash_of(path: Path, like: str, size: int) -> str:
    """The file's hash of the kind that `like` is: SHA-256, or git's SHA-1 of a file of `size` bytes."""
    git = len(like) == 40
    digest = hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False) if git else hashlib.sha256()
    try:
        with open_regular(path) as file:
            while chunk := file.read(_CHUNK):
                digest.update(chunk)
    except OSError as error:
        raise ModelError(f"{path}: cannot read it ({error.strerror})") from None
    return digest.hexdigest()
