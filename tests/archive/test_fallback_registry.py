"""The registry of the fallback codecs: a new codec needs one class, a slow one codes only where it may win,
and nothing is coded or decoded without need."""

from __future__ import annotations

import io
import random
import subprocess
import sys
import zlib
from collections.abc import Sequence

import pytest
from archive_fakes import VARIANTS, FakeCodec, coded, finder, never

from nacrith.archive import ArchiveReader, ArchiveWriter, scan
from nacrith.archive.blockcodec import Effort
from nacrith.archive.records import Block
from nacrith.errors import CorruptError, UnsupportedFormatError
from nacrith.fallback import CODECS, Registry
from nacrith.fallback.brotli import Brotli
from nacrith.fallback.bzip2 import Bzip2
from nacrith.fallback.codec import Codec, Cost, Variant
from nacrith.fallback.learner import FAST, SHAPES, Learner, table_bits
from nacrith.fallback.lzma import Lzma
from nacrith.fallback.raw import Raw
from nacrith.fallback.zstd import Zstd

FASTER = (Effort.BESIDE, Effort.FAST, Effort.MEDIUM)


class Toy(Codec):
    """Kind 7: knows one text by heart, and packs everything else with zlib, badly.

    sizes: the length of each block that it was asked to encode.
    """

    kind = 7
    name = "toy"
    TEXT = b"A toy knows this line by heart. " * 90

    def __init__(self) -> None:
        self.sizes: list[int] = []

    def variants(self, data: bytes, *, text: bool, effort: Effort) -> Sequence[Variant]:
        return ((),)

    def encode(self, data: bytes, variant: Variant) -> bytes:
        self.sizes.append(len(data))
        return b"!" if data == self.TEXT else b"?" + zlib.compress(data, 1) + bytes(9)

    def decode(self, payload: bytes, size: int) -> bytes:
        if payload != b"!":
            raise ValueError("not by heart")
        return self.TEXT

    def sees_gain(self, data: bytes) -> bool:
        return True


class Second(Toy):
    """The same, beside another toy."""

    kind = 8


class Slow(Toy):
    """The same, as a slow codec. gain: how much of a payload it leaves out."""

    cost = Cost.SLOW

    def __init__(self, gain: float) -> None:
        super().__init__()
        self.gain = gain

    def encode(self, data: bytes, variant: Variant) -> bytes:
        self.sizes.append(len(data))
        payload = zlib.compress(data, 9)
        return payload[: int(len(payload) * (1 - self.gain))]


def pack(content: bytes, codecs: Registry, model: FakeCodec | None = None) -> bytes:
    out = io.BytesIO()
    with ArchiveWriter(out, model, codecs, block_bytes=1 << 20) as archive:
        archive.write(content)
    return out.getvalue()


def all_codecs() -> list[Codec]:
    return list(CODECS.codecs.values())


@pytest.mark.parametrize("content", [Toy.TEXT, Toy.TEXT + bytes(1 << 18)], ids=["short", "full"])
def test_a_new_codec_needs_nothing_but_its_class_and_a_place_in_the_registry(content: bytes) -> None:
    codecs = Registry(*all_codecs(), Toy())
    archive = pack(content, codecs)
    assert b"".join(ArchiveReader(io.BytesIO(archive), never, codecs)) == content
    (info,) = scan(io.BytesIO(archive), codecs.names)
    assert info.blocks[0].kind == "toy"
    reader = ArchiveReader(io.BytesIO(archive), never, codecs)
    assert reader.read_range(7, 20) == content[7:27]


def test_without_the_codec_the_archive_is_unsupported() -> None:
    archive = pack(Toy.TEXT, Registry(*all_codecs(), Toy()))
    for read in (
        lambda: scan(io.BytesIO(archive), CODECS.names),
        lambda: list(ArchiveReader(io.BytesIO(archive), never, CODECS)),
    ):
        with pytest.raises(UnsupportedFormatError, match="newer nacrith"):
            read()


def test_every_codec_passes_through_the_conformance_tests() -> None:
    assert set(VARIANTS) == set(CODECS.names)


def test_damage_names_what_is_wrong() -> None:
    codecs = Registry(*all_codecs(), Toy())
    with pytest.raises(CorruptError, match="not by heart"):
        codecs.decode(7, b"...", 3)


