"""How the golden archives with model-coded blocks were made, and the damaged ones beside them.

    PYTHONPATH=. python tests/support/make_golden_model.py

All are coded with the committed tiny model, one by an ensemble of it and that of `two_models`. The texts are
those of the archives that are there, so a second run changes nothing. After a change of the format, which
cannot read those, a folder of their contents (files `model-short` and so on, written with the nacrith of
before) is given as an argument. The manifest's lines about these archives are written too. After a release
this is never run again, as `make_golden` is not.
"""

from __future__ import annotations

import hashlib
import io
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from archive_fakes import full_stream, short_stream
from make_golden import manifest, put, write_manifest
from paths import GOLDEN, TINY
from two_models import write_second

from nacrith import codec, cuts
from nacrith.archive import ArchiveReader, CodecId, Metadata
from nacrith.archive.wire import MODEL, RAW
from nacrith.bytelevel.joined import JoinedModel
from nacrith.codec import group
from nacrith.codec.model_codec import ModelCodec
from nacrith.codec.params import MEMBER, CodingParams
from nacrith.codec.payload import head
from nacrith.fallback import CODECS
from nacrith.fallback.zstd import Zstd
from nacrith.models import load_model

SHORT = CodingParams(64, bits=16)
ENSEMBLE = "model-ensemble"
"""Short, for the plain reader takes a third of a second a byte."""
NOON = 1_600_000_000_000_000_000


@dataclass
class Given:
    """A codec that has one payload for whatever it is given."""

    id: CodecId
    payload: bytes

    def encode(self, blocks: Sequence[bytes]) -> list[bytes]:
        return [self.payload]


def main() -> None:
    entries = [e for e in manifest() if "model" not in e]
    for name, archive, content, says in (*good(), joint()):
        put(f"good/{name}.nac", archive)
        digest = hashlib.sha256(content).hexdigest()
        by = {"model": "tiny+second"} if name == ENSEMBLE else {}
        entries.append(entry(f"good/{name}", says, content_size=len(content), content_sha256=digest, **by))
    for name, archive, says in refused():
        put(f"{name}.nac", archive)
        unsupported = name.startswith("unsupported/")
        entries.append(entry(name, says, error="UnsupportedFormatError" if unsupported else "CorruptError"))
    write_manifest(entries)


def entry(name: str, says: str, **fields: Any) -> dict[str, Any]:
    return {"file": f"{name}.nac", "model": "tiny", **fields, "says": says}


@cache
def model() -> Any:
    return load_model(str(TINY), threads=1)


@cache
def text(name: str) -> bytes:
    """The content of a good archive."""
    if sys.argv[1:]:
        return (Path(sys.argv[1]) / name).read_bytes()
    file = io.BytesIO((GOLDEN / f"good/{name}.nac").read_bytes())
    return b"".join(ArchiveReader(file, partial(codec.for_decoding, model=model(), threads=1), CODECS))


def coder(params: CodingParams, lanes: int = 1, lane_size: int = 1) -> ModelCodec:
    return ModelCodec(model(), params, lanes=lanes, lane_size=lane_size, threads=1)


def good() -> list[tuple[str, bytes, bytes, str]]:
    """Name, archive, content, sentence."""
    made = []

    def short(name: str, says: str, made_by: Any, content: bytes = b"") -> None:
        content = content or text(name)
        made.append((name, short_stream(MODEL, content, made_by), content, f"A short stream: {says}."))

    def full(name: str, says: str, made_by: Any, groups: list[list[tuple[int, bytes]]], **more: Any) -> None:
        content = b"".join(block for blocks in groups for _, block in blocks)
        made.append((name, full_stream(groups, codec=made_by, **more), content, f"A full stream: {says}."))

    survey = text("model-short")
    short("model-short", "a message of one sentence, in one lane, by the model alone", coder(SHORT))
    about = Metadata("survey.txt", NOON, 0o644).pack()
    blocks = model_blocks(text("model-blocks"), 4)
    says = "several model blocks with a window of 64 tokens, shorter than a block, and all metadata"
    full("model-blocks", says, coder(SHORT), [blocks], metadata=about)
    short("model-crlf", "line ends CR LF throughout", coder(CodingParams(256, bits=17)))
    says = (
        "a BOM, the literal text of special tokens, several scripts, and bytes that the vocabulary lacks or"
        " that are not UTF-8"
    )
    short("model-hard-bytes", says, coder(SHORT))
    hard = text("model-hard-bytes")[180:330]
    says = "the hard bytes of model-hard-bytes.nac in four lanes, predictor set 2, the smallest window"
    short("model-hard-lanes", says, coder(CodingParams(16, 2, 8, 16), 4), hard)
    mixed = text("model-mixed")
    noise = slice(2305, 2305 + 5994)
    parts = [
        *model_blocks(mixed[: noise.start], 3),
        (RAW, mixed[noise]),
        *model_blocks(mixed[noise.stop :], 3),
    ]
    says = "text on both sides of noise: model blocks, a raw block, model blocks"
    full("model-mixed", says, coder(CodingParams(128, bits=16)), [parts])
    says = "prose and similar lines with predictor set 1"
    short("model-cascade", says, coder(CodingParams(512, 1, 13, 20)))
    says = "the content of model-cascade.nac with predictor set 2, as the default level writes it"
    short("model-cascade-2", says, coder(CodingParams(512, 2, 15, 22)))
    lines = text("model-cascade-blocks")
    blocks = model_blocks(lines[: lines.rindex(b"\n", 0, 1400) + 1], 4)
    says = "blocks of three lanes each, predictor set 1, n-grams of the smallest capacity, line ends CR LF"
    full("model-cascade-blocks", says, coder(CodingParams(64, 1, 8, 17), 3), [blocks])
    ferry = text("model-cascade")[-1500:]
    short("model-lanes-alone", "six lanes, by the model alone", coder(SHORT, 6), survey[:90] * 3)
    says = "the content of model-lanes-alone.nac with predictor set 1"
    short("model-lanes", says, coder(CodingParams(64, 1, 9, 16), 6), survey[:90] * 3)
    says = "similar lines in 64 lanes, the most, predictor set 2"
    short("model-lanes-64", says, coder(CodingParams(64, 2, 10, 18), 64), ferry)
    groups = [[(Zstd.kind, survey)], [(RAW, b"hello\n"), (MODEL, survey)], model_blocks(survey * 2, 2)]
    says = "three groups, of which the second defines the codec and the third uses it"
    full("model-groups", says, coder(CodingParams(64, 2, 8, 16), 2), groups, defines=1)
    params = CodingParams(64, 1, 8, 16)
    content = ("Über allen Gipfeln ist Ruh.\n" * 4).encode()
    says = "tokens that nacrith does not write: single bytes, special ones, lanes cut anywhere, one empty"
    short("model-other-tokens", says, Given(coder(params).id, other_tokens(content, params)), content)
    return made


