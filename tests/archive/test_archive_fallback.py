"""The fallback codecs: every kind comes back, and the choice is as good as the best of the peers."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import random
from collections.abc import Callable

import brotli
import pytest
import zstandard
from archive_fakes import FALLBACK_KINDS, QUICK, coded, pack
from hypothesis import example, given, settings
from hypothesis import strategies as st

from nacrith.archive import scan, wire
from nacrith.archive.blockcodec import Effort
from nacrith.errors import CorruptError
from nacrith.fallback import CODECS, Registry, samples
from nacrith.fallback import lzma as lzma_codec
from nacrith.fallback.brotli import Brotli
from nacrith.fallback.bzip2 import Bzip2
from nacrith.fallback.learner import SAMPLES, SHAPES, Learner, table_bits
from nacrith.fallback.lzma import Lzma
from nacrith.fallback.raw import Raw
from nacrith.fallback.zstd import Zstd

PEERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip -9": lambda data: gzip.compress(data, 9),
    "bzip2 -9": lambda data: bz2.compress(data, 9),
    "xz -9e": lambda data: lzma.compress(data, preset=9 | lzma.PRESET_EXTREME),
    "zstd -22": zstandard.ZstdCompressor(level=22).compress,
    "brotli 11": brotli.compress,
}


def bitmap(rnd: random.Random) -> bytes:
    rows = [bytearray(150)]
    for _ in range(60):
        row = bytearray(rows[-1])
        for _ in range(3):
            row[rnd.randrange(150)] ^= 1 << rnd.randrange(8)
        rows.append(row)
    return b"".join(rows)


def samples16(rnd: random.Random) -> bytes:
    value, out = 0, bytearray()
    for _ in range(4000):
        value = max(-30_000, min(30_000, value + rnd.randint(-200, 200)))
        out += value.to_bytes(2, "little", signed=True)
    return bytes(out)


def table(rnd: random.Random) -> bytes:
    return b"".join(
        i.to_bytes(4, "little") + rnd.randrange(40).to_bytes(2, "little") + b"\0\0" +
        rnd.choice([b"north", b"south", b"east\0", b"west\0"]) + bytes(3)
        for i in range(500)
    )  # fmt: skip


def calls(rnd: random.Random) -> bytes:
    """Like x86 code: relative calls of few targets from everywhere."""
    out = bytearray()
    targets = [rnd.randrange(1 << 20) for _ in range(30)]
    while len(out) < 9000:
        out += rnd.choice([b"\x55\x48\x89\xe5", b"\x48\x83\xec\x20", b"\xc9\xc3", b"\x31\xc0"])
        out += b"\xe8" + (rnd.choice(targets) - len(out) - 5).to_bytes(4, "little", signed=True)
    return bytes(out)


def half_noise(rnd: random.Random) -> bytes:
    return rnd.randbytes(4000) + bytes(2000) + rnd.randbytes(500) * 3


BINARIES = {make.__name__: make(random.Random(1))
            for make in (bitmap, samples16, table, calls, half_noise)}  # fmt: skip
BINARIES |= {"zeros": bytes(30_000), "noise": random.Random(2).randbytes(6000)}


@pytest.mark.parametrize("name", BINARIES)
def test_binaries_are_within_2_percent_of_the_best_peer(name: str) -> None:
    content = BINARIES[name]
    archive = pack(content, None, codecs=CODECS)
    best = min(len(compress(content)) for compress in PEERS.values())
    assert len(archive) <= max(1.02 * best, best + 24)


def test_filters_pay_where_they_should() -> None:
    kinds = {}
    for name in ("samples16", "calls"):
        made = Registry(Raw(), Lzma()).encode(BINARIES[name])
        kinds[name] = (made.kind, made.payload[1])
    assert kinds["samples16"][0] == Lzma.kind
    assert kinds["samples16"][1] >= lzma_codec.DELTA
    assert kinds["calls"] == (Lzma.kind, lzma_codec.X86)


@settings(deadline=None, max_examples=60)
@given(st.one_of(st.binary(max_size=400), st.binary(min_size=1, max_size=9).map(lambda b: b * 99)))
@example(b"")
@example(b"a")
@example(bytes(5))
def test_every_kind_comes_back(data: bytes) -> None:
    for kind in FALLBACK_KINDS:
        if data or kind == wire.RAW:
            assert CODECS.decode(kind, coded(kind, data)[1], len(data)) == data
    for options in ({}, {"text": True}, {"effort": Effort.FAST}, {"effort": Effort.BESIDE}):
        made = CODECS.encode(data, **options)
        assert CODECS.decode(made.kind, made.payload, len(data)) == data
        assert len(made.payload) <= len(data)


@pytest.mark.parametrize("kind", [kind for kind in FALLBACK_KINDS if kind != Learner.kind])
def test_a_payload_ends_where_its_data_ends(kind: int) -> None:
    """But for the learner's, which has no end of its own."""
    data = BINARIES["table"]
    payload = coded(kind, data)[1]
    more = [b"\0", b"\n", bytes(9), payload, coded(kind, b"")[1], payload[:5]]
    for bad in [payload + extra for extra in more if extra] + [payload[:-1], payload[: len(payload) // 2]]:
        with pytest.raises(CorruptError):
            CODECS.decode(kind, bad, len(data))


def test_zstd_frames_of_other_encoders() -> None:
    """With checksum, with the size, of several blocks, of runs: one frame, and so a good payload."""
    for data in (bytes(300_000), BINARIES["calls"] * 9, b"x", BINARIES["noise"] * 5):
        for more in ({"write_checksum": 1}, {"write_content_size": 1}, {"compression_level": 1}):
            made = zstandard.ZstdCompressionParameters(format=zstandard.FORMAT_ZSTD1_MAGICLESS, **more)
            payload = zstandard.ZstdCompressor(compression_params=made).compress(data)
            assert CODECS.decode(Zstd.kind, payload, len(data)) == data
            with pytest.raises(CorruptError, match="end where"):
                CODECS.decode(Zstd.kind, payload + b"\0", len(data))


@pytest.mark.parametrize("shape", SHAPES)
def test_the_learner_of_every_shape(shape: int) -> None:
    for data in (b"", b"a", b"ab", b"abcd", b"ab" * 300, BINARIES["table"][:1500], BINARIES["noise"][:600]):
        more = (samples.BYTES, 1, 0) if shape == SAMPLES else ()
        payload = Learner().encode(data, (shape, table_bits(len(data)), *more))
        assert CODECS.decode(Learner.kind, payload, len(data)) == data
        assert len(payload) <= 1.03 * len(data) + 7


def test_bytes_behind_a_payload_of_the_learner_change_nothing() -> None:
    """If they are zero: others may change the last bytes, which the check of the block is for."""
    data = BINARIES["table"][:700]
    _, payload = coded(Learner.kind, data)
    assert CODECS.decode(Learner.kind, payload + bytes(9), len(data)) == data
    assert CODECS.decode(Learner.kind, payload[:-2], len(data)) != data


def test_a_short_message_of_common_words_stays_with_brotli() -> None:
    """Its dictionary knows them before the first byte."""
    message = (
        b'{"status": "success", "message": "The information about the company was not available because the '
        b'government has changed the international service", "description": "Please contact the following"}'
    )
    made = CODECS.encode(message, text=True)
    assert made.kind == Brotli.kind


def test_large_noise_is_given_up_early(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> bytes:
        raise AssertionError("a slow encoder was tried on noise")

    for codec in (Lzma, Brotli, Bzip2, Zstd):
        monkeypatch.setattr(codec, "encode", refuse)
    noise = random.Random(5).randbytes(1 << 20)
    made = CODECS.encode(noise)
    assert (made.kind, made.payload) == (wire.RAW, noise)


def test_distant_repetition_is_not_taken_for_noise() -> None:
    noise = random.Random(5).randbytes(1 << 19)
    made = Registry(Raw(), Zstd(), Lzma()).encode(noise * 2)
    assert made.kind != wire.RAW
    assert len(made.payload) < 1.01 * len(noise)


def test_a_block_is_bounded() -> None:
    with pytest.raises(ValueError, match="16777216"):
        CODECS.encode(bytes((1 << 24) + 1))


def test_mixed_content_takes_the_better_of_segments_and_whole() -> None:
    rnd = random.Random(8)
    text = " ".join(str(rnd.randrange(10**6)) for _ in range(6000)).encode()
    content = text + samples16(rnd) * 2 + text[::-1]
    (info,) = scan(io.BytesIO(pack(content, None, codecs=QUICK)), CODECS.names)
    assert [block.kind for block in info.blocks].count("lzma") == 1
    assert len(info.blocks) == 3
    (info,) = scan(io.BytesIO(pack(b"a" * 3000 + bytes(3000) + b"a" * 3000, None)), CODECS.names)
    assert len(info.blocks) == 1
