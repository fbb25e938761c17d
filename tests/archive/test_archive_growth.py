"""What many streams, blocks or index entries cost: little memory, and no time that grows with the square."""

from __future__ import annotations

import gc
import hashlib
import io
import subprocess
import sys
import textwrap
import threading
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from zlib import crc32

import native_library
import pytest
from archive_fakes import full_stream, never, short_stream
from clirunner import PATIENCE, ROOT, environment

import nacrith
from nacrith import stream
from nacrith.archive import ArchiveReader, ArchiveWriter, scan, wire
from nacrith.archive.records import Block, End, GroupHead, full_header, index_entry
from nacrith.archive.scanner import each_stream
from nacrith.errors import CorruptError
from nacrith.fallback import CODECS
from nacrith.fallback.learner import Learner, table_bits

EMPTY = short_stream(wire.RAW, b"")
MB = 1 << 20


def peak(work: Callable[[], object]) -> int:
    """Bytes that `work` holds at most."""
    gc.collect()
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def exhaust(archive: bytes) -> dict[str, Callable[[], object]]:
    file = io.BytesIO(archive)
    return {
        "reading": lambda: sum(map(len, ArchiveReader(file, never, CODECS))),
        "scanning": lambda: (file.seek(0), sum(s.content_size for s in each_stream(file, CODECS.names))),
        "finding": lambda: (file.seek(0), ArchiveReader(file, never, CODECS).size),
    }


def test_memory_does_not_grow_with_streams() -> None:
    archive = EMPTY * 8000
    for name, work in exhaust(archive).items():
        assert peak(work) < MB / 8, name


def test_memory_does_not_grow_with_blocks() -> None:
    archive = full_stream([[(wire.RAW, b"x")] * 300] * 40)
    for name, work in exhaust(archive).items():
        assert peak(work) < MB / 4, name
    assert peak(lambda: scan(io.BytesIO(archive), CODECS.names)) < MB / 4


def test_index_entries_are_counted_before_they_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    from nacrith.archive import records

    monkeypatch.setattr(records, "MAX_GROUPS", 1000)
    archive = full_header(b"") + End(bytes(16), 0, index_entry(5, 20) * 500_000).pack()

    def read() -> None:
        with pytest.raises(CorruptError, match="index is out of bounds"):
            list(ArchiveReader(io.BytesIO(archive), never, CODECS))

    assert peak(read) < 6 * MB  # a few copies of the record


def test_decompressor_looks_at_no_byte_often(monkeypatch: pytest.MonkeyPatch) -> None:
    looked = 0
    read = stream._Ahead.read

    def counted(self: stream._Ahead, size: int, /) -> bytes:
        nonlocal looked
        data = read(self, size)
        looked += len(data)
        return data

    monkeypatch.setattr(stream._Ahead, "read", counted)
    parts = [[(wire.RAW, bytes([i]) * 500)] * 5 for i in range(40)]
    archive = full_stream(parts)
    decompressor = nacrith.Decompressor()
    got = b"".join(decompressor.decompress(archive[i : i + 1]) for i in range(len(archive)))
    assert decompressor.eof
    assert got == b"".join(content for blocks in parts for _, content in blocks)
    assert looked < len(archive)  # heads, a few times each, and no payload


def test_decompressor_lets_go_of_what_is_decoded() -> None:
    archive = full_stream([[(wire.RAW, bytes(MB))]] * 20)
    decompressor = nacrith.Decompressor()

    def feed() -> None:
        for i in range(0, len(archive), 1 << 16):
            decompressor.decompress(archive[i : i + (1 << 16)])

    assert peak(feed) < 8 * MB
    assert decompressor.eof


def test_decompressor_gives_what_comes_before_the_damage() -> None:
    archive = bytearray(full_stream([[(wire.RAW, b"a" * 100)], [(wire.RAW, b"b" * 100)]]))
    archive[archive.index(b"b" * 100) - 6] ^= 1  # in the head of the second group
    decompressor = nacrith.Decompressor()
    assert decompressor.decompress(bytes(archive), 100) == b"a" * 100
    for _ in range(2):
        with pytest.raises(CorruptError, match="group head"):
            decompressor.decompress(b"")