def joint() -> tuple[str, bytes, bytes, str]:
    """The same, of the archive by an ensemble."""
    content = "An old b\u00e9ret, 9's\n".encode() + b"\xff"
    says = (
        "two models of different vocabularies, byte by byte; a byte that both lack, and one that is no UTF-8"
    )
    return ENSEMBLE, short_stream(MODEL, content, joint_coder()), content, f"A short stream: {says}."


def joint_coder() -> ModelCodec:
    """Of the tiny model and the second one."""
    with tempfile.TemporaryDirectory() as folder:
        joined = JoinedModel([model(), load_model(str(write_second(Path(folder))), threads=1)])
        joined.prepare()
    members = tuple(m.fingerprint[:MEMBER] for m in joined.models)
    return ModelCodec(joined, CodingParams(64, bits=16, members=members), lanes=1, threads=1)


def model_blocks(content: bytes, count: int) -> list[tuple[int, bytes]]:
    return [(MODEL, block) for block in cuts.cut(content, count)]


def other_tokens(content: bytes, params: CodingParams) -> bytes:
    """The payload of a block, tokenised byte by byte."""
    encode = model().tokenizer.encode
    lanes = [[t for byte in part for t in encode(bytes([byte]))] for part in (content[:1], content[1:])]
    lanes[1][7:7] = [0, 1, 0]
    return group_payload([lanes[0], [], lanes[1], [1]], params)


def group_payload(lanes: Sequence[Sequence[int]], params: CodingParams) -> bytes:
    """Of given tokens."""
    lengths = [len(lane) for lane in lanes]
    session = model().session(len(lanes), params.window)
    rows = session.extend([[model().bos_id, *lane[:-1]] if lane else [] for lane in lanes])
    made = group.encoder(model().tokenizer.vocabulary(model().vocab_size), params, lengths)
    for t in range(max(lengths)):
        for i, lane in enumerate(lanes):
            if t < len(lane):
                at = np.zeros(1, np.int64)
                made.encode(rows[i][t : t + 1], at.astype(np.int32) + i, at, np.array([lane[t]], np.int32))
    return head(lengths, False) + made.finish()


def refused() -> list[tuple[str, bytes, str]]:
    """Name, archive, sentence."""
    content = text("model-hard-bytes")[3:466]
    right = coder(SHORT, 2)
    (payload,) = right.encode([content])
    flipped = bytearray(payload)
    flipped[40] ^= 4
    made = []

    def bad(name: str, says: str, payload: bytes, content: bytes = content) -> None:
        archive = short_stream(MODEL, content, Given(right.id, payload))
        made.append((f"bad/model-{name}", archive, f"A model block under right checks, but {says}."))

    def params(name: str, says: str, record: bytes) -> None:
        made_by = Given(CodecId(right.id.fingerprint, record, "tiny"), payload)
        made.append((f"{name}", short_stream(MODEL, content, made_by), f"Coding parameters that {says}."))

    says = "its payload was changed before its check was made: it decodes to other text"
    bad("wrong-text", says, bytes(flipped))
    bad("cut-payload", "its payload is cut short", payload[: len(payload) // 2])
    bad("more-text", "it decodes to more than the stated length", payload, content[:-9])
    bad("65-lanes", "it claims 65 lanes", head([3] * 65, False) + payload[3:])
    bad(
        "too-many-tokens",
        "it claims more than three tokens a byte",
        head([3 * len(content), 1], False) + payload[5:],
    )
    bad("cut-head", "its payload ends among the numbers of tokens", payload[:2])
    record = SHORT.to_bytes()
    params("bad/model-cut-parameters", "are cut short", record[:3])
    params("bad/model-window", "claim a window of 15 tokens", record[:3] + b"\x0f")
    params(
        "bad/model-long-window",
        "claim a longer window than the model has",
        CodingParams(513, bits=16).to_bytes(),
    )
    params("bad/model-learner-size", "claim histories of 2^29 bytes", record[:2] + b"\x1d" + record[3:])
    params("unsupported/model-coding-1", "are of version 1", b"\x01\x00\x40")
    params("unsupported/model-coding-4", "are of version 4", b"\x04" + record[1:])
    params("unsupported/model-predictors", "name predictor set 3", b"\x02\x03" + record[2:])
    params("unsupported/model-capacity", "name n-grams of capacity 2^21", b"\x02\xd1" + record[2:])
    return made


if __name__ == "__main__":
    main()
