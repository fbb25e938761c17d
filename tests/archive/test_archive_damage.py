"""Bad archives: every truncation, every flipped bit and anything else is an error of ours."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable
from zlib import crc32

import pytest
from archive_fakes import (
    FALLBACK_KINDS,
    FakeCodec,
    coded,
    content_of,
    full_stream,
    pack,
    short_stream,
    starts_of,
    unpack,
)
from hypothesis import example, given, settings
from hypothesis import strategies as st

from nacrith.archive import ArchiveReader, scan, wire
from nacrith.archive.records import Block, End, GroupHead, full_header, index_entry
from nacrith.errors import CorruptError, NacrithError, TruncatedError, UnsupportedFormatError
from nacrith.fallback import CODECS
from nacrith.fallback.brotli import Brotli
from nacrith.fallback.bzip2 import Bzip2
from nacrith.fallback.learner import Learner
from nacrith.fallback.lzma import Lzma
from nacrith.fallback.zstd import Zstd
from nacrith.varint import put_varint

TEXT = b"The quick brown fox jumps over the lazy dog. How vexingly quick daft zebras jump!\n"
CODEC = FakeCodec()
MIXED = [
    [(wire.RAW, b"raw bytes"), (wire.MODEL, TEXT * 3), (Bzip2.kind, b"b" * 90)],
    [(Lzma.kind, TEXT * 4), (wire.MODEL, TEXT), (Zstd.kind, TEXT * 5), (Brotli.kind, TEXT)],
    [(Learner.kind, TEXT)],
]
METADATA = b"\x02\x05a.txt\x06\x02\xa4\x01"

SHORT = {
    {**CODECS.names, wire.MODEL: "model"}[kind]: short_stream(
        kind, TEXT if kind == Learner.kind else TEXT * 2, CODEC
    )
    for kind in (*FALLBACK_KINDS, wire.MODEL)
}
ARCHIVES: dict[str, bytes] = {
    **{f"short {name}": archive for name, archive in SHORT.items()},
    "empty": pack(b"", None),
    "full": full_stream(MIXED, codec=CODEC, metadata=METADATA),
    "full empty": full_stream([], metadata=METADATA),
    "two streams": SHORT["model"] + full_stream(MIXED[:1], codec=CODEC),
}
# Where a cut leaves whole streams, there is nothing to notice.
WHOLE_AT = {"two streams": {len(SHORT["model"])}}


def outcome(archive: bytes, read: Callable[[bytes], object]) -> object:
    """What `read` gives, or the error of ours that it raises; any other error fails the test."""
    try:
        return read(archive)
    except NacrithError as error:
        return error


def scanned(archive: bytes) -> object:
    return scan(io.BytesIO(archive), CODECS.names)


def ranged(archive: bytes) -> bytes:
    reader = ArchiveReader(io.BytesIO(archive), lambda _: CODEC, CODECS)
    return reader.read_range(0, 1 << 30)


def read_all(archive: bytes) -> bytes:
    return b"".join(ArchiveReader(io.BytesIO(archive), lambda _: CODEC, CODECS))


@pytest.mark.parametrize("name", ARCHIVES)
def test_the_undamaged_archive_is_good(name: str) -> None:
    assert ranged(ARCHIVES[name]) == read_all(ARCHIVES[name])
    assert unpack(ARCHIVES[name], CODEC) == read_all(ARCHIVES[name])


@pytest.mark.parametrize("name", ARCHIVES)
def test_truncated_at_every_offset(name: str) -> None:
    archive = ARCHIVES[name]
    for end in range(len(archive)):
        if end in WHOLE_AT.get(name, ()):
            continue
        for read in (read_all, scanned, ranged):
            assert isinstance(outcome(archive[:end], read), TruncatedError), (end, read)


@pytest.mark.parametrize("name", ARCHIVES)
def test_one_bit_flipped_at_every_offset(name: str) -> None:
    archive = bytearray(ARCHIVES[name])
    for at in range(len(archive)):
        for bit in range(8):
            archive[at] ^= 1 << bit
            assert isinstance(outcome(bytes(archive), read_all), NacrithError), (at, bit)
            archive[at] ^= 1 << bit


def test_one_bit_flipped_never_gives_a_wrong_range() -> None:
    archive = bytearray(ARCHIVES["full"])
    content = content_of(MIXED)
    for at in range(len(archive)):
        archive[at] ^= 1 << at % 8
        got = outcome(bytes(archive), ranged)
        assert isinstance(got, NacrithError) or got == content
        archive[at] ^= 1 << at % 8


def test_errors_say_where_and_of_which_kind() -> None:
    archive = bytearray(ARCHIVES["full"])
    archive[-200] ^= 1
    with pytest.raises(CorruptError, match=r"content offset \d+: .* block of \d+ bytes: its payload"):
        read_all(bytes(archive))
    with pytest.raises(UnsupportedFormatError, match="not a nacrith archive"):
        read_all(b"\x1f\x8b\x08\x00")
    with pytest.raises(TruncatedError, match="empty"):
        read_all(b"")
    with pytest.raises(TruncatedError, match=r"ends at byte \d+"):
        read_all(ARCHIVES["full"][:-1])


@pytest.mark.parametrize("garbage", [b"\0", b"\n", b"\x8e", b"\x8eN", b"garbage", bytes(1000)])
@pytest.mark.parametrize("name", ["empty", "full", "short raw"])
def test_trailing_bytes_are_an_error(name: str, garbage: bytes) -> None:
    for read in (read_all, scanned, ranged):
        assert isinstance(outcome(ARCHIVES[name] + garbage, read), CorruptError)


@settings(deadline=None, max_examples=150)
@given(st.integers(0, len(ARCHIVES["full"]) - 1), st.binary(max_size=12), st.integers(0, 12))
def test_spliced_bytes(at: int, put: bytes, dropped: int) -> None:
    archive = ARCHIVES["full"]
    damaged = archive[:at] + put + archive[at + dropped :]
    got = outcome(damaged, read_all)
    assert isinstance(got, NacrithError) or damaged == archive


@settings(deadline=None, max_examples=300)
@given(st.binary(max_size=60), st.sampled_from([b"", wire.SHORT_MAGIC, wire.FULL_MAGIC + b"\x01"]))
@example(b"", b"")
def test_any_bytes(data: bytes, magic: bytes) -> None:
    for read in (read_all, scanned, ranged):
        outcome(magic + data, read)


def reseal(head: bytes) -> bytes:
    """A header or head with a right check: what a hostile or newer writer could have made."""
    return head + wire.u32(crc32(head))


BIG = put_varint(1 << 62)


@pytest.mark.parametrize(
    ("metadata", "error"),
    [
        (b"\x05\x01x", UnsupportedFormatError),  # critical, unknown
        (b"\x09\x00", UnsupportedFormatError),
        (b"\x02\x01a\x02\x01b", CorruptError),  # twice
        (b"\x04\x08" + bytes(8) + b"\x02\x01a", CorruptError),  # descending
        (b"\x02\x03a/b", CorruptError),
        (b"\x02\x00", CorruptError),
        (b"\x04\x07" + bytes(7), CorruptError),
        (b"\x06\x02\xff\xff", CorruptError),
        (b"\x02\x7fa", CorruptError),  # runs past the end
        (b"\x82\x00\x01a", CorruptError),  # key not in its shortest form
        (BIG + b"\x00", CorruptError),
    ],
)
def test_impossible_metadata(metadata: bytes, error: type[NacrithError]) -> None:
    archive = full_stream([[(wire.RAW, b"x")]], metadata=metadata)
    for read in (read_all, scanned):
        assert type(outcome(archive, read)) is error


def test_unknown_optional_metadata_is_skipped() -> None:
    metadata = b"\x02\x01a\x08\x03new\xc8\x01\x00"
    archive = full_stream([[(wire.RAW, b"x")]], metadata=metadata)
    assert read_all(archive) == b"x"
    assert scan(io.BytesIO(archive), CODECS.names)[0].metadata.name == "a"


def test_newer_versions_and_kinds_are_unsupported() -> None:
    archive = bytearray(ARCHIVES["full"])
    archive[4] = 2
    for read in (read_all, scanned):
        assert type(outcome(bytes(archive), read)) is UnsupportedFormatError
    short = bytearray(SHORT["raw"])
    short[2] = 7
    assert type(outcome(bytes(short), read_all)) is UnsupportedFormatError
    block, payload = coded(wire.RAW, b"abc")
    head = GroupHead([Block(7, 3, 3, block.payload_crc, block.content_crc)])
    made = full_header(b"") + head.pack() + payload
    assert type(outcome(made, read_all)) is UnsupportedFormatError


def group(body: bytes, tag: int = wire.TAG_GROUP) -> bytes:
    return full_header(b"") + reseal(bytes([tag]) + put_varint(len(body)) + body)


@pytest.mark.parametrize(
    "archive",
    [
        group(b""),  # no blocks
        group(b"\x00\x00" + bytes(4)),  # an empty block
        group(b"\x00" + put_varint((1 << 24) + 1) + bytes(4)),
        group((b"\x02" + put_varint(1 << 24) + b"\x01" + bytes(8)) * 2),  # 32 MiB in all
        group(b"\x02\x05\x06" + bytes(8)),  # payload longer than content
        group(b"\x00\x85\x00" + bytes(4)),  # length not in its shortest form
        group(b"\x01\x05\x01" + bytes(8)),  # model block without a codec
        group(bytes(32) + b"\x00\x41" + bytes(65) + b"\x00\x01" + bytes(4), wire.TAG_CODEC_GROUP),
        full_header(b"") + b"G" + put_varint((1 << 20) + 1),
        full_header(b"") + b"G" + b"\xff" * 20,
        wire.FULL_MAGIC + b"\x01" + put_varint((1 << 16) + 1),
        full_header(b"") + b"X",
        wire.SHORT_MAGIC + b"\x00" + put_varint((1 << 18) + 1),
        wire.SHORT_MAGIC + b"\x02\x05\x06",
        wire.SHORT_MAGIC + b"\xf1\x03",
        full_header(b"") + End(bytes(16), 0).pack(),  # the hash of something else
        full_header(b"") + End(bytes(16), 1).pack(),
        full_header(b"") + End(bytes(16), 0, index_entry(5, 20)).pack(),  # an index of groups that are not
    ],
    ids=range(18),
)
def test_fields_out_of_bounds_are_corrupt(archive: bytes) -> None:
    assert type(outcome(archive + bytes(64), read_all)) is CorruptError


def test_a_codec_may_be_defined_once() -> None:
    block, payload = coded(wire.MODEL, TEXT, CODEC)
    part = GroupHead([block], CODEC.id).pack() + payload
    assert type(outcome(full_header(b"") + part * 2, read_all)) is CorruptError


def test_a_lying_index_is_noticed() -> None:
    archive = full_stream([[(wire.RAW, TEXT)], [(wire.RAW, TEXT * 2)]])
    first, second, end = starts_of(archive)
    index = index_entry(len(TEXT) * 2, second - first) + index_entry(len(TEXT), end - second)
    lying = archive[:end] + End(archive[end + 2 : end + 18], 0, index).pack()
    assert len(lying) == len(archive)
    for read in (read_all, scanned, ranged):
        assert type(outcome(lying, read)) is CorruptError


def test_a_decoder_never_makes_more_than_is_stated() -> None:
    for kind in FALLBACK_KINDS:
        _, payload = coded(kind, bytes(1 << 13 if kind == Learner.kind else 1 << 20))
        for size in (0, 1, 1000):
            try:
                assert CODECS.decode(kind, payload, size) == bytes(size)
                assert kind == Learner.kind  # has no end of its own
            except CorruptError:
                continue


@settings(deadline=None, max_examples=150)
@given(st.sampled_from(FALLBACK_KINDS), st.binary(max_size=80), st.integers(0, 3000), st.booleans())
def test_decoders_of_any_payload(kind: int, payload: bytes, size: int, spliced: bool) -> None:
    if spliced:
        good = coded(kind, TEXT * 6)[1]
        payload = good[: len(good) // 2] + payload
    with contextlib.suppress(CorruptError):
        assert len(CODECS.decode(kind, payload, size)) == size


def test_blocks_before_a_damaged_one_are_handed_out() -> None:
    """Also where all are in one group, and would be decoded at a time."""
    archive = bytearray(ARCHIVES["full"])
    third = coded(*MIXED[1][1], CODEC)[1]
    archive[archive.index(third, starts_of(archive)[1]) + 8] ^= 1
    got = []
    with pytest.raises(CorruptError, match=r"content offset \d+: model block of"):
        got.extend(ArchiveReader(io.BytesIO(archive), lambda _: CODEC, CODECS))
    assert b"".join(got) == content_of(MIXED[:1]) + MIXED[1][0][1]


def test_what_the_codec_refuses_has_a_place_too() -> None:
    class Refusing(FakeCodec):
        def decode(self, blocks, progress=None):  # type: ignore[no-untyped-def]
            raise CorruptError("refused")

    with pytest.raises(CorruptError, match=r"content offset 9: model block of \d+ bytes: refused"):
        list(ArchiveReader(io.BytesIO(ARCHIVES["full"]), lambda _: Refusing(), CODECS))
    with pytest.raises(CorruptError, match="content offset 0: short stream: refused"):
        list(ArchiveReader(io.BytesIO(SHORT["model"]), lambda _: Refusing(), CODECS))