# --- threads --------------------------------------------------------------------------------------


@pytest.mark.parametrize("threads", [1, 3])
def test_fallback_codecs_use_the_threads_that_they_are_given(
    threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[threading.Thread] = []
    start = threading.Thread.start
    monkeypatch.setattr(threading.Thread, "start", lambda self: (started.append(self), start(self)))
    out = io.BytesIO()
    with ArchiveWriter(out, None, CODECS, block_bytes=1 << 20, threads=threads) as writer:
        writer.write(b"What the threads are given, " * 300)
    assert bool(started) == (threads > 1)
    assert len(started) % (threads - 1 or 1) == 0


def test_compression_while_the_interpreter_ends() -> None:
    """In an exit handler, in a thread that outlives the main one, and in a logging handler."""
    script = """
        import atexit, io, logging, sys, threading, time
        from nacrith.archive import ArchiveReader, ArchiveWriter
        from nacrith.fallback import CODECS

        content = b"What is compressed late, " * 1000

        def work(where):
            out = io.BytesIO()
            with ArchiveWriter(out, None, CODECS, block_bytes=1 << 20, threads=4) as writer:
                writer.write(content)
            assert b"".join(ArchiveReader(io.BytesIO(out.getvalue()), print, CODECS)) == content
            print(where, flush=True)

        class Handler(logging.Handler):
            def emit(self, record):
                work(record.getMessage())

        def outlive():
            threading.main_thread().join()
            work("thread")

        logging.getLogger().addHandler(Handler())
        atexit.register(work, "exit")
        atexit.register(logging.getLogger().warning, "logging")
        threading.Thread(target=outlive).start()
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        capture_output=True, text=True, timeout=PATIENCE, env=environment(), cwd=ROOT,
    )  # fmt: skip
    assert (done.stdout.split(), done.stderr) == (["thread", "logging", "exit"], "")


MANY = 300 if not native_library.WHY else 30  # the learner's reference takes a second for 1.5 KB


def test_many_small_files_in_one_process_take_no_more_memory_than_a_few() -> None:
    code = f"""
        import random, resource
        from nacrith.fallback import CODECS

        def peak():
            return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

        for number in range({MANY}):
            CODECS.encode(random.Random(number).randbytes(150).hex().encode(), text=True)
            before = peak() if number == 3 else before if number else 0
        print(peak() - before)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        cwd=ROOT, env=environment(), capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert int(done.stdout) < 20 * MB


@pytest.mark.parametrize("tables", [table_bits(80), 27], ids=["allowed", "refused"])
def test_many_blocks_of_the_learner_take_little_memory(tables: int, tmp_path: Path) -> None:
    """27 would be 128 MiB for each, which its content length does not allow."""
    payloads = [bytes([tables]) + number.to_bytes(8, "big") for number in range(MANY)]
    contents = [b"" if tables == 27 else CODECS.decode(Learner.kind, payload, 80) for payload in payloads]
    head = GroupHead(
        [Block(Learner.kind, 80, 9, crc32(p), crc32(c)) for p, c in zip(payloads, contents, strict=True)]
    )
    group = head.pack() + b"".join(payloads)
    digest = hashlib.blake2b(b"".join(contents), digest_size=wire.HASH_SIZE).digest()
    file = tmp_path / "a.nac"
    file.write_bytes(
        full_header(b"") + group + End(digest, 0, index_entry(head.content_size, len(group))).pack()
    )
    code = """
        import resource, subprocess, sys
        done = subprocess.run([sys.executable, "-m", "nacrith", "test", sys.argv[1]], capture_output=True)
        print(done.returncode, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), str(file)],
        cwd=ROOT, env=environment(), capture_output=True, text=True, check=True,
    )  # fmt: skip
    code, most = map(int, done.stdout.split())
    assert code == (1 if tables == 27 else 0)
    assert most < 300 * MB
