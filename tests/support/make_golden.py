"""How the golden archives with blocks of the learner were made, and the damaged ones derived from them.

    PYTHONPATH=. python tests/support/make_golden.py

Blocks of other kinds are taken from the archive that is there; those of the learner are coded anew, and so
are the payloads of the examples in formats/learner-v1.md. The manifest is kept by hand, but for the archives
of samples, whose entries are here. This was run when the learner became kind 5, before any release; after one
it is never run again: what was good once decodes for ever.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
from collections.abc import Iterable, Iterator
from typing import Any, Literal
from zlib import crc32

from archive_fakes import short_stream
from paths import GOLDEN, ROOT

from nacrith.archive.layout import layout_by_index
from nacrith.archive.records import Block, End, GroupHead, full_header, index_entry, parse_group
from nacrith.archive.wire import HASH_SIZE, Source
from nacrith.fallback import CODECS
from nacrith.fallback.codec import Variant
from nacrith.fallback.learner import DATA, FAST, SAMPLES, TEXT, X86, Learner
from nacrith.fallback.samples import BITMAP, BYTES, LITTLE, SIGNED, WORDS, Samples
from nacrith.learner import Layout, Shape, encode

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


def hill(x: int, y: int) -> int:
    """A height of 0 to 4095 that changes slowly."""
    return abs((x * x + 3 * y * y + 5 * x * y) % 8192 - 4096) & 4095


def wave(i: int, channel: int) -> int:
    """A height of -4096 to 4095: two triangles, one of them as long as the other five times."""
    return (abs(i * 60 % 4096 - 2048) + abs((i * 300 + 700 * channel) % 4096 - 2048)) * 2 - 4096


def words(heights: Iterable[int], order: Literal["big", "little"], signed: bool = False) -> bytes:
    return b"".join(height.to_bytes(2, order, signed=signed) for height in heights)


PICTURE = [hill(x, y) for y in range(5) for x in range(9)]
SOUND = [wave(i, channel) for i in range(24) for channel in (0, 1)]
PIXELS = [int((x - 13) ** 2 + 3 * (y - 5) ** 2 < 70) for y in range(12) for x in range(32)]
SAMPLED = [
    (int("".join(map(str, PIXELS)), 2).to_bytes(48, "big"), Samples(BITMAP, 1, 4)),
    (bytes(height >> 4 for height in PICTURE), Samples(BYTES, 1, 9)),
    (bytes((3 * h + c * c * 500) >> 6 for h in PICTURE[:27] for c in (0, 1, 2)), Samples(BYTES, 3, 27)),
    (bytes(128 + (height >> 6) for height in SOUND), Samples(BYTES, 2, 0)),
    (words(PICTURE, "big") + b"!", Samples(WORDS, 2, 18)),
    (words((16 * height for height in PICTURE), "little"), Samples(WORDS + LITTLE, 2, 18)),
    (words(SOUND, "big", True), Samples(WORDS + SIGNED, 4, 0)),
    (words(SOUND, "little", True) + b"!", Samples(WORDS + LITTLE + SIGNED, 4, 0)),
]
"""A picture of 1 bit a pixel; a grey and a coloured one, and sound, of bytes; pictures and sound of words."""

_MANIFEST = GOLDEN / "manifest.json"

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
    samples()
    examples()
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


def samples() -> None:
    """One archive with a block of each kind of samples, and damaged ones with kinds or rows there are not."""
    pieces = [piece(content, (SAMPLES, 16, *found)) for content, found in SAMPLED]
    assert all(b.payload_size < b.content_size for b, _ in pieces)
    name = "good/learner-samples.nac"
    put(name, archive(full_header(b""), [pieces]))
    whole = b"".join(content for content, _ in SAMPLED)
    says = (
        "The learner's shapes for samples: of 1 bit, bytes and words in all their orders, pictures and sound."
    )
    sums = {"content_size": len(whole), "content_sha256": hashlib.sha256(whole).hexdigest()}
    listed("good/learner-x86.nac", {"file": name, **sums, "says": says})
    for what, parameters, says in (
        ("kind", bytes([2, 1, 8, 0]), "Samples of kind 2, which is none."),
        ("row", bytes([BYTES, 3, 6, 0]), "Samples with a row of two steps, which is too short."),
    ):
        _, payload = piece(SHIP, (SAMPLES, 16, BYTES, 1, 0))
        name = f"bad/samples-{what}.nac"
        put(name, archive(full_header(b""), [[block(SHIP, payload[:1] + parameters + payload[5:])]]))
        listed("bad/learner-tables.nac", {"file": name, "error": "CorruptError", "says": says})


def listed(after: str, entry: dict[str, Any]) -> None:
    """Puts an entry into the manifest, if it is not there, behind that of another file."""
    entries = {one["file"]: one for one in manifest()}
    if entry["file"] not in entries:
        names = list(entries)
        names.insert(names.index(after) + 1, entry["file"])
        entries = {name: entries.get(name, entry) for name in names}
    entries[entry["file"]] = entry
    write_manifest(entries.values())


def manifest() -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = json.loads(_MANIFEST.read_text("utf-8"))
    return entries


def write_manifest(entries: Iterable[dict[str, Any]]) -> None:
    """An entry a line."""
    lines = ",\n".join(json.dumps(entry, ensure_ascii=False) for entry in entries)
    _MANIFEST.write_text(f"[\n{lines}\n]\n", "utf-8", newline="\n")


EXAMPLE = re.compile(
    r"^(\| (\w+) (?:\| (\d+) \| (\d+) )?\| (\d+) \| `([0-9a-f]+)` \| `)[0-9a-f]*` \|$", re.MULTILINE
)
"""Of formats/learner-v1.md, section 11: shape, perhaps step and row, bits, text, payload."""


def examples() -> None:
    """Codes the examples of the specification anew."""

    def coded(found: re.Match[str]) -> str:
        front, shape, step, row, bits, text = found.groups()
        layout = Layout(int(step or 1), int(row or 0))
        payload = encode(bytes.fromhex(text), Shape[shape.upper()], int(bits), layout)
        assert payload is not None
        return f"{front}{payload.hex()}` |"

    path = ROOT / "formats" / "learner-v1.md"
    path.write_text(EXAMPLE.sub(coded, path.read_text("utf-8")), "utf-8")


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
