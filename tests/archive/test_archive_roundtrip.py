"""The container, written and read: any content comes back however it is cut; sizes are bounded."""

from __future__ import annotations

import io
import os
import random
import subprocess
import sys
import threading

import pytest
from archive_fakes import QUICK, FakeCodec, finder, never, pack, unpack
from hypothesis import given, settings
from hypothesis import strategies as st

from nacrith.archive import ArchiveReader, ArchiveWriter, Metadata, scan, writer
from nacrith.archive.wire import SHORT_MAX
from nacrith.errors import NacrithError, TruncatedError
from nacrith.fallback import CODECS

TEXT = ("It was a dark and stormy night; the rain fell in torrents, except at occasional "
        "intervals, when it was checked by a violent gust of wind.\n")  # fmt: skip


def words(count: int, seed: int = 1) -> bytes:
    """Text that does not repeat, about 6 bytes a word."""
    rnd = random.Random(seed)
    vocabulary = ["".join(rnd.choices("etaoinshrdlu", k=rnd.randint(2, 9))) for _ in range(2000)]
    lines = (" ".join(rnd.choices(vocabulary, k=12)) for _ in range(count // 12 + 1))
    return "\n".join(lines).encode()


def noise(size: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(size)


@pytest.fixture
def small_super_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Super-blocks of 8 KiB, so that little content makes many groups. Readers take any size."""
    monkeypatch.setattr(writer, "SUPER_BLOCK", 1 << 13)


CONTENTS: dict[str, bytes] = {
    "empty": b"",
    "one byte": b"a",
    "message": TEXT.encode()[:100],
    "text": words(3000),
    "noise": noise(5000),
    "text noise text": words(900) + noise(4000) + words(900, 2),
    "zeros": bytes(30_000),
    "all bytes": bytes(range(256)) * 20,
    "large text": words(45_000),
}


@pytest.mark.parametrize("name", CONTENTS)
@pytest.mark.parametrize("with_model", [False, True])
def test_round_trip(name: str, with_model: bool) -> None:
    content = CONTENTS[name]
    codec = FakeCodec() if with_model else None
    archive = pack(content, codec, block=4096)
    assert unpack(archive, codec) == content
    assert len(archive) <= len(content) + 64
    infos = scan(io.BytesIO(archive), CODECS.names)
    assert sum(info.content_size for info in infos) == content.__len__()
    assert infos[-1].offset + infos[-1].size == len(archive)
    assert infos[0].form == ("short" if len(infos[0].blocks) == 1 and len(content) <= SHORT_MAX
                             else "full")  # fmt: skip


fragments = st.one_of(
    st.binary(max_size=300),
    st.text(max_size=300).map(lambda text: text.encode("utf-8", "replace")),
    st.builds(words, st.integers(1, 800), st.integers(1, 3)),
    st.builds(noise, st.integers(1, 3000), st.integers(1, 3)),
    st.builds(lambda byte, count: byte * count, st.binary(min_size=1, max_size=2),
              st.integers(0, 3000)),
)  # fmt: skip


@settings(deadline=None, max_examples=60)
@given(
    parts=st.lists(fragments, max_size=5),
    batch=st.sampled_from([1, 2000, 20_000]),
    block=st.integers(1024, 5000),
    data=st.data(),
)
def test_bytes_do_not_depend_on_how_content_arrives(
    parts: list[bytes], batch: int, block: int, data: st.DataObject
) -> None:
    content = b"".join(parts)
    whole = pack(content, FakeCodec(), block=block)
    out = io.BytesIO()
    told: list[int] = []
    with ArchiveWriter(
        out, FakeCodec(batch=batch), QUICK, block_bytes=block, progress=told.append
    ) as chunked:
        for part in parts:
            cut = data.draw(st.integers(0, len(part)))
            chunked.write(bytearray(part[:cut]))
            chunked.write(memoryview(part)[cut:])
    assert out.getvalue() == whole
    assert sum(told) == len(content)
    read: list[int] = []
    reader = ArchiveReader(io.BytesIO(whole), finder(FakeCodec(batch=batch)), CODECS, progress=read.append)
    assert b"".join(reader) == content
    assert sum(read) == len(content)
    assert len(whole) <= len(content) + 64


@pytest.mark.usefixtures("small_super_blocks")
@pytest.mark.parametrize("with_model", [False, True])
def test_many_groups(with_model: bool) -> None:
    content = noise(9000) + words(9000) + bytes(20_000) + words(3000, 5)
    codec = FakeCodec() if with_model else None
    archive = pack(content, codec, block=1500)
    assert unpack(archive, codec) == content
    groups = -(-len(content) // (1 << 13))
    assert len(archive) <= len(content) + 64 + 24 * (groups - 1)
    (info,) = scan(io.BytesIO(archive), CODECS.names)
    assert (info.codec is not None) == with_model
    assert info.content_size == len(content)


@pytest.mark.usefixtures("small_super_blocks")
def test_noise_never_grows_beyond_the_stated_bound() -> None:
    for size in (0, 1, 127, 128, 8192, 8193, 20_000):
        content = noise(size)
        groups = max(1, -(-size // (1 << 13)))
        bound = size + 64 + 24 * (groups - 1)
        long = Metadata(name="n" * 1000, mtime_ns=1, mode=0o644)
        for metadata in (None, Metadata(name="x"), long):
            assert len(pack(content, FakeCodec(), metadata=metadata)) <= bound


def test_16_mib_of_noise_stays_within_64_bytes() -> None:
    content = noise(1 << 24)
    archive = pack(content, None)
    assert len(archive) <= len(content) + 64
    assert unpack(archive) == content


def test_short_form_costs_little() -> None:
    message = TEXT.encode()[:100]
    codec = FakeCodec()
    archive = pack(message, codec)
    payload = codec.encode([message])[0]
    (info,) = scan(io.BytesIO(archive), CODECS.names)
    assert info.blocks[0].kind == "model"
    assert info.codec is not None
    assert info.codec.params == codec.id.params
    assert info.codec.fingerprint == codec.id.fingerprint[:4]
    assert len(archive) - len(payload) - len(codec.id.params) == 13
    assert len(pack(b"", codec)) == 8
    assert len(pack(b"\x00", None)) == 9


@pytest.mark.parametrize("size", [0, 3, 14, 15, 16, 255])
def test_parameters_of_any_length_survive_both_forms(size: int) -> None:
    codec = FakeCodec(params=noise(size))
    for content in (words(600), words(3000)):
        archive = pack(content, codec, block=6000)
        seen: list[bytes] = []

        def find(codec_id: object, seen: list[bytes] = seen, codec: FakeCodec = codec) -> FakeCodec:
            seen.append(codec_id.params)  # type: ignore[attr-defined]
            return codec

        assert b"".join(ArchiveReader(io.BytesIO(archive), find, CODECS)) == content
        assert seen == [codec.id.params]


def test_metadata_comes_back() -> None:
    metadata = Metadata(name="straße\udcff.txt", mtime_ns=-1, mode=0o4755)
    (info,) = scan(io.BytesIO(pack(words(900), None, metadata=metadata)), CODECS.names)
    assert info.form == "full"
    assert info.metadata == metadata
    (info,) = scan(io.BytesIO(pack(b"hi", None, metadata=metadata)), CODECS.names)
    assert info.metadata == Metadata()  # would have broken the bound


@pytest.mark.parametrize(
    "metadata",
    [Metadata(name=""), Metadata(name="a/b"), Metadata(name="a\0"), Metadata(name="é" * 513),
     Metadata(mtime_ns=1 << 63), Metadata(mode=0o10000)],
)  # fmt: skip
def test_impossible_metadata_is_refused(metadata: Metadata) -> None:
    with pytest.raises(ValueError, match="metadata"):
        pack(b"", None, metadata=metadata)


def test_impossible_codec_ids_are_refused() -> None:
    for codec in (FakeCodec(params=bytes(256)), FakeCodec(name="n" * 65), FakeCodec(key=b"short")):
        with pytest.raises(ValueError, match="codec"):
            pack(b"", codec)


def test_binary_content_never_meets_the_codec() -> None:
    out = io.BytesIO()
    with ArchiveWriter(out, FakeCodec(forbidden=True), QUICK, block_bytes=2000) as archive:
        archive.write(bytes(5000) + noise(20_000) + bytes(range(256)) * 10)
    assert b"".join(ArchiveReader(io.BytesIO(out.getvalue()), never, CODECS))


def test_hopeless_text_never_meets_the_codec() -> None:
    codec = FakeCodec(forbidden=True)
    printable = bytes(random.Random(3).choices(range(0x21, 0x7F), k=20_000))
    for content in (b"a" * 100_000, printable):
        assert unpack(pack(content, codec)) == content


def test_text_in_one_call() -> None:
    codec = FakeCodec()
    content = words(2000) + noise(3000) + words(2000, 2)
    pack(content, codec, block=2000)
    *samples, blocks = codec.encoded
    assert [[len(sample) for sample in call] for call in samples] == [[4096], [4096]]
    assert len(blocks) > 6


@pytest.mark.parametrize(("waste", "kinds"), [(0, {"model"}), (4000, {"learner"})])
def test_a_sample_decides_whether_the_model_codes_a_text(waste: int, kinds: set[str]) -> None:
    content = words(20_000)
    codec = FakeCodec(waste=waste)
    archive = pack(content, codec, block=30_000, codecs=CODECS)
    (info,) = scan(io.BytesIO(archive), CODECS.names)
    assert {block.kind for block in info.blocks} == kinds
    assert len(codec.encoded[0][0]) == 4096
    assert len(codec.encoded) == (1 if kinds == {"learner"} else 2)


def test_model_that_is_worse_is_not_used() -> None:
    content = words(1000)
    archive = pack(content, FakeCodec(waste=5000), block=4000, codecs=CODECS)
    (info,) = scan(io.BytesIO(archive), CODECS.names)
    assert info.codec is None
    assert {block.kind for block in info.blocks} == {"learner"}


def test_segmentation_never_loses() -> None:
    content = b"".join(words(300, 7) + bytes(1100) for _ in range(6))
    assert len(pack(content, FakeCodec(waste=500))) <= len(pack(content, None))
    whole = QUICK.encode(content).payload
    assert len(pack(content, None)) <= len(whole) + 64


@pytest.mark.usefixtures("small_super_blocks")
def test_concatenation_decodes_as_concatenation() -> None:
    codec = FakeCodec()
    contents = [words(2500), b"", b"short", noise(9000), words(2000, 4)]
    archive = b"".join(pack(content, codec, block=2000) for content in contents)
    whole = b"".join(contents)
    assert unpack(archive, codec) == whole
    reader = ArchiveReader(io.BytesIO(archive), finder(codec), CODECS)
    assert reader.size == len(whole)
    assert reader.read_range(14_000, 9000) == whole[14_000:23_000]
    assert len(scan(io.BytesIO(archive), CODECS.names)) == 5
    first = ArchiveReader(io.BytesIO(archive), finder(codec), CODECS, streams=1)
    assert b"".join(first) == contents[0]
    (info,) = scan(io.BytesIO(archive), CODECS.names, streams=1)
    assert archive[info.size :] == b"".join(pack(c, codec, block=2000) for c in contents[1:])


@pytest.mark.usefixtures("small_super_blocks")
def test_ranges_equal_slices() -> None:
    codec = FakeCodec(batch=4000)
    content = words(2500) + noise(5000) + words(1500, 2)
    archive = pack(content, codec, block=1500)
    reader = ArchiveReader(io.BytesIO(archive), finder(codec), CODECS)
    assert reader.size == len(content)
    rnd = random.Random(4)
    for _ in range(60):
        offset, size = rnd.randrange(len(content) + 10), rnd.choice([0, 1, 50, 3000, 1 << 20])
        assert reader.read_range(offset, size) == content[offset : offset + size]
    for offset in (0, 1, 8192, 20_000, len(content), len(content) + 5):
        assert b"".join(reader.pieces_from(offset)) == content[offset:]
    with pytest.raises(ValueError, match="negative"):
        reader.read_range(-1, 5)


def test_a_range_decodes_only_its_blocks() -> None:
    codec = FakeCodec(batch=1 << 20)
    content = words(6000)
    archive = pack(content, codec, block=2000)
    reader = ArchiveReader(io.BytesIO(archive), finder(codec), CODECS)
    assert reader.read_range(20_000, 10) == content[20_000:20_010]
    assert sum(codec.decoded) == 1


def test_size_does_not_disturb_an_iteration() -> None:
    content = words(3000)
    codec = FakeCodec(batch=1)
    reader = ArchiveReader(io.BytesIO(pack(content, codec, block=2000)), finder(codec), CODECS)
    pieces = iter(reader)
    got = next(pieces)
    assert reader.size == len(content)
    assert reader.read_range(5, 5) == content[5:10]
    assert got + b"".join(pieces) == content


def test_decodes_as_much_at_a_time_as_the_codec_likes() -> None:
    codec = FakeCodec(batch=7000)
    archive = pack(words(6000), codec, block=2000)
    unpack(archive, codec)
    assert max(codec.decoded) == 4
    assert sum(codec.decoded) == len(scan(io.BytesIO(archive), CODECS.names)[0].blocks)


@pytest.mark.usefixtures("small_super_blocks")
def test_through_pipes() -> None:
    content = words(4000) + noise(10_000)
    codec = FakeCodec()
    out_read, out_write = os.pipe()

    def produce() -> None:
        with (
            open(out_write, "wb", buffering=0) as file,
            ArchiveWriter(file, codec, QUICK, block_bytes=2000) as archive,
        ):
            archive.write(content)

    thread = threading.Thread(target=produce)
    thread.start()
    with open(out_read, "rb", buffering=0) as file:
        reader = ArchiveReader(file, finder(codec), CODECS)
        got = b"".join(reader)
        with pytest.raises(io.UnsupportedOperation):
            reader.size  # noqa: B018
    thread.join()
    assert got == content


class ShortReads(io.RawIOBase):
    """A file that cannot seek and gives a few bytes at a time."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def read(self, size: int = -1, /) -> bytes:
        part = self._data[self._at : self._at + min(size, 7)]
        self._at += len(part)
        return part


@pytest.mark.usefixtures("small_super_blocks")
def test_short_reads_and_scan_of_a_pipe() -> None:
    content = words(4000)
    archive = pack(content, None)
    assert b"".join(ArchiveReader(ShortReads(archive), never, CODECS)) == content
    assert scan(ShortReads(archive), CODECS.names) == scan(io.BytesIO(archive), CODECS.names)
    with pytest.raises(TruncatedError):
        scan(ShortReads(archive[:-3]), CODECS.names)


def test_starts_where_the_file_stands() -> None:
    content = words(3000)
    file = io.BytesIO(b"prefix" + pack(content, None))
    file.seek(6)
    reader = ArchiveReader(file, never, CODECS)
    assert reader.read_range(100, 50) == content[100:150]
    assert b"".join(reader) == content
    assert b"".join(reader) == content  # again, from the front


def test_codec_is_found_before_anything_is_handed_out() -> None:
    content = noise(4000) + words(3000)
    archive = pack(content, FakeCodec(), block=2000)
    with pytest.raises(AssertionError, match="no codec"):
        next(iter(ArchiveReader(io.BytesIO(archive), never, CODECS)))


def test_max_size_stops_before_decoding() -> None:
    content = bytes(1_000_000)
    archive = pack(content, None)
    assert len(archive) < 200
    with pytest.raises(NacrithError, match="allowed 999999"):
        next(iter(ArchiveReader(io.BytesIO(archive), never, CODECS, max_size=999_999)))
    reader = ArchiveReader(io.BytesIO(archive), never, CODECS, max_size=1_000_000)
    assert b"".join(reader) == content


def test_writer_states() -> None:
    out = io.BytesIO()
    archive = ArchiveWriter(out, None, CODECS, block_bytes=1 << 24)
    archive.write(b"x")
    archive.close()
    archive.close()
    size = len(out.getvalue())
    with pytest.raises(ValueError, match="closed"):
        archive.write(b"y")
    assert len(out.getvalue()) == size
    out = io.BytesIO()
    archive = ArchiveWriter(out, None, CODECS, block_bytes=1 << 24)
    archive.write(b"x")
    archive.__exit__(KeyError, KeyError(), None)
    assert not out.getvalue()


def test_scan_loads_neither_numpy_nor_codecs() -> None:
    archive = pack(words(900), None)
    code = (
        "import io, sys, nacrith.archive, nacrith.fallback\n"
        f"nacrith.archive.scan(io.BytesIO(bytes.fromhex('{archive.hex()}')), nacrith.fallback.CODECS.names)\n"
        "print(sorted({'numpy', 'torch', 'brotli', 'zstandard', 'lzma', 'bz2'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
