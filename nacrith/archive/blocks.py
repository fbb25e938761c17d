"""Decodes blocks: loads payloads, decodes them in batches, verifies the content and caches it.

`ArchiveReader` locates the blocks. This module returns an error in place of the content of a damaged block;
the reader decides whether to raise it.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from zlib import crc32

from nacrith.archive.blockcodec import BlockCodec, CodecId, FallbackCodecs, Progress
from nacrith.archive.records import Block, ShortHead
from nacrith.archive.scanner import SHORT_CHECK
from nacrith.archive.wire import MODEL, Source, u32
from nacrith.errors import CorruptError, TruncatedError

FindCodec = Callable[[CodecId], BlockCodec]

Decoded = tuple[int, Block, bytes | CorruptError]
"""(content offset in the archive, block, verified content or the error that replaces it)."""


_ENTRY = 256  # bytes of overhead for a cached block


@dataclass(slots=True)
class _Job:
    """A block to decode.

    at: its offset in the content of the archive. key: the offset of its payload in the archive; it identifies
    the block in the cache. payload: None if there is nothing to decode. content: None until it is decoded.
    """

    block: Block
    at: int
    key: int
    payload: bytes | None = None
    content: bytes | CorruptError | None = None


class _Recent:
    """An LRU cache of decoded blocks, by key. most: its bound in bytes, overhead included."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._size = 0
        self._contents: OrderedDict[int, bytes] = OrderedDict()

    def get(self, key: int) -> bytes | None:
        content = self._contents.get(key)
        if content is not None:
            self._contents.move_to_end(key)
        return content

    def put(self, key: int, content: bytes) -> None:
        if len(content) + _ENTRY > self._most or key in self._contents:
            return
        self._contents[key] = content
        self._size += len(content) + _ENTRY
        while self._size > self._most:
            self._size -= len(self._contents.popitem(last=False)[1]) + _ENTRY


class BlockDecoder:
    """Decodes the blocks at the current position of `source`.

    fallback: decodes blocks that no model coded. keep: size of the cache of decoded blocks, in bytes.
    progress: receives the number of decoded bytes.
    """

    def __init__(
        self, source: Source, fallback: FallbackCodecs, keep: int, progress: Progress | None
    ) -> None:
        self._source = source
        self._fallback = fallback
        self._recent = _Recent(keep)
        self._progress = progress
        self._ahead: int | None = None  # bytes that are worth decoding at a time; None for the codec's batch

    def at_random(self) -> None:
        """What is read next may be little: decode its block alone, and more at a time as reading goes on."""
        self._ahead = 1

    def kept(self, key: int) -> bytes | None:
        """Return the cached content of the block whose key this is, if there is any."""
        return self._recent.get(key)

    def short(self, head: ShortHead, at: int, key: int, find_codec: FindCodec) -> bytes:
        """Decode a short stream, whose payload comes next. Raises CorruptError if it is damaged.

        at: its offset in the content of the archive. key: its offset in the archive.
        """
        payload = self._source.read(head.payload_size, "the payload of a short stream")
        check = self._source.read(SHORT_CHECK, "the check of a short stream")
        try:
            content = self._short_content(head, payload, find_codec)
            if len(content) != head.content_size or check != u32(head.check(payload, content)):
                raise CorruptError("it does not match its check; it is damaged")
        except CorruptError as error:
            raise CorruptError(f"content offset {at}: short stream: {error}") from error
        self._recent.put(key, content)
        return content

    def _short_content(self, head: ShortHead, payload: bytes, find_codec: FindCodec) -> bytes:
        """Decode the payload; the caller compares the checksum."""
        if head.codec is not None:
            codec = find_codec(head.codec)
            (content,) = codec.decode([(payload, head.content_size)], self._progress)
            return content
        content = self._fallback.decode(head.kind, payload, head.content_size)
        self._tell(len(content))
        return content

    def _tell(self, size: int) -> None:
        if self._progress is not None:
            self._progress(size)

    def group(
        self, blocks: Iterable[tuple[int, Block]], at: int, codec: BlockCodec | None
    ) -> Iterator[Decoded]:
        """Decode blocks of one group in order. Their payloads come next in the source.

        blocks: each with its content offset in the group. at: the content offset of the group.
        """
        jobs = self._jobs(blocks, at)
        begun: deque[_Job] = deque()  # loaded; some were decoded in the batch of an earlier one
        while True:
            if not begun:
                following = next(jobs, None)
                if following is None:
                    return
                begun.append(following)
            job = begun[0]
            if job.content is None:
                self._decode(begun, jobs, codec)
            begun.popleft()
            assert job.content is not None
            yield job.at, job.block, job.content

    def _jobs(self, blocks: Iterable[tuple[int, Block]], at: int) -> Iterator[_Job]:
        """Yield a job for each block, with its checked payload, its cached content, or its error."""
        for start, block in blocks:
            job = _Job(block, at + start, self._source.offset)
            job.content = self._recent.get(job.key)
            try:
                if job.content is not None:
                    self._source.skip(block.payload_size, "the payload of a block")
                else:
                    job.payload = self._source.read(block.payload_size, "the payload of a block")
                    if crc32(job.payload) != block.payload_crc:
                        job.content = self._damage(job, "its payload is damaged (checksum mismatch)")
            except TruncatedError as error:
                job.content = error
            yield job

    def _decode(self, begun: deque[_Job], jobs: Iterator[_Job], codec: BlockCodec | None) -> None:
        """Decode the first job of `begun`. A model block is decoded in one batch with the model blocks that
        follow it in `begun` and `jobs`, until that is as much as the codec decodes at a time."""
        job = begun[0]
        if job.block.kind != MODEL:
            assert job.payload is not None
            try:
                content = self._fallback.decode(job.block.kind, job.payload, job.block.content_size)
            except CorruptError as error:
                job.content = self._damage(job, str(error))
            else:
                self._tell(len(content))
                self._settle(job, content)
        elif codec is None:
            job.content = self._damage(job, "its stream has no codec")
        else:
            batch = [job for job in begun if job.content is None and job.block.kind == MODEL]
            size = sum(job.block.content_size for job in batch)
            most = codec.batch if self._ahead is None else min(codec.batch, self._ahead)
            while size < most and (more := next(jobs, None)) is not None:
                begun.append(more)
                if more.content is None and more.block.kind == MODEL:
                    batch.append(more)
                    size += more.block.content_size
            if self._ahead is not None:
                self._ahead = 2 * size
            self._decode_batch(batch, codec)

    def _decode_batch(self, batch: list[_Job], codec: BlockCodec) -> None:
        """Decode model blocks in one batch, or one by one if a block of the batch is damaged."""
        coded = [(job.payload or b"", job.block.content_size) for job in batch]
        try:
            contents = codec.decode(coded, self._progress)
        except CorruptError as error:
            if len(batch) == 1:
                batch[0].content = self._damage(batch[0], str(error))
                return
            for job in batch:
                self._decode_batch([job], codec)
            return
        for job, content in zip(batch, contents, strict=True):
            self._settle(job, content)

    def _settle(self, job: _Job, content: bytes) -> None:
        """Verify decoded content and cache it."""
        job.payload = None
        if len(content) != job.block.content_size or crc32(content) != job.block.content_crc:
            job.content = self._damage(job, "it does not decode to what its check says")
        else:
            job.content = content
            self._recent.put(job.key, content)

    def _damage(self, job: _Job, why: str) -> CorruptError:
        block = job.block
        name = "model" if block.kind == MODEL else self._fallback.names[block.kind]
        return CorruptError(f"content offset {job.at}: {name} block of {block.content_size} bytes: {why}")
