"""Packs and parses the records of an archive.

The byte tables of `formats/archive-v1.md` are implemented here only, so that writer, reader and scanner
cannot disagree. A record is parsed after its checksum has been compared; every field is checked against its
bounds all the same.
"""

from __future__ import annotations

from collections.abc import Container, Iterator
from dataclasses import dataclass
from zlib import crc32

from nacrith.archive.blockcodec import CodecId
from nacrith.archive.wire import (
    END_MAGIC,
    END_MAX,
    FILE_NAME_MAX,
    FINGERPRINT_SIZE,
    FULL_MAGIC,
    FULL_VERSION,
    GROUP_HEAD_MAX,
    HASH_SIZE,
    KEY_MODE,
    KEY_MTIME,
    KEY_NAME,
    MAX_GROUPS,
    METADATA_MAX,
    MODEL,
    MODEL_NAME_MAX,
    PARAMS_MAX,
    PREFIX_SIZE,
    RAW,
    SHORT_MAGIC,
    SHORT_MAX,
    SUPER_BLOCK,
    TAG_CODEC_GROUP,
    TAG_END,
    TAG_GROUP,
    TRAILER_SIZE,
    Fields,
    Source,
    bounded_varint,
    u32,
)
from nacrith.errors import CorruptError, UnsupportedFormatError
from nacrith.varint import put_varint

MTIMES = range(-(1 << 63), 1 << 63)
"""Times that an archive can store: nanoseconds since 1970, until the year 2262."""


@dataclass(frozen=True)
class Metadata:
    """What a full stream may state about its source file. These are hints and never trusted.

    name: the last component of the file's name, at most 1024 bytes of UTF-8, without NUL and "/".
        Undecodable POSIX bytes are lone surrogates.
    mtime_ns: the time of the last modification in nanoseconds since 1970, a signed 64-bit number.
    mode: the POSIX permission bits, 0..0o7777.
    """

    name: str | None = None
    mtime_ns: int | None = None
    mode: int | None = None

    def pack(self) -> bytes:
        """Pack the entries, without the length before them. Raises ValueError for a value out of bounds."""
        entries: list[tuple[int, bytes]] = []
        if self.name is not None:
            name = self.name.encode("utf-8", "surrogateescape")
            if not _name_ok(name):
                raise ValueError(f"metadata name {self.name!r} is empty, too long or has NUL or '/'")
            entries.append((KEY_NAME, name))
        if self.mtime_ns is not None:
            if self.mtime_ns not in MTIMES:
                raise ValueError(f"metadata mtime_ns {self.mtime_ns} does not fit in 64 bits")
            entries.append((KEY_MTIME, self.mtime_ns.to_bytes(8, "little", signed=True)))
        if self.mode is not None:
            if not 0 <= self.mode <= 0o7777:
                raise ValueError(f"metadata mode {self.mode:#o} is not within 0..0o7777")
            entries.append((KEY_MODE, self.mode.to_bytes(2, "little")))
        return b"".join(put_varint(k) + put_varint(len(v)) + v for k, v in entries)

    @staticmethod
    def parse(body: bytes, where: str) -> Metadata:
        fields = Fields(body, where)
        name: str | None = None
        mtime: int | None = None
        mode: int | None = None
        last = -1
        while fields.left:
            key = fields.varint((1 << 32) - 1, "metadata key")
            value = fields.take(fields.varint(METADATA_MAX, "metadata length"), "metadata value")
            if key <= last:
                raise CorruptError(f"{where}: metadata keys are not in ascending order")
            last = key
            if key == KEY_NAME:
                if not _name_ok(value):
                    raise CorruptError(f"{where}: metadata holds an impossible file name")
                name = value.decode("utf-8", "surrogateescape")
            elif key == KEY_MTIME:
                if len(value) != 8:
                    raise CorruptError(f"{where}: modification time has {len(value)} bytes, not 8")
                mtime = int.from_bytes(value, "little", signed=True)
            elif key == KEY_MODE:
                mode = int.from_bytes(value, "little")
                if len(value) != 2 or mode > 0o7777:
                    raise CorruptError(f"{where}: metadata holds an impossible file mode")
            elif key & 1:
                raise UnsupportedFormatError(
                    f"{where}: header key {key} is critical and not known to this version;"
                    " a newer nacrith is needed"
                )
        return Metadata(name, mtime, mode)


def _name_ok(name: bytes) -> bool:
    return 0 < len(name) <= FILE_NAME_MAX and not set(name) & {0, 0x2F}


