"""A block codec without a model, and helpers, for the tests of the container."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Sequence
from zlib import crc32

from nacrith.archive import ArchiveReader, ArchiveWriter, CodecId, Metadata, wire
from nacrith.archive.blockcodec import Progress
from nacrith.archive.layout import layout_by_index
from nacrith.archive.records import Block, End, GroupHead, ShortHead, full_header, index_entry
from nacrith.errors import CorruptError
from nacrith.fallback import CODECS, Registry
from nacrith.fallback.brotli import Brotli
from nacrith.fallback.bzip2 import Bzip2
from nacrith.fallback.codec import Cost, Variant
from nacrith.fallback.learner import TEXT, Learner, table_bits
from nacrith.fallback.lzma import Lzma
from nacrith.fallback.raw import Raw
from nacrith.fallback.zstd import Zstd


class FakeCodec:
    """Stands in for a model: a payload is a key to remembered content, and every 16th byte of it.

    So payloads are smaller than any fallback's, and a damaged one gives wrong bytes or a
    CorruptError, as a model's would.
    waste: bytes added to each payload. forbidden: fail if asked to encode.
    """

    _memory: dict[bytes, bytes] = {}  # noqa: RUF012 - shared by all, as weights are

    def __init__(
        self,
        *,
        batch: int = 4096,
        params: bytes = b"\x01\x02\x03\x04",
        name: str = "fake",
        key: bytes = hashlib.sha256(b"fake").digest(),
        waste: int = 0,
        forbidden: bool = False,
    ) -> None:
        self.id = CodecId(key, params, name)
        self.batch = batch
        self.encoded: list[list[bytes]] = []
        self.decoded: list[int] = []  # blocks in each call
        self._waste = waste
        self._forbidden = forbidden

    def encode(self, blocks: Sequence[bytes], progress: Progress | None = None) -> list[bytes]:
        if self._forbidden:
            raise AssertionError("the codec was called")
        self.encoded.append(list(blocks))
        payloads = []
        for block in blocks:
            key = hashlib.sha256(block).digest()[:6]
            self._memory[key] = block
            payloads.append(key + bytes(self._waste) + block[::16])
            if progress:
                progress(len(block))
        return payloads

    def decode(self, blocks: Sequence[tuple[bytes, int]], progress: Progress | None = None) -> list[bytes]:
        self.decoded.append(len(blocks))
        contents = []
        for payload, size in blocks:
            block = self._memory.get(payload[:6])
            if block is None:
                raise CorruptError("no such block")
            sample = payload[6 + self._waste :]
            content = bytearray(block)
            content[::16] = sample[: len(block[::16])].ljust(len(block[::16]), b"?")
            contents.append(bytes(content)[:size])
            if progress:
                progress(size)
        return contents


def never(_: CodecId) -> FakeCodec:
    raise AssertionError("no codec is needed here")


def finder(codec: FakeCodec | None) -> Callable[[CodecId], FakeCodec]:
    """Finds `codec` for its own id, and nothing else."""
    if codec is None:
        return never

    def find(codec_id: CodecId) -> FakeCodec:
        assert codec.id.fingerprint.startswith(codec_id.fingerprint)
        assert len(codec_id.fingerprint) in (4, 32)
        assert codec_id.params == codec.id.params
        return codec

    return find


QUICK = Registry(*(codec for codec in CODECS.codecs.values() if codec.cost is Cost.NORMAL))
"""Without the slow codecs, for tests of the container: where there is no native library, a slow codec takes a
second for 1.5 KB."""


def pack(
    content: bytes,
    codec: FakeCodec | None,
    *,
    block: int = 4096,
    metadata: Metadata | None = None,
    codecs: Registry = QUICK,
) -> bytes:
    out = io.BytesIO()
    with ArchiveWriter(out, codec, codecs, block_bytes=block, metadata=metadata) as archive:
        archive.write(content)
    return out.getvalue()


def unpack(archive: bytes, codec: FakeCodec | None = None) -> bytes:
    return b"".join(ArchiveReader(io.BytesIO(archive), finder(codec), CODECS))


VARIANTS: dict[int, Variant] = {
    Raw.kind: (),
    Zstd.kind: (),
    Lzma.kind: (0, 3, 0, 2),
    Brotli.kind: (0,),
    Bzip2.kind: (),
    Learner.kind: (TEXT, table_bits(1)),
}
FALLBACK_KINDS = tuple(VARIANTS)


def coded(kind: int, content: bytes, codec: FakeCodec | None = None) -> tuple[Block, bytes]:
    """`content` as a block of the kind that is asked for, be it the best or not."""
    if kind == wire.MODEL:
        assert codec is not None
        (payload,) = codec.encode([content])
    else:
        payload = CODECS.codecs[kind].encode(content, VARIANTS[kind])
    return Block(kind, len(content), len(payload), crc32(payload), crc32(content)), payload


def short_stream(kind: int, content: bytes, codec: FakeCodec | None = None) -> bytes:
    block, payload = coded(kind, content, codec)
    codec_id = codec.id if codec and kind == wire.MODEL else None
    head = ShortHead(kind, codec_id, block.content_size, block.payload_size)
    return head.pack() + payload + wire.u32(head.check(payload, content))


def full_stream(
    groups: Sequence[Sequence[tuple[int, bytes]]],
    *,
    codec: FakeCodec | None = None,
    metadata: bytes = b"",
    defines: int = 0,
) -> bytes:
    """A full stream of given (kind, content) blocks. defines: the number of the group that defines
    `codec`."""
    out = full_header(metadata)
    index = b""
    digest = hashlib.blake2b(digest_size=wire.HASH_SIZE)
    for number, blocks in enumerate(groups):
        made = [coded(kind, content, codec) for kind, content in blocks]
        head = GroupHead([block for block, _ in made], codec.id if codec and number == defines else None)
        group = head.pack() + b"".join(payload for _, payload in made)
        index += index_entry(head.content_size, len(group))
        out += group
        for _, content in blocks:
            digest.update(content)
    return out + End(digest.digest(), 1 + defines if codec else 0, index).pack()


def content_of(groups: list[list[tuple[int, bytes]]]) -> bytes:
    return b"".join(content for blocks in groups for _, content in blocks)


def starts_of(archive: bytes | bytearray) -> list[int]:
    """Where each group begins, and the end record."""
    layout = layout_by_index(wire.Source(io.BytesIO(archive)))
    assert layout is not None
    end = len(archive) - int.from_bytes(archive[-6:-2], "little")
    return [extent.offset for extent in layout.extents()] + [end]
