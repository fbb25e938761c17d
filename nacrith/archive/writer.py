"""`ArchiveWriter`: writes content as one stream, in constant memory and without seeking.

Content is processed in super-blocks of 16 MiB, independently of the lengths in which it is written; `flush`
ends one early. `superblock` decides how each is coded. The form, short or full, follows from the content. So
the archive's bytes depend on content, codec, options and flushes alone.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Self

from nacrith.archive.blockcodec import BlockCodec, CodecId, Effort, FallbackCodecs, Progress
from nacrith.archive.records import (
    Block,
    End,
    GroupHead,
    Metadata,
    ShortHead,
    full_header,
    index_entry,
    pack_codec,
)
from nacrith.archive.wire import (
    HASH_SIZE,
    MAX_GROUPS,
    METADATA_MAX,
    MODEL,
    RAW,
    SHORT_MAX,
    SUPER_BLOCK,
    Writable,
    u32,
)
from nacrith.errors import NacrithError
from nacrith.stateful import Stateful

if TYPE_CHECKING:
    from nacrith.archive.superblock import Coded

MAX_GROWTH = 64
"""Most bytes by which an archive of at most one super-block may be larger than its content."""


class ArchiveWriter(Stateful):
    """Writes one stream to `fileobj`, which stays open.

    codec: codes blocks of text with a model; None to use the fallback codecs alone.
    fallback: codes all other blocks.
    block_bytes: length to aim for in model blocks. all_blocks: in all others too, for reading at random.
    metadata: left out if it would make a small archive larger than its content by more than 64 bytes.
    progress: receives the number of content bytes that are coded.
    threads: how many threads the fallback codecs may use. The bytes never depend on it.
    effort: of the fallback codecs, on blocks that no model codes.

    The archive is complete only after `close`. An exception that leaves the `with` block, or an error of
    `write` or `close`, leaves it incomplete for good. Not thread-safe.
    """

    def __init__(
        self,
        fileobj: Writable,
        codec: BlockCodec | None,
        fallback: FallbackCodecs,
        *,
        block_bytes: int,
        metadata: Metadata | None = None,
        progress: Progress | None = None,
        threads: int = 1,
        effort: Effort = Effort.FULL,
        all_blocks: bool = False,
    ) -> None:
        self._file = fileobj
        self._effort = effort
        self._threads = threads
        self._codec = codec
        self._fallback = fallback
        self._codec_id: CodecId | None = None
        if codec is not None:
            self._codec_id = codec.id
            pack_codec(codec.id)  # checks its bounds before any work is done
        self._block_bytes, self._all_blocks = block_bytes, all_blocks
        self._metadata = metadata.pack() if metadata is not None else b""
        if len(self._metadata) > METADATA_MAX:
            raise ValueError(f"metadata takes more than {METADATA_MAX} bytes")
        self._progress = progress
        self._buffer = bytearray()
        self._hash = hashlib.blake2b(digest_size=HASH_SIZE)
        self._index = bytearray()  # entries of the groups written so far
        self._groups = 0
        self._codec_group = 0
        self._closed = False
        self.needs_model = False  # whether what has been written takes the codec's model to be read

    def write(self, data: bytes | bytearray | memoryview) -> int:
        """Write content. Returns its length in bytes."""
        if self._closed:
            raise ValueError("the archive is closed")
        view = memoryview(data).cast("B")
        at = 0
        while at < len(view):
            if len(self._buffer) == SUPER_BLOCK:  # more follows, so this is not the last
                self.flush()
            part = view[at : at + SUPER_BLOCK - len(self._buffer)]
            self._buffer += part
            at += len(part)
        return len(view)

    def flush(self) -> None:
        """End the group, so that all content so far can be read from the bytes written so far."""
        if self._closed:
            raise ValueError("the archive is closed")
        if self._buffer:
            self._closed = True  # until it succeeds: if it fails, the archive must stay incomplete
            self._flush_super_block(last=False)
            self._closed = False

    def close(self) -> None:
        """Complete the archive. Further calls do nothing."""
        if self._closed:
            return
        self._closed = True
        self._flush_super_block(last=True)

    def abandon(self) -> None:
        """Leave the archive incomplete for good. Further content is refused."""
        self._closed = True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        if kind is not None:
            self.abandon()
        self.close()

    def _flush_super_block(self, last: bool) -> None:
        # Imported late, because it imports numpy, which reading does not need.
        from nacrith.archive.superblock import encode_super_block

        data = bytes(self._buffer)
        self._buffer.clear()
        if data and self._groups >= MAX_GROUPS:
            raise NacrithError("a stream holds at most 16 TiB; write the rest to another archive")
        self._hash.update(data)
        alone = last and not self._groups
        coded: list[Coded] = []
        if data:
            coded = encode_super_block(
                data,
                self._codec,
                self._fallback,
                self._block_bytes,
                lambda blocks: self._cost(blocks, alone),
                self._progress,
                self._threads,
                self._effort,
                self._all_blocks,
            )
        self.needs_model |= any(block.kind == MODEL for block, _ in coded)
        if alone and self._is_short(coded):
            self._put_short(coded, data)
            return
        if not self._groups:
            fits = self._metadata_fits(coded)
            self._put(full_header(self._metadata if fits else b""))
        if coded:
            self._put_group(coded)
        if last:
            end = End(self._hash.digest(), self._codec_group, bytes(self._index))
            self._put(end.pack())

    # --- sizes, computed before anything is written -----------------------------------------------

    def _head(self, coded: Sequence[Coded]) -> GroupHead:
        """The head of a group of these blocks. The first group with a model block defines the codec."""
        blocks = [block for block, _ in coded]
        defines = not self._codec_group and any(block.kind == MODEL for block in blocks)
        return GroupHead(blocks, self._codec_id if defines else None)

    def _is_short(self, coded: Sequence[Coded]) -> bool:
        """Whether these blocks, which hold all of the content, are written as a short stream."""
        if len(coded) > 1 or (coded and coded[0][0].content_size > SHORT_MAX):
            return False
        return not self._metadata or not self._metadata_fits(coded)

    def _metadata_fits(self, coded: Sequence[Coded]) -> bool:
        content = sum(block.content_size for block, _ in coded)
        full = len(self._metadata) + 2 + self._full_cost(coded)  # its length field may take 2 more bytes
        return full <= content + MAX_GROWTH

    def _full_cost(self, coded: Sequence[Coded]) -> int:
        """The length of a full stream of these blocks alone, without metadata."""
        head = self._head(coded)
        group = len(head.pack()) + head.payload_size if coded else 0
        index = index_entry(head.content_size, group) if coded else b""
        end = End(bytes(HASH_SIZE), int(head.codec is not None), index)
        return len(full_header(b"")) + group + len(end.pack())

    def _cost(self, coded: Sequence[Coded], alone: bool) -> int:
        if alone and self._is_short(coded):
            return len(self._short_head(coded).pack()) + len(coded[0][1]) + 4
        return self._full_cost(coded)

    def _short_head(self, coded: Sequence[Coded]) -> ShortHead:
        block = coded[0][0] if coded else Block(RAW, 0, 0, 0, 0)
        codec = self._codec_id if block.kind == MODEL else None
        return ShortHead(block.kind, codec, block.content_size, block.payload_size)

    # --- writing ----------------------------------------------------------------------------------

    def _put(self, data: bytes) -> None:
        """Write all of `data`. A raw file may accept only a part of it, or nothing."""
        view = data
        while view:
            taken = self._file.write(view)
            if taken is None and not isinstance(self._file, io.RawIOBase):
                return  # such a file returns nothing and has written everything
            if not taken:
                raise BlockingIOError("the file takes nothing now: nacrith writes to blocking files only")
            view = view[taken:]

    def _put_short(self, coded: Sequence[Coded], data: bytes) -> None:
        head = self._short_head(coded)
        payload = coded[0][1] if coded else b""
        self._put(head.pack() + payload + u32(head.check(payload, data)))

    def _put_group(self, coded: Sequence[Coded]) -> None:
        head = self._head(coded)
        packed = head.pack()
        if head.codec is not None:
            self._codec_group = self._groups + 1
        self._put(packed)
        for _, payload in coded:
            self._put(payload)
        self._groups += 1
        self._index += index_entry(head.content_size, len(packed) + head.payload_size)