@dataclass(frozen=True, slots=True)
class Block:
    """One entry of a group head. `payload_crc` equals `content_crc` for a raw block."""

    kind: int
    content_size: int
    payload_size: int
    payload_crc: int
    content_crc: int

    def pack(self) -> bytes:
        head = bytes([self.kind]) + put_varint(self.content_size)
        if self.kind != RAW:
            head += put_varint(self.payload_size) + u32(self.payload_crc)
        return head + u32(self.content_crc)


def pack_codec(codec: CodecId) -> bytes:
    """Pack the codec definition of a "C" group. Raises ValueError if a field is out of bounds."""
    name = codec.model_name.encode("utf-8")
    if len(codec.fingerprint) != FINGERPRINT_SIZE:
        raise ValueError(f"codec fingerprint has {len(codec.fingerprint)} bytes, not 32")
    if len(codec.params) > PARAMS_MAX or len(name) > MODEL_NAME_MAX:
        raise ValueError("codec parameters take at most 255 bytes, the model name at most 64")
    return codec.fingerprint + bytes([len(codec.params)]) + codec.params + bytes([len(name)]) + name


@dataclass(frozen=True)
class GroupHead:
    """The head of a group: the table of its blocks, and the codec if this group defines it."""

    blocks: list[Block]
    codec: CodecId | None = None
    size: int = 0  # length of the head itself in bytes; set by `parse_group`

    @property
    def content_size(self) -> int:
        return sum(block.content_size for block in self.blocks)

    @property
    def payload_size(self) -> int:
        return sum(block.payload_size for block in self.blocks)

    def pack(self) -> bytes:
        body = b"" if self.codec is None else pack_codec(self.codec)
        body += b"".join(block.pack() for block in self.blocks)
        tag = TAG_GROUP if self.codec is None else TAG_CODEC_GROUP
        head = bytes([tag]) + put_varint(len(body)) + body
        return head + u32(crc32(head))


@dataclass(frozen=True)
class End:
    """The end record of a full stream.

    digest: the hash of the whole content.
    codec_group: 0 if no group defines a codec, else 1 + the number of the group that does.
    index: an `index_entry` for each group in order. It stays packed, as there may be a million groups.
    """

    digest: bytes
    codec_group: int
    index: bytes = b""

    def groups(self, where: str = "end record") -> Iterator[tuple[int, int]]:
        """Yield (content bytes, archive bytes) of each group."""
        fields = Fields(self.index, where)
        while fields.left:
            content = fields.varint(SUPER_BLOCK, "index entry")
            yield content, fields.varint(2 * SUPER_BLOCK, "index entry")

    def pack(self) -> bytes:
        body = self.digest + put_varint(self.codec_group) + self.index
        head = bytes([TAG_END]) + put_varint(len(body)) + body
        return head + u32(crc32(head)) + u32(len(head) + TRAILER_SIZE) + END_MAGIC


def index_entry(content_size: int, stored_size: int) -> bytes:
    """Pack the index entry of a group: its content length, and its length from tag to last payload."""
    return put_varint(content_size) + put_varint(stored_size)


@dataclass(frozen=True)
class ShortHead:
    """The head of a short stream: everything before its payload. raw: its bytes, for the checksum; empty if
    it was not parsed."""

    kind: int
    codec: CodecId | None
    content_size: int
    payload_size: int
    raw: bytes = b""

    def pack(self) -> bytes:
        out = bytearray(SHORT_MAGIC)
        if self.codec is None:
            out.append(self.kind)
        else:
            params = self.codec.params
            out.append(self.kind | min(len(params), 15) << 4)
            if len(params) >= 15:
                out.append(len(params))
            out += self.codec.fingerprint[:PREFIX_SIZE] + params
        out += put_varint(self.content_size)
        if self.kind != RAW:
            out += put_varint(self.payload_size)
        return bytes(out)

    def check(self, payload: bytes, content: bytes) -> int:
        """The CRC-32 of head, payload and content; raw content is the payload and counts once."""
        crc = crc32(payload, crc32(self.raw or self.pack()))
        return crc if self.kind == RAW else crc32(content, crc)


def full_header(metadata: bytes) -> bytes:
    head = FULL_MAGIC + bytes([FULL_VERSION]) + put_varint(len(metadata)) + metadata
    return head + u32(crc32(head))


def _checked_body(source: Source, head: bytes, bound: int, what: str) -> tuple[bytes, bytes]:
    """Read length, body and CRC-32 after `head`. Returns the body, and all bytes before the CRC."""
    where = f"byte {source.offset - len(head)}: {what}"
    size = bounded_varint(lambda: source.byte(what), bound, f"{where} length")
    body = source.read(size, what)
    raw = head + put_varint(size) + body
    if source.read(4, what) != u32(crc32(raw)):
        raise CorruptError(f"{where} is damaged (checksum mismatch)")
    return body, raw


