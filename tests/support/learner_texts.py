"""Small texts of several kinds for the learner, and its engines by name."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from unittest import mock

from native_library import KERNELS, WHY

from nacrith import native
from nacrith.learner import Shape, codec, encode

REFERENCE = "reference"
ENGINES = [REFERENCE, *([] if WHY else KERNELS)]


@contextmanager
def using(engine: str) -> Iterator[None]:
    """Codes by the reference, or with these kernels of the native library."""
    chosen = None if engine == REFERENCE else (native.load(), engine)
    with mock.patch.object(codec, "engine", return_value=chosen):
        yield


@cache
def payload(engine: str, data: bytes, shape: Shape, bits: int = 16) -> bytes:
    with using(engine):
        found = encode(data, shape, bits)
    assert found is not None
    return found


def noise(size: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(size)


def records(count: int) -> bytes:
    """Of 12 bytes."""
    return b"".join(i.to_bytes(4, "little") + b"ab\0\xff" + (i * i).to_bytes(4, "big") for i in range(count))


PROSE = (
    b"The learner's tables hold, for each context, what came after it.\n\n  - Don't count; weigh.\n"
    b"  - A weight of 1 is 2^28, and weights keep within four of them.\n\nSo the tables of the learner "
    b"hold na\xc3\xafve counts, and its weights keep within four of them. <b>Done</b>\r\n"
)
TABLE = b"".join(
    b'%d,%s,%.2f,"x;y"\n' % (i, (b"north", b"south", b"east")[i % 3], i * 7.3) for i in range(12)
)

TEXTS = {
    "empty": b"",
    "one byte": b"\x80",
    "prose": PROSE,
    "table": TABLE,
    "records": records(24),
    "noise": noise(200),
    "zeros": bytes(100),
}
