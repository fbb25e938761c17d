"""What an archive says of its codec is a stranger's word: any field may be anything.

Every bit of header and parameters is flipped, under right checks where there are checks: what comes is the
content, or an error of ours.
"""

from __future__ import annotations

import io
from dataclasses import replace
from functools import partial
from zlib import crc32

import pytest
from archive_fakes import full_stream
from fake_backend import FakeModel
from paths import GOLDEN
from small_models import TINY

from nacrith import codec, loaded
from nacrith.archive import ArchiveReader, wire
from nacrith.archive.blockcodec import CodecId
from nacrith.archive.records import parse_group, parse_short_head
from nacrith.codec.model_codec import ModelCodec
from nacrith.codec.params import CodingParams
from nacrith.errors import CorruptError, NacrithError
from nacrith.fallback import CODECS
from nacrith.models import load_model

# The small ones: to decode a thousand larger ones takes long.
SHORT = [
    "good/model-short.nac",
    *(f"good/short-{kind}.nac" for kind in ("raw", "zstd", "lzma", "brotli", "bzip2")),
]
FULL = ["good/full-raw.nac", "good/full-empty.nac", "good/optional-key.nac"]
TEXT = b"the gull, the ferry"


@pytest.fixture(scope="module")
def model():  # type: ignore[no-untyped-def]
    return load_model(str(TINY), threads=1)


def check(archive: bytes, content: bytes, model: object) -> None:
    def find(codec_id: CodecId) -> ModelCodec:
        return codec.for_decoding(codec_id, model, None)  # type: ignore[arg-type]

    # What claims more content takes long, as it may.
    reader = ArchiveReader(io.BytesIO(archive), find, CODECS, max_size=len(content) + 9)
    try:
        got = b"".join(reader)
    except NacrithError:
        return
    assert got == content


def golden(name: str, model: object) -> tuple[bytes, bytes]:
    """Archive and content."""
    archive = (GOLDEN / name).read_bytes()
    find = partial(codec.for_decoding, model=model, threads=None)
    content = b"".join(ArchiveReader(io.BytesIO(archive), find, CODECS))  # type: ignore[arg-type]
    return archive, content


def flipped(data: bytes) -> list[bytes]:
    """With each of its bits the other way."""
    number = int.from_bytes(data, "little")
    return [(number ^ 1 << bit).to_bytes(len(data), "little") for bit in range(8 * len(data))]


@pytest.mark.parametrize("name", SHORT)
def test_short_heads(name: str, model: object) -> None:
    archive, content = golden(name, model)
    source = wire.Source(io.BytesIO(archive))
    assert not wire.read_magic(source, first=True)
    parse_short_head(source, CODECS.names)
    size = source.offset
    for head in flipped(archive[:size]):
        check(head + archive[size:], content, model)


@pytest.mark.parametrize("name", [*FULL, "model"])
def test_full_heads(name: str, model: object) -> None:
    """The header, and the head of the first group."""
    if name == "model":
        made = codec.for_encoding(1, model, 1)  # type: ignore[arg-type]
        archive, content = full_stream([[(wire.MODEL, TEXT)]], codec=made), TEXT  # type: ignore[arg-type]
    else:
        archive, content = golden(name, model)
    source = wire.Source(io.BytesIO(archive))
    assert wire.read_magic(source, first=True)
    source.skip(source.byte("metadata length"), "metadata")  # shorter than 128 bytes
    places = [(0, source.offset)]
    source.skip(4, "check")
    start = source.offset
    if (tag := source.byte("tag")) != wire.TAG_END:
        parse_group(source, tag, CODECS.names)
        places.append((start, source.offset - 4))
    for start, end in places:
        for part in flipped(archive[start:end]):
            check(archive[:start] + part + wire.u32(crc32(part)) + archive[end + 4 :], content, model)


def test_window_larger_than_the_model(model: object) -> None:
    exact = codec.for_encoding(1, model, 1)  # type: ignore[arg-type]
    larger = replace(exact.params, window=exact.model.max_context + 1)
    with pytest.raises(CorruptError, match=f"window of {larger.window} tokens"):
        codec.for_decoding(CodecId(exact.id.fingerprint, larger.to_bytes(), "tiny"), exact.model, 1)


def test_every_field_of_a_binding() -> None:
    """Whether the model is given or looked for."""
    fake = FakeModel()
    binding = {"backend": "llama.cpp", "threads": "2", "lanes": "3", "gpu-layers": "4", "dtype": "float32"}
    packed = CodingParams(64, 1, 13, 16, binding).to_bytes()
    values = [b"backend=x", b"threads=0", b"threads=99999", b"threads=-1", b"lanes=0", b"lanes=x", b"dtype=?"]
    records = flipped(packed) + [packed[:4] + value for value in values] + [packed[:i] for i in range(9)]
    for params in records:
        for given in (None, fake, str(TINY)):
            with pytest.raises(NacrithError):
                loaded.for_decoding(CodecId(fake.fingerprint, params, "fake"), given, 1)
