"""The golden archives of formats/golden, by this reader and by a second one made from the spec alone.

Files are never regenerated: an archive that was good once decodes for ever.
"""

from __future__ import annotations

import hashlib
import io
import json
import lzma
from typing import Any

import archive_plain_reader
import brotli
import pytest
import zstandard
from archive_fakes import never
from paths import GOLDEN

from nacrith import errors
from nacrith.archive import ArchiveReader, scan
from nacrith.fallback import CODECS

ENTRIES: list[dict[str, Any]] = json.loads((GOLDEN / "manifest.json").read_text("utf-8"))
FALLBACK_ONLY = [entry for entry in ENTRIES if "model" not in entry]
GOOD = [entry for entry in FALLBACK_ONLY if "error" not in entry]
REFUSED = [entry for entry in FALLBACK_ONLY if "error" in entry]


def name(entry: dict[str, Any]) -> str:
    return str(entry["file"])


def check(entry: dict[str, Any], content: bytes) -> None:
    assert len(content) == entry["content_size"]
    assert hashlib.sha256(content).hexdigest() == entry["content_sha256"]


def test_the_manifest_lists_every_file() -> None:
    listed = sorted(entry["file"] for entry in ENTRIES)
    assert listed == sorted(str(path.relative_to(GOLDEN)) for path in GOLDEN.glob("*/*.nac"))
    for entry in ENTRIES:
        assert entry["says"].endswith(".")
        assert entry["file"].startswith("good/") == ("error" not in entry)
        unsupported = entry.get("error") == "UnsupportedFormatError"
        assert entry["file"].startswith("unsupported/") == unsupported


@pytest.mark.parametrize("entry", GOOD, ids=name)
def test_good(entry: dict[str, Any]) -> None:
    archive = (GOLDEN / entry["file"]).read_bytes()
    reader = ArchiveReader(io.BytesIO(archive), never, CODECS)
    content = b"".join(reader)
    check(entry, content)
    assert reader.size == len(content)
    assert reader.read_range(0, len(content)) == content
    assert sum(info.content_size for info in scan(io.BytesIO(archive), CODECS.names)) == len(content)


@pytest.mark.parametrize("entry", GOOD, ids=name)
def test_good_by_the_plain_reader(entry: dict[str, Any]) -> None:
    check(entry, archive_plain_reader.read((GOLDEN / entry["file"]).read_bytes()))


@pytest.mark.parametrize("entry", REFUSED, ids=name)
def test_refused(entry: dict[str, Any]) -> None:
    archive = (GOLDEN / entry["file"]).read_bytes()
    with pytest.raises(errors.NacrithError) as caught:
        list(ArchiveReader(io.BytesIO(archive), never, CODECS))
    assert type(caught.value) is getattr(errors, entry["error"])


@pytest.mark.parametrize("entry", REFUSED, ids=name)
def test_refused_by_the_plain_reader(entry: dict[str, Any]) -> None:
    with pytest.raises((AssertionError, brotli.error, lzma.LZMAError, zstandard.ZstdError)):
        archive_plain_reader.read((GOLDEN / entry["file"]).read_bytes())
