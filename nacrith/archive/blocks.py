"""Blocks to content: payloads loaded, decoded side by side, verified, and kept for a while.

`ArchiveReader` knows where blocks lie; here is what happens to them. Damage is handed over in the place of
the content: whether it is raised or passed over is the reader's affair.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from zlib import crc32

from nacrith.archive.blockcodec import BlockCodec, CodecId, Progress
from nacrith.archive.records import Block, ShortHead
from nacrith.archive.scan import SHORT_CHECK
from nacrith.archive.wire import MODEL, Source, u32
from nacrith.errors import CorruptError, TruncatedError

FindCodec = Callable[[CodecId], BlockCodec]

Decoded = tuple[int, Block, bytes | CorruptError]
"""(content offset in the archive, block, verified content or what is wrong with it)."""


_ENTRY = 256  # bytes that an entry of a dictionary takes besides its content


@dataclass(slots=True)
class _Job:
    """A block to decode. at: where it begins in the content of the archive. key: where its payload begins in
    the archive. payload: None where there is nothing to decode. content: None before it is decoded."""

    block: Block
    at: int
    key: int
    payload: bytes | None = None
    content: bytes | CorruptError | None = None


class _Recent:
    """The contents of blocks decoded last, by their keys; `most` bytes of them and what holds them."""

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
    """Decodes the blocks that come next in `source`.

    keep: bytes of decoded blocks that are kept. progress: told of content bytes that are decoded.
    """

    def __init__(self, source: Source, keep: int, progress: Progress | None) -> None:
        self._source = source
        self._recent = _Recent(keep)
        self._progress = progress

    def kept(self, key: int) -> bytes | None:
        """Content that is kept, of what begins there in the archive."""
        return self._recent.get(key)

    def short(self, head: ShortHead, at: int, key: int, find_codec: FindCodec) -> bytes:
        """The content of a short stream, whose payload comes next. CorruptError if it is damaged.

        at: where it begins in the content of the archive. key: where it begins in the archive."""
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
        """Not checked yet."""
        if head.codec is not None:
            codec = find_codec(head.codec)
            (content,) = codec.decode([(payload, head.content_size)], self._progress)
            return content
        content = _decode_plain(head.kind, payload, head.content_size)
        self._tell(len(content))
        return content

    def _tell(self, size: int) -> None:
        if self._progress is not None:
            self._progress(size)

    def group(
        self, blocks: Iterable[tuple[int, Block]], at: int, codec: BlockCodec | None
    ) -> Iterator[Decoded]:
        """Blocks of a group, each given with its content offset in it, decoded in order.

        Their payloads come next in the source. at: content offset of the group in the archive.
        """
        jobs = self._jobs(blocks, at)
        begun: deque[_Job] = deque()  # loaded, or decoded together with one before
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
        """Each with its verified payload, with what is known of its content, or with its damage."""
        for start, block in blocks:
            job = _Job(block, at + start, self._source.offset)
            job.content = self._recent.get(job.key)
            try:
                if job.content is not None:
                    self._source.skip(block.payload_size, "the payload of a block")
                else:
                    job.payload = self._source.read(block.payload_size, "the payload of a block")
                    if crc32(job.payload) != block.payload_crc:
                        job.content = _damage(job, "its payload is damaged (checksum mismatch)")
            except TruncatedError as error:
                job.content = error
            yield job

    def _decode(self, begun: deque[_Job], jobs: Iterator[_Job], codec: BlockCodec | None) -> None:
        """The content of the first of `begun`; model blocks as many at a time as the codec has lanes, with
        those of `jobs` that come next."""
        job = begun[0]
        if job.block.kind != MODEL:
            assert job.payload is not None
            try:
                content = _decode_plain(job.block.kind, job.payload, job.block.content_size)
            except CorruptError as error:
                job.content = _damage(job, str(error))
            else:
                self._tell(len(content))
                self._settle(job, content)
        elif codec is None:
            job.content = _damage(job, "its stream has no codec")
        else:
            batch = [job for job in begun if job.content is None and job.block.kind == MODEL]
            while len(batch) < codec.lanes and (more := next(jobs, None)) is not None:
                begun.append(more)
                if more.content is None and more.block.kind == MODEL:
                    batch.append(more)
            self._decode_batch(batch, codec)

    def _decode_batch(self, batch: list[_Job], codec: BlockCodec) -> None:
        """Model blocks together; if one cannot be decoded, one by one."""
        coded = [(job.payload or b"", job.block.content_size) for job in batch]
        try:
            contents = codec.decode(coded, self._progress)
        except CorruptError as error:
            if len(batch) == 1:
                batch[0].content = _damage(batch[0], str(error))
                return
            for job in batch:
                self._decode_batch([job], codec)
            return
        for job, content in zip(batch, contents, strict=True):
            self._settle(job, content)

    def _settle(self, job: _Job, content: bytes) -> None:
        """Verify what was decoded, and keep it."""
        job.payload = None
        if len(content) != job.block.content_size or crc32(content) != job.block.content_crc:
            job.content = _damage(job, "it does not decode to what its check says")
        else:
            job.content = content
            self._recent.put(job.key, content)


def _damage(job: _Job, why: str) -> CorruptError:
    block = job.block
    return CorruptError(
        f"content offset {job.at}: {block.kind_name} block of {block.content_size} bytes: {why}"
    )


def _decode_plain(kind: int, payload: bytes, size: int) -> bytes:
    # Here, for the libraries take a while to import, and `info` and `--help` need none of them.
    from nacrith.archive import fallback

    return fallback.decode(kind, payload, size)
