"""Blocks that are coded after a known prefix: the same by the codec and by the document, and smaller."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Sequence

import plain_group
import pytest
from clirunner import nacrith as command
from coding_plain import decode_lanes, head
from paths import TINY, TINY_HF

import nacrith
from nacrith.codec.model_codec import ModelCodec
from nacrith.codec.params import CodingParams
from nacrith.codec.prefix import name_of
from nacrith.errors import CorruptError, PrefixError
from nacrith.models import load_model
from nacrith.models.exact.conversion import convert
from nacrith.models.exact.model import ExactModel
from nacrith.models.sources.safetensors import read_safetensors

PREFIX = b"The gulls came back.\r\nThe caf\xe9 was shut.\r\n"
TEXT = b"The gulls were back. The ferry was late, and the caf\xe9 was shut.\n"


def codec(params: CodingParams, prefix: bytes, **options: int) -> ModelCodec:
    return ModelCodec(load_model(str(TINY), threads=1), params, prefix=prefix, threads=1, **options)


def records(number: int) -> list[bytes]:
    """Log records in JSON, of some 240 bytes each."""
    rng = random.Random(1)
    return [
        json.dumps(
            {
                "time": f"2026-03-{rng.randrange(10, 29)}T09:{rng.randrange(10, 60)}:00Z",
                "level": rng.choice(["info", "warning", "error"]),
                "service": "billing-gateway",
                "request": f"{rng.getrandbits(32):08x}",
                "user": {"id": rng.randrange(10**5), "plan": rng.choice(["free", "team"])},
                "http": {"method": "POST", "path": "/v2/invoices", "status": rng.choice([200, 201, 409])},
                "message": "the invoice was created and handed to the mailer",
            }
        ).encode()
        + b"\n"
        for _ in range(number)
    ]


@pytest.mark.parametrize("params", [CodingParams(16, bits=16), CodingParams(16, 2, 8, 17)], ids=["0", "2"])
def test_a_plain_decoder_reads_what_was_coded_after_a_prefix(params: CodingParams) -> None:
    """By sections 4 and 6 of the document. The prefix is longer than the window."""
    made = codec(params, PREFIX, lane_size=20)
    model = made.model
    (payload,) = made.encode([TEXT])
    lengths, crlf, stream = head(payload)
    assert len(lengths) == 3
    prefix = list(model.tokenizer.encode(PREFIX.replace(b"\r\n", b"\n")))
    assert len(prefix) > params.window
    vocabulary = model.tokenizer.vocabulary(model.vocab_size)
    words = [vocabulary.token_bytes(rank) for rank in vocabulary.rank]
    session = model.session(len(lengths), params.window)
    held = [0] * len(lengths)

    def row(lane: int, tokens: Sequence[int]) -> list[int]:
        before = [] if lane == 0 else prefix[-params.window :]
        inputs: list[Sequence[int]] = [()] * len(lengths)
        inputs[lane] = [model.bos_id, *before, *tokens][held[lane] :]
        held[lane] += len(inputs[lane])
        return session.extend(inputs)[lane][-1].tolist()

    lanes = decode_lanes(lengths, stream, words, params.to_bytes()[1], params.bits, row, prefix)
    assert b"".join(map(model.tokenizer.decode, lanes)) == TEXT
    assert not crlf


def test_blocks_come_back_and_share_nothing_but_the_prefix() -> None:
    params = CodingParams(64, 2, 8, 17)
    made = codec(params, PREFIX, lane_size=16)
    blocks = [TEXT, b"", TEXT[:3], PREFIX, TEXT * 2]
    payloads = made.encode(blocks)
    sized = [(payload, len(block)) for payload, block in zip(payloads, blocks, strict=True)]
    assert made.decode(sized) == blocks
    assert [made.decode([one]) for one in sized] == [[block] for block in blocks]
    assert [made.encode([block])[0] for block in blocks] == payloads
    (plain,) = codec(params, b"", lane_size=16).encode([PREFIX])
    assert len(payloads[3]) - 4 < (len(plain) - 4) / 2


@pytest.mark.parametrize("size", [100, 256, 300, 1000])
def test_a_prefix_may_be_longer_than_a_lane(tmp_path, monkeypatch, size: int) -> None:  # type: ignore[no-untyped-def]
    """A model with tables for 256 positions; as many tokens of prefix, and more in each lane."""

    made = plain_group.use(monkeypatch)
    convert(read_safetensors(TINY_HF), tmp_path / "short.nacm", positions=256)
    model = ExactModel(tmp_path / "short.nacm", threads=1)
    letters = bytes(range(32, 127)) * 40
    ends = (end for end in range(len(letters)) if len(model.tokenizer.encode(letters[:end])) == size)
    prefix = letters[: next(ends)]
    coder = ModelCodec(model, CodingParams(64), prefix=prefix, lane_size=300, threads=1)
    block = letters[: 7 * 95]
    (payload,) = coder.encode([block])
    assert made[0].learnt == list(model.tokenizer.encode(prefix))
    assert coder.decode([(payload, len(block))]) == [block]


def test_a_first_lane_without_tokens_is_damage() -> None:
    payload = bytes([2 * 4, 0, 1]) + b"\0"
    with pytest.raises(CorruptError, match="first lane"):
        codec(CodingParams(64), PREFIX).decode([(payload, 3)])


def test_a_record_after_others_is_half_as_long_and_less() -> None:
    *earlier, record = records(9)
    prefix = b"".join(earlier[-8:])
    model = nacrith.load_model("nacrith-36m")
    alone = nacrith.compress(record, model=model)
    small = nacrith.compress(record, model=model, prefix=prefix)
    assert 2 * len(small) < len(alone)
    assert nacrith.decompress(small, model=model, prefix=prefix) == record


@pytest.fixture(scope="module")
def archive() -> bytes:
    return nacrith.compress(TEXT, model=str(TINY), prefix=PREFIX)


@pytest.mark.parametrize(("given", "said"), [(None, "give it with"), (b"another", "the one given has")])
def test_another_prefix_or_none_is_refused_by_name(archive: bytes, given: bytes | None, said: str) -> None:
    name = hashlib.sha256(PREFIX).hexdigest()[:16]
    with pytest.raises(PrefixError, match=f"{name}.*{said}"):
        nacrith.decompress(archive, model=str(TINY), prefix=given)
    with pytest.raises(PrefixError, match=name):
        nacrith.Decompressor(model=str(TINY), prefix=given).decompress(archive)


def test_a_prefix_that_an_archive_does_not_name_is_not_needed() -> None:
    plain = nacrith.compress(TEXT, model=str(TINY))
    assert nacrith.decompress(plain, model=str(TINY), prefix=PREFIX) == TEXT
    assert nacrith.compress(TEXT, model=str(TINY), prefix=b"") == plain
    assert name_of(b"") == b""


def test_a_prefix_asks_for_a_model() -> None:
    small = nacrith.compress(TEXT, level=1, prefix=PREFIX)
    assert nacrith.info(small)[0].codec is not None
    with pytest.raises(nacrith.ModelError, match="prefix serves a model"):
        nacrith.compress(TEXT, model="none", prefix=PREFIX)


def test_prefixes_that_are_none() -> None:
    with pytest.raises(ValueError, match="1048576 is the most"):
        nacrith.compress(b"", prefix=bytes((1 << 20) + 1))
    with pytest.raises(TypeError):
        nacrith.compress(b"", prefix="text")  # type: ignore[arg-type]


def test_the_commands_take_a_prefix(tmp_path) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "text").write_bytes(TEXT)
    (tmp_path / "prefix").write_bytes(PREFIX)
    (tmp_path / "huge").write_bytes(bytes((1 << 20) + 1))

    def run(*arguments: str) -> tuple[int, str]:
        result = command(*arguments, cwd=tmp_path)
        return result.code, result.err.decode() if isinstance(result.err, bytes) else result.err

    assert run("text", "--prefix", "prefix")[0] == 0
    code, said = run("-t", "text.nac")
    assert code == 3
    assert hashlib.sha256(PREFIX).hexdigest()[:16] in said
    assert run("-t", "text.nac", "--prefix", "prefix")[0] == 0
    shown = json.loads(command("info", "--json", "text.nac", cwd=tmp_path).out)
    assert hashlib.sha256(PREFIX).hexdigest()[:16] in json.dumps(shown)
    assert run("-d", "text.nac", "-o", "back", "--prefix", "text")[0] == 3
    assert not (tmp_path / "back").exists()
    assert run("-d", "text.nac", "-o", "back", "--prefix", "prefix")[0] == 0
    assert (tmp_path / "back").read_bytes() == TEXT
    for wrong, why in [("huge", "the most"), ("missing", "missing"), ("-", "standard input")]:
        code, said = run("text", "-c", "--prefix", wrong)
        assert code == 1
        assert why in said
