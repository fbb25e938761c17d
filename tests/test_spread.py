"""One content over several processes: the bytes of one process, whoever does what, and clean ends."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

import pytest

from nacrith import codec as codecs
from nacrith.archive.blockcodec import BlockCodec
from nacrith.codec.spread import SpreadCodec
from nacrith.errors import CorruptError, ModelError, ModelMissingError
from nacrith.jobs import devices

TINY = str(Path(__file__).parent / "data" / "tiny.nacm")
TEXT = b"The old ferry left the harbour a little after nine, when the fog had lifted from the water. "
BLOCKS = [TEXT * 4, b"", TEXT[:7], TEXT * 400, b"\r\n" * 9, TEXT[5:]] * 2

tiny = partial(codecs.for_encoding, 1, TINY, 1)


def make_and_die() -> BlockCodec:
    os._exit(7)


class Odd:
    """Fails in a way that is not ours."""

    id, lanes = None, 1

    def encode(self, blocks: list[bytes], progress: object) -> list[bytes]:
        raise ZeroDivisionError("by zero")


def test_the_bytes_are_those_of_one_process() -> None:
    alone = tiny()
    codec = SpreadCodec(tiny, devices.on_cores(2, 2))
    try:
        assert codec.id == alone.id
        assert codec.lanes == 2 * alone.lanes
        told: list[int] = []
        payloads = codec.encode(BLOCKS, told.append)
        assert payloads == alone.encode(BLOCKS)
        jobs = [(p, len(b)) for p, b in zip(payloads, BLOCKS, strict=True)]
        assert codec.decode(jobs, told.append) == BLOCKS
        assert sum(told) == 2 * sum(map(len, BLOCKS))
        assert codec.encode([]) == codec.decode([]) == []
        with pytest.raises(CorruptError, match="claims"):
            codec.decode([(b"\xff\xff\x03", 5)])
        assert codec.decode(jobs[:1]) == BLOCKS[:1]  # an error in a block ends no worker
    finally:
        codec.stop()


def test_a_worker_that_dies() -> None:
    codec = SpreadCodec(tiny, devices.on_cores(2, 2))
    codec._workers[1].process.kill()
    with pytest.raises(ModelError, match="exit code -9"):
        codec.encode(BLOCKS)
    codec.stop()


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (partial(codecs.for_encoding, 1, "no-such-model", 1), ModelMissingError, "no-such-model"),
        (make_and_die, ModelError, "exit code 7"),
        (partial(int, "x"), ModelError, "ValueError"),
    ],
    ids=["no model", "death", "bug"],
)
def test_workers_that_cannot_start(make: partial[BlockCodec], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        SpreadCodec(make, devices.on_cores(2, 2))


def test_errors_that_are_not_ours() -> None:
    codec = SpreadCodec(Odd, devices.on_cores(1, 1))  # type: ignore[arg-type]
    with pytest.raises(ModelError, match="ZeroDivisionError: by zero"):
        codec.encode(BLOCKS)
    codec.stop()