@pytest.mark.parametrize(
    "codecs", [[], [Zstd()], [Raw(), Zstd(), Zstd()], [Raw(), type("Model", (Zstd,), {"kind": 1})()]]
)
def test_kinds_are_checked(codecs: list[Codec]) -> None:
    with pytest.raises(ValueError, match="kinds of their own"):
        Registry(*codecs)


@pytest.fixture(scope="module")
def text() -> bytes:
    rnd = random.Random(3)
    words = [rnd.randbytes(3).hex() for _ in range(2000)]
    return " ".join(rnd.choice(words) for _ in range(30_000)).encode()[: 3 << 16]


def test_a_slow_codec_codes_a_block_only_after_a_good_trial(text: bytes) -> None:
    others = [Raw(), Zstd(), Bzip2()]
    bad, good = Slow(-0.5), Slow(0.9)
    assert Registry(*others, bad).encode(text).kind != Slow.kind
    assert bad.sizes == [Cost.SLOW.part]
    assert Registry(*others, good).encode(text).kind == Slow.kind
    assert good.sizes == [Cost.SLOW.part, len(text)]
    short = Slow(-0.5)
    Registry(*others, short).encode(text[: Cost.SLOW.least - 1])
    assert short.sizes == [Cost.SLOW.least - 1]  # no trial where it saves little


def test_a_trial_for_slow_codecs_drops_no_other(text: bytes) -> None:
    toy = Second()
    Registry(Raw(), toy, Slow(0.9)).encode(text)
    assert toy.sizes == [Cost.SLOW.part, len(text)]


def test_large_blocks_are_tried_by_parts(text: bytes) -> None:
    slow, toy = Slow(0.9), Second()
    block = text * 6
    made = Registry(Raw(), Zstd(), toy, slow).encode(block)
    assert made.kind == slow.kind
    assert toy.sizes == [Cost.SLOW.part, Cost.NORMAL.part]
    assert slow.sizes == [Cost.SLOW.part, Cost.NORMAL.part, len(block)]


def test_nothing_is_coded_again_for_a_block_that_is_its_whole_segment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[tuple[str, Variant, bytes]] = []
    for codec in (Learner, Brotli, Lzma, Zstd, Bzip2):
        encode = codec.encode

        def counted(self: Codec, data: bytes, variant: Variant = (), encode=encode) -> bytes:  # type: ignore
            seen.append((self.name, variant, data))
            return encode(self, data, variant)

        monkeypatch.setattr(codec, "encode", counted)
    content = " ".join(random.Random(4).choices(["red", "green", "blue", "black"], k=1500)).encode()
    model = FakeCodec()
    archive = pack(content, CODECS, model)
    assert model.encoded == [[content]]
    assert len(seen) == len(set(seen))
    assert b"".join(ArchiveReader(io.BytesIO(archive), finder(model), CODECS)) == content


class TwoWays(Slow):
    """A slow codec of three variants, the last one best. tries: (variant, length) of what it encoded."""

    def __init__(self) -> None:
        super().__init__(0.9)
        self.tries: list[tuple[Variant, int]] = []

    def variants(self, data: bytes, *, text: bool, effort: Effort) -> Sequence[Variant]:
        return ((3,), (2,), (1,))

    def encode(self, data: bytes, variant: Variant) -> bytes:
        self.tries.append((variant, len(data)))
        return super().encode(data, variant) + bytes(variant[0])


def test_a_slow_codec_codes_a_whole_block_once(text: bytes) -> None:
    codec = TwoWays()
    assert Registry(Raw(), codec).encode(text).kind == codec.kind
    assert codec.tries == [((way,), Cost.SLOW.part) for way in (3, 2, 1)] + [((1,), len(text))]