def parse_full_header(source: Source) -> Metadata:
    """Parse the header of a full stream; magic bytes and version have been read."""
    where = f"byte {source.offset}"
    head = FULL_MAGIC + bytes([FULL_VERSION])
    body, _ = _checked_body(source, head, METADATA_MAX, "the header")
    return Metadata.parse(body, where)


def parse_short_head(source: Source, fallback_kinds: Container[int]) -> ShortHead:
    """Parse the head of a short stream; the magic bytes have been read. Its checksum follows the payload and
    is not compared here.

    fallback_kinds: the known block kinds except the model's.
    """
    what = "the header of a short stream"
    where = f"byte {source.offset}: {what}"
    packed = source.byte(what)
    kind, params_size = packed & 15, packed >> 4
    raw = SHORT_MAGIC + bytes([packed])
    codec: CodecId | None = None
    if kind == MODEL:
        if params_size == 15:
            params_size = source.byte(what)
            if params_size < 15:
                raise CorruptError(f"{where}: parameter length is not in its shortest form")
            raw += bytes([params_size])
        prefix = source.read(PREFIX_SIZE, what)
        params = source.read(params_size, what)
        raw += prefix + params
        codec = CodecId(prefix, params, "")
    elif kind not in fallback_kinds or params_size:
        raise UnsupportedFormatError(
            f"{where}: kind byte {packed:#04x} is not known to this version;"
            " the archive is damaged or a newer nacrith is needed"
        )
    content_size = bounded_varint(lambda: source.byte(what), SHORT_MAX, f"{where}: content length")
    raw += put_varint(content_size)
    payload_size = content_size
    if kind != RAW:
        payload_size = bounded_varint(lambda: source.byte(what), content_size, f"{where}: payload length")
        raw += put_varint(payload_size)
    return ShortHead(kind, codec, content_size, payload_size, raw)


def parse_group(source: Source, tag: int, fallback_kinds: Container[int]) -> GroupHead:
    """Parse the head of a group; its tag has been read. fallback_kinds: as for `parse_short_head`."""
    start = source.offset - 1
    where = f"byte {start}: group head"
    body, _ = _checked_body(source, bytes([tag]), GROUP_HEAD_MAX, "group head")
    fields = Fields(body, where)
    codec: CodecId | None = None
    if tag == TAG_CODEC_GROUP:
        fingerprint = fields.take(FINGERPRINT_SIZE, "fingerprint")
        params = fields.take(fields.byte("parameter length"), "parameters")
        name = fields.take(fields.byte("model name length"), "model name")
        if len(name) > MODEL_NAME_MAX:
            raise CorruptError(f"{where}: model name is longer than {MODEL_NAME_MAX} bytes")
        codec = CodecId(fingerprint, params, name.decode("utf-8", "replace"))
    blocks: list[Block] = []
    while fields.left:
        kind = fields.byte("block kind")
        if kind != MODEL and kind not in fallback_kinds:
            raise UnsupportedFormatError(
                f"{where}: block kind {kind} is unknown to this version; a newer nacrith is needed"
            )
        content_size = fields.varint(SUPER_BLOCK, "content length")
        payload_size, payload_crc = content_size, 0
        if kind != RAW:
            payload_size = fields.varint(content_size, "payload length")
            payload_crc = fields.u32("payload check")
        content_crc = fields.u32("content check")
        if not content_size:
            raise CorruptError(f"{where}: a block is empty")
        if kind == RAW:
            payload_crc = content_crc
        blocks.append(Block(kind, content_size, payload_size, payload_crc, content_crc))
    head = GroupHead(blocks, codec, source.offset - start)
    if not 0 < head.content_size <= SUPER_BLOCK:
        raise CorruptError(f"{where}: content length {head.content_size} is out of bounds")
    return head


def parse_end(source: Source) -> End:
    """Parse the end record; its tag has been read."""
    start = source.offset - 1
    where = f"byte {start}: end record"
    body, raw = _checked_body(source, bytes([TAG_END]), END_MAX, "end record")
    trailer = source.read(TRAILER_SIZE - 4, "end record")
    if trailer != u32(len(raw) + TRAILER_SIZE) + END_MAGIC:
        raise CorruptError(f"{where} is damaged (its last bytes are wrong)")
    fields = Fields(body, where)
    digest = fields.take(HASH_SIZE, "hash")
    codec_group = fields.varint(MAX_GROUPS, "codec group")
    end = End(digest, codec_group, fields.take(fields.left, "index"))
    count = 0
    for _ in end.groups(where):
        count += 1
        if count > MAX_GROUPS:
            break
    if count > MAX_GROUPS or codec_group > count:
        raise CorruptError(f"{where}: the index is out of bounds")
    return end
