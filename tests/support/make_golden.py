"""How the golden archives with blocks of the learner were made, and the damaged ones derived from them.

    PYTHONPATH=. python tests/support/make_golden.py

Blocks of other kinds are taken from the archive that is there; those of the learner are coded anew. The
manifest is kept by hand. This was run when the learner became kind 5, before any release; after one it is
never run again: what was good once decodes for ever.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from zlib import crc32

from archive_fakes import short_stream
from paths import GOLDEN

from nacrith.archive.layout import layout_by_index
from nacrith.archive.records import Block, End, GroupHead, full_header, index_entry, parse_group
from nacrith.archive.wire import HASH_SIZE, Source
from nacrith.fallback import CODECS
from nacrith.fallback.codec import Variant
from nacrith.fallback.learner import DATA, FAST, TEXT, X86, Learner

Piece = tuple[Block, bytes]
"""A block and its payload."""

SHIP = (
    b"Call me Ishmael. Some years ago, never mind how long precisely, having little or no money in my purse, "
    b"and nothing particular to interest me on shore, I thought I would sail about a little and see the "
    b"watery part of the world.\n"
)
PEAKS = "Über allen Gipfeln ist Ruh, in allen Wipfeln spürest du kaum einen Hauch.\n".encode()

CODE = b"".join(
    bytes.fromhex(before).rjust(8, b"\x90")
    + (target - end).to_bytes(4, "little", signed=True)
    + b"\x85\xc0\x90\x90"
    for end, before, target in zip(
        range(12, 640, 16),
        ["4883ec1889dfe8", "554889e5488d05", "4889c6ff15", "0f1f40004c8b2d", "4883c408e9", "31c0ff25"] * 7,
        [600, 4096, 90_000, -8, 1 << 25] * 8,
        strict=False,
    )
)
"""Instructions of all forms that are translated, with targets inside, outside, and beyond the range."""

END_RECORD = 37  # bytes of that of full-all-kinds.nac


def main() -> None:
    whole = remade("good/full-all-kinds.nac", [(SHIP * 2, (TEXT, 16))])
    remade(
        "good/full-parameters.nac",
        [
            (SHIP * 2, (TEXT, 16)),
            (PEAKS * 3, (TEXT, 16)),
            (SHIP * 2, (DATA, 16)),
            (PEAKS * 4, (FAST, 16)),
            (b"a" * 200, (DATA, 16)),
        ],
    )
    put("good/short-learner.nac", short_stream(Learner.kind, SHIP * 3))
    put("good/learner-x86.nac", archive(full_header(b""), [[piece(CODE, (X86, 16))]]))
    for name, first in (("parameters", 7 << 5 | 16), ("tables", TEXT << 5 | 27)):
        _, payload = piece(SHIP, (TEXT, 16))
        put(
            f"bad/learner-{name}.nac",
            archive(full_header(b""), [[block(SHIP, bytes([first]) + payload[1:])]]),
        )
    for name, at, bits in (
        ("bad/flipped-header", 8, 4),
        ("bad/flipped-head", 42, 4),
        ("bad/flipped-payload", 165, 4),
        ("bad/flipped-hash", -32, 4),
        ("bad/flipped-trailer", -5, 4),
        ("unsupported/version-2", 4, 1 ^ 2),
    ):
        damaged = bytearray(whole)
        damaged[at] ^= bits
        put(f"{name}.nac", bytes(damaged))
    for name, end in (
        ("header", 12),
        ("head", 44),
        ("payload", 155),
        ("before-end", -END_RECORD),
        ("end", -1),
    ):
        put(f"bad/truncated-{name}.nac", whole[:end])
    put("bad/trailing-zero.nac", whole + b"\0")


def piece(content: bytes, variant: Variant) -> Piece:
    return block(content, Learner().encode(content, variant))


def block(content: bytes, payload: bytes) -> Piece:
    return Block(Learner.kind, len(content), len(payload), crc32(payload), crc32(content)), payload


def remade(name: str, texts: list[tuple[bytes, Variant]]) -> bytes:
    """The archive with its blocks of kind 5 coded anew: (content, variant) of each, in order."""
    old = (GOLDEN / name).read_bytes()
    new = iter(texts)
    starts, groups = [], []
    for start, pieces in parsed(old):
        starts.append(start)
        groups.append(
            [piece(*next(new)) if b.kind == Learner.kind else (b, payload) for b, payload in pieces]
        )
    return put(name, archive(old[: starts[0]], groups))


def parsed(data: bytes) -> Iterator[tuple[int, list[Piece]]]:
    """Each group: its offset, its blocks."""
    source = Source(io.BytesIO(data))
    layout = layout_by_index(source)
    assert layout is not None
    for extent in layout.extents():
        source.seek(extent.offset)
        head = parse_group(source, source.byte("tag"), CODECS.names)
        yield extent.offset, [(b, source.read(b.payload_size, "payload")) for b in head.blocks]


def archive(header: bytes, groups: list[list[Piece]]) -> bytes:
    out, index = header, b""
    digest = hashlib.blake2b(digest_size=HASH_SIZE)
    for pieces in groups:
        head = GroupHead([b for b, _ in pieces])
        group = head.pack() + b"".join(payload for _, payload in pieces)
        index += index_entry(head.content_size, len(group))
        out += group
        for b, payload in pieces:
            digest.update(content_of(b, payload))
    return out + End(digest.digest(), 0, index).pack()


def content_of(b: Block, payload: bytes) -> bytes:
    """Of a block that cannot be decoded, since it is a bad one, the text that it says it has."""
    content = SHIP if crc32(SHIP) == b.content_crc else CODECS.decode(b.kind, payload, b.content_size)
    assert crc32(content) == b.content_crc
    return content


def put(name: str, data: bytes) -> bytes:
    (GOLDEN / name).write_bytes(data)
    return data


if __name__ == "__main__":
    main()
