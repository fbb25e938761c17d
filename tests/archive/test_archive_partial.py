"""What can be kept of a damaged archive: whole blocks, and where the others are."""

from __future__ import annotations

import io
import random
from itertools import pairwise

import pytest
from archive_fakes import (
    FakeCodec,
    coded,
    content_of,
    finder,
    full_stream,
    never,
    short_stream,
    starts_of,
    unpack,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from nacrith.archive import ArchiveReader, CodecId, Damage, wire
from nacrith.archive.records import End, index_entry
from nacrith.errors import CorruptError, TruncatedError, UnsupportedFormatError
from nacrith.fallback import CODECS
from nacrith.fallback.lzma import Lzma
from nacrith.fallback.zstd import Zstd

TEXT = b"The quick brown fox jumps over the lazy dog. How vexingly quick daft zebras jump!\n"
CODEC = FakeCodec()


def kept(archive: bytes, codec: FakeCodec = CODEC) -> tuple[list[bytes], list[Damage]]:
    damages: list[Damage] = []
    reader = ArchiveReader(io.BytesIO(archive), finder(codec), CODECS, damaged=damages.append)
    return list(reader), damages


GROUPS = [
    [(wire.MODEL, bytes([65 + 3 * g + b]) * 500) for b in range(3)] for g in range(3)
]  # fmt: skip


def test_damaged_block_costs_that_block() -> None:
    archive = bytearray(full_stream(GROUPS, codec=CODEC))
    pieces = [content for blocks in GROUPS for _, content in blocks]
    payload = coded(wire.MODEL, pieces[4], CODEC)[1]
    archive[archive.index(payload) + 10] ^= 1
    got, damages = kept(bytes(archive))
    assert got == pieces[:4] + pieces[5:]
    assert [(damage.offset, damage.size) for damage in damages] == [(2000, 500)]
    assert isinstance(damages[0].error, CorruptError)


def test_block_that_the_codec_refuses_costs_that_block() -> None:
    class Refusing(FakeCodec):
        def decode(self, blocks, progress=None):  # type: ignore[no-untyped-def]
            if any(payload[-1] == 66 for payload, _ in blocks):
                raise CorruptError("refused")
            return super().decode(blocks, progress)

    got, damages = kept(full_stream(GROUPS, codec=CODEC), Refusing())
    assert len(got) == 8
    assert [(damage.offset, damage.size) for damage in damages] == [(500, 500)]


def test_damaged_group_head_costs_that_group() -> None:
    archive = bytearray(full_stream(GROUPS, codec=CODEC))
    archive[starts_of(archive)[1] + 5] ^= 1
    got, damages = kept(bytes(archive))
    assert got == [content for blocks in (GROUPS[0], GROUPS[2]) for _, content in blocks]
    assert [(damage.offset, damage.size) for damage in damages] == [(1500, 1500)]


def test_truncated_archive_gives_what_is_there() -> None:
    archive = full_stream(GROUPS, codec=CODEC)
    pieces = [content for blocks in GROUPS for _, content in blocks]
    payload = coded(wire.MODEL, pieces[7], CODEC)[1]
    got, damages = kept(archive[: archive.index(payload) + 5])
    assert got == pieces[:7]
    assert [(damage.offset, damage.size) for damage in damages] == [
        (3500, 500), (4000, 500), (4500, None),
    ]  # fmt: skip
    assert isinstance(damages[-1].error, TruncatedError)


def test_wrong_hash_is_reported_once() -> None:
    archive = full_stream(GROUPS, codec=CODEC)
    starts = starts_of(archive)
    index = b"".join(index_entry(1500, b - a) for a, b in pairwise(starts))
    wrong = archive[: starts[-1]] + End(bytes(16), 1, index).pack()
    got, damages = kept(wrong)
    assert b"".join(got) == content_of(GROUPS)
    assert [(damage.offset, damage.size) for damage in damages] == [(0, None)]
    with pytest.raises(CorruptError):
        unpack(wrong, CODEC)


@settings(deadline=None, max_examples=100)
@given(st.integers(0, 2**32))
def test_nothing_wrong_is_ever_kept(seed: int) -> None:
    rnd = random.Random(seed)
    archive = bytearray(full_stream(GROUPS, codec=CODEC))
    for _ in range(rnd.randint(1, 4)):
        archive[rnd.randrange(len(archive))] = rnd.randrange(256)
    good = {content for blocks in GROUPS for _, content in blocks}
    if rnd.random() < 0.3:
        del archive[rnd.randrange(len(archive)) :]
    try:
        got, damages = kept(bytes(archive))
    except UnsupportedFormatError:
        return
    assert set(got) <= good
    assert damages or b"".join(got) == content_of(GROUPS)


def test_short_stream_that_is_damaged_is_reported() -> None:
    first = short_stream(wire.MODEL, TEXT * 2, CODEC)
    archive = bytearray(first + short_stream(Zstd.kind, TEXT * 2, CODEC))
    archive[len(first) - 6] ^= 1
    got, damages = kept(bytes(archive))
    assert b"".join(got) == TEXT * 2
    assert [(damage.offset, damage.size) for damage in damages] == [(0, len(TEXT) * 2)]


def test_errors_of_finding_the_codec_pass_through() -> None:
    def missing(codec_id: CodecId) -> FakeCodec:
        raise LookupError(codec_id.model_name)

    for archive in (full_stream(GROUPS, codec=CODEC), short_stream(wire.MODEL, TEXT, CODEC)):
        reader = ArchiveReader(io.BytesIO(archive), missing, CODECS, damaged=lambda _: None)
        with pytest.raises(LookupError):
            list(reader)
    assert list(ArchiveReader(io.BytesIO(short_stream(Lzma.kind, TEXT * 2)), never, CODECS)) == [TEXT * 2]
