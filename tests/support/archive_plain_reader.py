"""A second reader of archives: plain, slow, made from the documents of formats/ and nothing else.

It imports nothing of nacrith, so that an error in the package cannot hide in it. Model-coded blocks
are left to the function that is passed in. Any fault is an AssertionError or a library's own error.
"""

from __future__ import annotations

import bz2
import hashlib
import lzma
from collections.abc import Callable
from zlib import crc32

import brotli
import learner_plain
import zstandard

MODEL, MIB = 1, 1 << 20
Model = Callable[[bytes, bytes, bytes, int], bytes]
"""(fingerprint or its first 4 bytes, parameters, payload, content length) to content."""


class Cursor:
    """A place in the archive; every field is taken from here."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def take(self, size: int) -> bytes:
        assert self.at + size <= len(self.data), "truncated"
        self.at += size
        return self.data[self.at - size : self.at]

    def u8(self) -> int:
        return self.take(1)[0]

    def u32(self) -> int:
        return int.from_bytes(self.take(4), "little")

    def varint(self, bound: int) -> int:
        value = 0
        for i in range(9):
            byte = self.u8()
            value |= (byte & 127) << 7 * i
            if byte < 128:
                assert byte or not i, "varint not in its shortest form"
                assert value <= bound, "out of bounds"
                return value
        raise AssertionError("varint too long")

    def check(self, since: int) -> None:
        assert crc32(self.data[since : self.at]) == self.u32(), "check"


def read(archive: bytes, model: Model | None = None) -> bytes:
    """The content of a whole archive."""
    assert archive, "empty"
    cursor = Cursor(archive)
    content = b""
    while cursor.at < len(archive):
        start = cursor.at
        magic = cursor.take(2)
        if magic == b"\x8e\x73":
            content += read_short(cursor, start, model)
        else:
            assert magic + cursor.take(2) == b"\x8eNAC", "magic"
            content += read_full(cursor, start, model)
    return content


def read_short(cursor: Cursor, start: int, model: Model | None) -> bytes:
    packed = cursor.u8()
    kind, params_size = packed & 15, packed >> 4
    prefix = params = b""
    if kind == MODEL:
        if params_size == 15:
            params_size = cursor.u8()
            assert params_size >= 15
        prefix = cursor.take(4)
        params = cursor.take(params_size)
    else:
        assert not params_size, "unsupported"
    size = cursor.varint(262_144)
    payload = cursor.take(size if kind == 0 else cursor.varint(size))
    checked = cursor.data[start : cursor.at]
    content = decode(kind, payload, size, prefix, params, model)
    assert crc32(checked if kind == 0 else checked + content) == cursor.u32(), "check"
    return content


def read_full(cursor: Cursor, start: int, model: Model | None) -> bytes:
    assert cursor.u8() == 1, "version"
    read_metadata(Cursor(cursor.take(cursor.varint(65_536))))
    cursor.check(start)
    content = b""
    codec_group, fingerprint, params = 0, b"", b""
    index: list[tuple[int, int]] = []
    while True:
        start = cursor.at
        tag = cursor.u8()
        if tag == ord("E"):
            break
        assert tag in b"GC", "tag"
        head = Cursor(cursor.take(cursor.varint(MIB)))
        cursor.check(start)
        if tag == ord("C"):
            assert not codec_group, "second codec"
            codec_group = len(index) + 1
            fingerprint, params = read_codec(head)
        size = 0
        while head.at < len(head.data):
            block = read_block(head, cursor, fingerprint, params, model)
            size += len(block)
            content += block
        assert 0 < size <= 16 * MIB
        index.append((size, cursor.at - start))
    body = Cursor(cursor.take(cursor.varint(16 * MIB)))
    cursor.check(start)
    assert body.take(16) == hashlib.blake2b(content, digest_size=16).digest(), "hash"
    assert body.varint(MIB) == codec_group
    for group in index:
        assert (body.varint(16 * MIB), body.varint(32 * MIB)) == group, "index"
    assert body.at == len(body.data)
    assert cursor.u32() == cursor.at + 2 - start, "record length"
    assert cursor.take(2) == b"Z\x8e", "end magic"
    return content


def read_metadata(cursor: Cursor) -> None:
    last = -1
    while cursor.at < len(cursor.data):
        key = cursor.varint(2**32 - 1)
        value = cursor.take(cursor.varint(65_536))
        assert key > last, "order"
        last = key
        if key == 2:
            assert 0 < len(value) <= 1024
            assert b"\0" not in value
            assert b"/" not in value
        elif key == 4:
            assert len(value) == 8
        elif key == 6:
            assert len(value) == 2
            assert int.from_bytes(value, "little") <= 0o7777
        else:
            assert key % 2 == 0, "unsupported"


def read_codec(head: Cursor) -> tuple[bytes, bytes]:
    fingerprint = head.take(32)
    params = head.take(head.u8())
    name_size = head.u8()
    assert name_size <= 64
    head.take(name_size)
    return fingerprint, params


def read_block(head: Cursor, cursor: Cursor, fingerprint: bytes, params: bytes, model: Model | None) -> bytes:
    kind = head.u8()
    size = head.varint(16 * MIB)
    assert size
    if kind == 0:
        payload = cursor.take(size)
    else:
        payload = cursor.take(head.varint(size))
        assert crc32(payload) == head.u32(), "payload check"
    assert kind != MODEL or fingerprint, "no codec"
    content = decode(kind, payload, size, fingerprint, params, model)
    assert crc32(content) == head.u32(), "content check"
    return content


def power_of_two(size: int, low: int, high: int) -> int:
    power = low
    while power < size and power < high:
        power *= 2
    return power


def decode(
    kind: int, payload: bytes, size: int, fingerprint: bytes, params: bytes, model: Model | None
) -> bytes:
    if kind == 0:
        content = payload
    elif kind == MODEL:
        assert model is not None, "no model"
        content = model(fingerprint, params, payload, size)
    elif kind == 2:
        frames = zstandard.ZstdDecompressor(format=zstandard.FORMAT_ZSTD1_MAGICLESS)
        content = frames.decompressobj().decompress(payload)
    elif kind == 3:
        content = decode_lzma(payload, size)
    elif kind == 4:
        content = brotli.decompress(payload)
    elif kind == 5:
        content = decode_learner(payload, size)
    else:
        assert kind == 6, "unsupported"
        content = bz2.decompress(payload)
    assert len(content) == size, "length"
    return content


def decode_lzma(payload: bytes, size: int) -> bytes:
    """By way of a .lzma header; the delta filter is undone here, x86 by the library."""
    properties, kind = payload[:2]
    dictionary = power_of_two(size, 4096, 16 * MIB)
    if kind == 1:
        main = {"id": lzma.FILTER_LZMA1, "dict_size": dictionary, "lc": properties % 9}
        main |= {"lp": properties // 9 % 5, "pb": properties // 45}
        return lzma.decompress(payload[2:], lzma.FORMAT_RAW, filters=[{"id": lzma.FILTER_X86}, main])
    header = bytes([properties]) + dictionary.to_bytes(4, "little") + b"\xff" * 8
    content = bytearray(lzma.decompress(header + payload[2:], lzma.FORMAT_ALONE))
    if kind:
        assert 16 <= kind <= 31, "filter"
        for i in range(kind - 15, len(content)):
            content[i] = (content[i] + content[i - (kind - 15)]) & 255
    return bytes(content)


def decode_learner(payload: bytes, size: int) -> bytes:
    shape, bits = payload[0] >> 5, payload[0] & 31
    assert shape <= 4
    assert 1 << 16 <= 1 << bits <= power_of_two(128 * size, 1 << 16, 1 << 27)
    if shape == 4:
        return decode_samples(payload, bits, size)
    if shape == 3:
        return undo_x86(learner_plain.decode(payload[1:], 1, bits, size))
    return learner_plain.decode(payload[1:], shape, bits, size)


def decode_samples(payload: bytes, bits: int, size: int) -> bytes:
    kind, step = payload[1:3]
    row = int.from_bytes(payload[3:5], "little")
    assert kind in (0, 1, 4, 5, 6, 7), "kind"
    if kind == 0:
        assert step == 1, "step"
        assert row, "row"
    else:
        width = 1 if kind == 1 else 2
        assert step, "step"
        assert step % width == row % width == 0, "step or row"
        assert row == 0 or row > 2 * step, "row"
    layout = step, row
    content = bytearray(learner_plain.decode(payload[5:], {0: 3, 1: 4}.get(kind, 5), bits, size, layout))
    if kind >= 4:
        for i in range(0, len(content) - 1, 2):
            pair = [content[i] ^ 64 * (kind & 2), content[i + 1]]
            content[i : i + 2] = pair[::-1] if kind & 1 else pair
    return bytes(content)


def undo_x86(text: bytes) -> bytes:
    content = bytearray(text)
    at = 0
    while at < len(content):
        opcode = content[at : at + 3]
        if opcode[0] in b"\xe8\xe9":
            begin = at + 1
        elif opcode[:2] in (b"\xff\x15", b"\xff\x25"):
            begin = at + 2
        elif (
            len(opcode) == 3
            and opcode[0] in b"\x48\x4c"
            and opcode[1] not in b"\xe8\xe9"
            and opcode[2] % 8 == 5
            and opcode[2] < 64
        ):
            begin = at + 3
        else:
            begin = len(content)
        at = begin + 4 if begin + 4 <= len(content) else at + 1
        value = int.from_bytes(content[begin : begin + 4], "little", signed=True)
        if begin + 4 <= len(content) and -(2**24) <= value < 2**24:
            value = (value - at + 2**24) % 2**25 - 2**24
            content[begin:at] = value.to_bytes(4, "little", signed=True)
    return bytes(content)