@pytest.mark.parametrize("size", [1 << 13, 1 << 18, 1 << 21])
def test_endless_repetition_is_left_to_the_fast_codecs(size: int) -> None:
    slow = Slow(0.99)
    made = Registry(Raw(), Zstd(), slow).encode(b"over and over again, " * (size // 21))
    assert made.kind == Zstd.kind
    assert not slow.sizes


def test_noise_is_coded_by_no_codec(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Toy, "sees_gain", Zstd.sees_gain)
    noise = random.Random(5).randbytes(Cost.SLOW.least)
    slow, toy = Slow(0.0), Second()
    assert Registry(Raw(), toy, slow).encode(noise).payload == noise
    assert not slow.sizes + toy.sizes


def test_where_a_fast_codec_expects_a_gain_no_slow_one_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Learner, "sees_gain", lambda *_: pytest.fail("asked without need"))
    assert CODECS.encode(b"over and over again, " * 4000).kind != Learner.kind


def test_nothing_that_was_coded_is_decoded_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Registry, "decode", lambda *_: pytest.fail("a result was decoded"))
    for content in (Toy.TEXT, bytes(5000), random.Random(6).randbytes(99), b"some text, " * 30):
        assert len(CODECS.encode(content).payload) <= len(content)


def test_the_learner_has_a_shape_for_text_and_two_for_binaries() -> None:
    content = b"a table or a text, " * 20
    shapes = [
        [shape for shape, _ in Learner().variants(content, text=text, effort=effort)]
        for text, effort in ((True, Effort.FULL), (False, Effort.FULL), *((True, e) for e in FASTER))
    ]
    assert shapes == [[0], [1, 0], [FAST], [FAST], [FAST]]


def test_with_little_effort_only_fast_codecs_are_candidates() -> None:
    content = bytes(range(256)) * 400
    found = {
        effort: {
            codec.name
            for codec in CODECS.codecs.values()
            if codec.variants(content, text=False, effort=effort)
        }
        for effort in Effort
    }
    assert found[Effort.FAST] == {"zstd", "learner"}
    assert found[Effort.MEDIUM] == found[Effort.FULL] == set(CODECS.names.values()) - {"raw"}
    assert found[Effort.BESIDE] == {"lzma", "learner"}


def test_the_tables_of_the_learner_are_in_proportion_to_the_content() -> None:
    for size, tables in ((1, 16), (512, 16), (513, 17), (1 << 12, 19), (1 << 20, 27), (1 << 24, 27)):
        assert table_bits(size) == tables
    content = b"a table or a text, " * 20
    bits = table_bits(len(content))
    for shape in SHAPES:
        for tables in range(32):
            payload = bytes([shape << 5 | tables]) + b"\1\1\0\0any bytes"
            try:
                said = f"{len(CODECS.decode(Learner.kind, payload, len(content)))} bytes"
            except CorruptError as error:
                said = str(error)
            good = said == f"{len(content)} bytes" or "the coded data is damaged" in said
            assert good if 16 <= tables <= bits else "out of range" in said
    for first in (b"", bytes([5 << 5 | 16]), bytes([7 << 5 | 16])):
        with pytest.raises(CorruptError, match="out of range"):
            CODECS.decode(Learner.kind, first, 1)


@pytest.mark.parametrize("codec", [c for c in all_codecs() if c.kind], ids=lambda c: c.name)
def test_a_lack_of_memory_is_not_damage(codec: Codec, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Codec, payload: bytes, size: int) -> bytes:
        raise MemoryError

    block, payload = coded(codec.kind, Toy.TEXT)
    assert isinstance(block, Block)
    monkeypatch.setattr(type(codec), "decode", full)
    with pytest.raises(MemoryError):
        CODECS.decode(codec.kind, payload, len(Toy.TEXT))


def test_zstd_says_when_memory_is_short(monkeypatch: pytest.MonkeyPatch) -> None:
    import zstandard

    def full(*_: object, **__: object) -> None:
        raise zstandard.ZstdError("decompression error: Allocation error : not enough memory")

    payload = coded(Zstd.kind, Toy.TEXT)[1]
    monkeypatch.setattr(zstandard, "ZstdDecompressor", full)
    with pytest.raises(MemoryError, match="not enough"):
        CODECS.decode(Zstd.kind, payload, len(Toy.TEXT))


def test_info_imports_no_compression_library() -> None:
    archives = [pack(Toy.TEXT, Registry(Raw(), codec)) for codec in all_codecs()[1:]]
    code = (
        "import sys, nacrith\n"
        f"for archive in {archives!r}: nacrith.info(archive)\n"
        "print({'numpy', 'brotli', 'zstandard', 'bz2', 'lzma'} & set(sys.modules) or 'none')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "none"
